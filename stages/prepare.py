"""Lay out the problems of the task in splits that share no question, and out-of-domain tests."""

from pathlib import Path

import click

from redistill.console import drafts
from redistill.grading import golds
from redistill.grading.grader import Bench, GradeSettings
from redistill.problems import held_out as questions
from redistill.problems import near_duplicates, own, sets, sources, splits
from redistill.problems.task import PrepareSettings, further_tasks, load_task
from redistill.records import jsonl
from redistill.records.json_file import write_json
from redistill.records.lazy import Joined
from redistill.settings.sections import Params
from stages import FILE, FOLDER, Stage


@click.command(cls=Stage, name="prepare")
@click.option("--train", type=FILE, required=True, help="Where the train split goes.")
@click.option("--dev", type=FILE, required=True, help="Where the dev split goes.")
@click.option("--test", type=FILE, required=True, help="Where the test split goes.")
@click.option("--held-out", type=FILE, required=True, help="Where digests of dev and test go.")
@click.option("--sources", "origins", type=FILE, required=True, help="Where sources go.")
@click.option("--outside", type=FOLDER, required=True, help="Where out-of-domain tests go.")
@click.option("--metrics", type=FILE, required=True, help="Where the balance goes.")
@click.pass_obj
def main(
    params: Params,
    train: Path,
    dev: Path,
    test: Path,
    held_out: Path,
    origins: Path,
    outside: Path,
    metrics: Path,
) -> None:
    """Lay out the problems of the task in splits that share no question."""
    settings = params.section("prepare", PrepareSettings)
    task = load_task(settings.task)

    section = params.section(settings.task, task.Settings)
    rows = task.problems(section, params.seed)
    found, balance = splits.split(rows, published=task.PUBLISHED)
    further = further_tasks(params, settings)
    tests, balances = splits.outside(further, found, params.seed)

    grader = params.section("grade", GradeSettings).grader
    golds.check_all(found, tests, grader, Bench(params, "prepare"))
    balance.check(settings.max_loss)
    near = near_duplicates.look(found, tests, settings)
    kept, tests = near.splits, near.tests
    near.count(balance, balances)
    with drafts.together():
        jsonl.write(train, sources.without(kept["train"]))
        jsonl.write(dev, sources.without(kept["dev"]))
        jsonl.write(test, sources.without(kept["test"]))
        sources.write(origins, Joined(*kept.values()))
        questions.write(held_out, questions.held_out(Joined(kept["dev"], kept["test"])))
        sets.write_tests(outside, tests)
        sizes = {name: len(problems) for name, problems in kept.items()}
        lost = {name: made.as_dict() for name, made in balances.items()}
        aside = own.left_out(task.files(section)) if hasattr(task, "files") else {}
        told = {"balance": balance.as_dict(), "sizes": sizes, "outside": lost}
        told |= {"near_duplicates": near.report} if near.report else {}
        write_json(metrics, told | ({"left_out": aside} if aside else {}))
    click.echo("; ".join([f"{balance}: {sizes}", *map(str, balances.values())]))
    if near.report:
        click.echo(f"prepare: near-duplicates: {near_duplicates.said(near.report)}")
    for name, fields in aside.items():
        click.echo(f"{name}: left out, as no problem has them: {', '.join(fields)}")


if __name__ == "__main__":
    main()
