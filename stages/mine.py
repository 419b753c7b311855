"""Find what the student got wrong on train and dev, where it went wrong, and whether to go on."""

from pathlib import Path

import click

from redistill.console import drafts
from redistill.diagnosis import mine
from redistill.diagnosis.settings import MineSettings
from redistill.records import json_file, jsonl, spool
from redistill.records.balance import Balance
from redistill.records.lazy import Joined
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
    problems = Joined(spool.read(train_problems, Problem), spool.read(dev_problems, Problem))
    known = spool.by_id(problems)
    lessons = spool.by_problem(spool.read(rationales, Rationale), str(rationales))
    taught, on_dev = spool.read(train, Prediction), spool.read(dev, Prediction)
    on_train = mine.on_train(taught, spool.read(held_out, Prediction), settings)
    before_it = spool.read(before, Prediction)
    blind = mine.blind(taught, on_dev, settings)

    chosen = mine.choose(Joined(on_train, on_dev), settings)
    first = before == dev
    decision = mine.decide(before_it, on_dev, first=first, alpha=settings.alpha, stop=settings.stop)
    diagnosis = [*mine.diagnosed(known, mine.choose(on_dev, settings).each(), lessons, settings)]
    found = mine.profile(diagnosis, len(on_dev), settings.common)
    wrong = mine.diagnosed(known, chosen.each(), lessons, settings)
    errors = mine.instructive(wrong, diagnosis, known, lessons, settings)

    with drafts.together():
        count = jsonl.write(out, errors)
        jsonl.write(attempts, mine.attempts(on_train, out.stem, settings))
        balance = Balance("mine", chosen.rows, count, chosen.rejected).check(1.0)
        told = {"profile": found, "decision": decision, "balance": balance.as_dict()}
        confused = mine.confused(known, diagnosis)
        json_file.write_json(metrics, {**told, "blind": blind, "confused": confused})
    click.echo(f"{out.stem}: {balance}; on dev: {gaps.describe(found['gaps'])}")
    if blind:
        click.echo(f"{out.stem}: {blind}")
    click.echo(f"{out.stem}: {'stop' if decision['stop'] else 'go on'}: {decision['because']}")


if __name__ == "__main__":
    main()
