"""Find what the student got wrong on train and dev, where it went wrong, and whether to go on."""

from pathlib import Path

import click

from redistill.console import drafts
from redistill.diagnosis import mine
from redistill.diagnosis.settings import MineSettings
from redistill.records import json_file, jsonl
from redistill.records.balance import Balance
from redistill.records.types import Prediction, Problem, Rationale
from redistill.settings.sections import Params
from redistill.solutions import gaps
from stages import FILE, Stage


@click.command(cls=Stage, name="mine")
@click.option("--train-problems", type=FILE, required=True, help="The train problems.")
@click.option("--dev-problems", type=FILE, required=True, help="The dev problems.")
@click.option("--rationales", type=FILE, required=True, help="What the student was taught.")
@click.option("--train", type=FILE, required=True, help="Its predictions on train.")
@click.option("--held-out", type=FILE, required=True, help="Those of students not taught train.")
@click.option("--dev", type=FILE, required=True, help="Its predictions on dev.")
@click.option("--before", type=FILE, required=True, help="The dev predictions it must beat.")
@click.option("--out", type=FILE, required=True, help="Where the errors go.")
@click.option("--attempts", type=FILE, required=True, help="Where its own right ones go.")
@click.option("--metrics", type=FILE, required=True, help="Where gaps and the decision go.")
@click.pass_obj
def main(
    params: Params,
    train_problems: Path,
    dev_problems: Path,
    rationales: Path,
    train: Path,
    held_out: Path,
    dev: Path,
    before: Path,
    out: Path,
    attempts: Path,
    metrics: Path,
) -> None:
    """Find what the student got wrong, where, and whether to go on."""
    settings = params.section("mine", MineSettings)
    problems = [*jsonl.read(train_problems, Problem), *jsonl.read(dev_problems, Problem)]
    lessons = jsonl.by_problem(jsonl.read(rationales, Rationale), str(rationales))
    taught, on_dev = jsonl.read(train, Prediction), jsonl.read(dev, Prediction)
    probed = jsonl.read(held_out, Prediction)
    on_train = mine.on_train(taught, probed, settings)
    predictions = [*on_train, *on_dev]
    blind = mine.blind(taught, on_dev, settings)

    known = {problem.id: problem for problem in problems}
    chosen = mine.choose(predictions, settings)
    errors = mine.mine(known, chosen.predictions, lessons, settings)
    found = mine.profile(errors, len(on_dev), settings.common)
    decision = mine.decide(
        jsonl.read(before, Prediction),
        on_dev,
        first=before == dev,
        alpha=settings.alpha,
        stop=settings.stop,
    )

    balance = Balance("mine", chosen.rows, len(errors), chosen.rejected).check(1.0)
    told = {"profile": found, "decision": decision, "balance": balance.as_dict(), "blind": blind}
    content = {**told, "confused": mine.confused(known, errors)}
    with drafts.together():
        jsonl.write(out, errors)
        jsonl.write(attempts, mine.attempts(on_train, out.stem, settings))
        json_file.write_json(metrics, content)
    click.echo(f"{out.stem}: {balance}; on dev: {gaps.describe(found['gaps'])}")
    if blind:
        click.echo(f"{out.stem}: {blind}")
    click.echo(f"{out.stem}: {'stop' if decision['stop'] else 'go on'}: {decision['because']}")


if __name__ == "__main__":
    main()
