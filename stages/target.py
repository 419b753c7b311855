"""Make the base student of a target, as `base` makes that of the rounds."""

from pathlib import Path

import click

from redistill.records import json_file
from redistill.students.base import make
from redistill.students.model import load
from stages import FILE, FOLDER, PARAMS, Stage


@click.command(cls=Stage, name="target")
@click.option("--name", required=True, help="The target.")
@click.option("--out", type=FOLDER, required=True, help="Where its base student goes.")
@click.option("--metrics", type=FILE, required=True, help="Where loss and speed go.")
def main(name: str, out: Path, metrics: Path) -> None:
    """Make the base student of a target."""
    target = make.target(PARAMS, name)

    note = make.origin(target, f"targets.{name}")
    model, tokenizer, figures = make.begin(
        target.model, target.shape, target.seed, revision=note.get("commit"), say=name
    )

    load.save(model, tokenizer, out, note)
    json_file.write_json(metrics, figures)
    click.echo(f"{name}: {target.model}, {figures['parameters']} parameters")


if __name__ == "__main__":
    main()
