"""Lay out the problems of the task in splits that share no question."""

from pathlib import Path

import click

from redistill import params, preparing, records
from stages import FILE, PARAMS, Stage


@click.command(cls=Stage, name="prepare")
@click.option("--train", type=FILE, required=True, help="Where the train split goes.")
@click.option("--dev", type=FILE, required=True, help="Where the dev split goes.")
@click.option("--test", type=FILE, required=True, help="Where the test split goes.")
@click.option("--metrics", type=FILE, required=True, help="Where the balance goes.")
def main(train: Path, dev: Path, test: Path, metrics: Path) -> None:
    """Lay out the problems of the task in splits that share no question."""
    settings = params.load(PARAMS, "prepare", preparing.Settings)
    task = preparing.task(settings.task)

    rows = task.problems(params.load(PARAMS, settings.task, task.Settings), params.seed(PARAMS))
    splits, balance = preparing.split(rows)

    balance.check(settings.max_loss)
    records.write(train, splits["train"])
    records.write(dev, splits["dev"])
    records.write(test, splits["test"])
    sizes = {name: len(found) for name, found in splits.items()}
    records.write_json(metrics, {"balance": balance.as_dict(), "sizes": sizes})
    click.echo(f"{balance}: {sizes}")


if __name__ == "__main__":
    main()
