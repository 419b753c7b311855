"""Lay out the problems of the task in splits that share no question, and out-of-domain tests."""

from pathlib import Path

import click

from redistill.problems import outside as problems_outside
from redistill.problems import splits as splitting
from redistill.problems.task import PrepareSettings, load_task
from redistill.records import json_file, jsonl
from redistill.settings import sections
from stages import FILE, FOLDER, PARAMS, Stage


@click.command(cls=Stage, name="prepare")
@click.option("--train", type=FILE, required=True, help="Where the train split goes.")
@click.option("--dev", type=FILE, required=True, help="Where the dev split goes.")
@click.option("--test", type=FILE, required=True, help="Where the test split goes.")
@click.option("--outside", type=FOLDER, required=True, help="Where out-of-domain tests go.")
@click.option("--metrics", type=FILE, required=True, help="Where the balance goes.")
def main(train: Path, dev: Path, test: Path, outside: Path, metrics: Path) -> None:
    """Lay out the problems of the task in splits that share no question."""
    settings = sections.load(PARAMS, "prepare", PrepareSettings)
    task, seed = load_task(settings.task), sections.seed(PARAMS)

    rows = task.problems(sections.load(PARAMS, settings.task, task.Settings), seed)
    splits, balance = splitting.split(rows, published=task.PUBLISHED)
    tests, balances = splitting.outside(PARAMS, settings, splits, seed)

    balance.check(settings.max_loss)
    jsonl.write(train, splits["train"])
    jsonl.write(dev, splits["dev"])
    jsonl.write(test, splits["test"])
    problems_outside.write(outside, tests)
    sizes = {name: len(found) for name, found in splits.items()}
    lost = {name: found.as_dict() for name, found in balances.items()}
    json_file.write_json(metrics, {"balance": balance.as_dict(), "sizes": sizes, "outside": lost})
    click.echo("; ".join([f"{balance}: {sizes}", *map(str, balances.values())]))


if __name__ == "__main__":
    main()
