"""Lay out the problems of the task in splits that share no question, and out-of-domain tests."""

from pathlib import Path

import click

from redistill import outside as tests_outside
from redistill import params, preparing, records
from stages import FILE, FOLDER, PARAMS, Stage


@click.command(cls=Stage, name="prepare")
@click.option("--train", type=FILE, required=True, help="Where the train split goes.")
@click.option("--dev", type=FILE, required=True, help="Where the dev split goes.")
@click.option("--test", type=FILE, required=True, help="Where the test split goes.")
@click.option("--outside", type=FOLDER, required=True, help="Where out-of-domain tests go.")
@click.option("--metrics", type=FILE, required=True, help="Where the balance goes.")
def main(train: Path, dev: Path, test: Path, outside: Path, metrics: Path) -> None:
    """Lay out the problems of the task in splits that share no question."""
    settings = params.load(PARAMS, "prepare", preparing.Settings)
    task, seed = preparing.task(settings.task), params.seed(PARAMS)

    rows = task.problems(params.load(PARAMS, settings.task, task.Settings), seed)
    splits, balance = preparing.split(rows, published=task.PUBLISHED)
    tests, balances = preparing.outside(PARAMS, settings, splits, seed)

    balance.check(settings.max_loss)
    records.write(train, splits["train"])
    records.write(dev, splits["dev"])
    records.write(test, splits["test"])
    tests_outside.write(outside, tests)
    sizes = {name: len(found) for name, found in splits.items()}
    lost = {name: found.as_dict() for name, found in balances.items()}
    records.write_json(metrics, {"balance": balance.as_dict(), "sizes": sizes, "outside": lost})
    click.echo("; ".join([f"{balance}: {sizes}", *map(str, balances.values())]))


if __name__ == "__main__":
    main()
