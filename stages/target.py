"""Make the base student of a target, as `base` makes that of the rounds."""

from pathlib import Path

import click

from redistill import records
from redistill.students import beginning, loading
from stages import FILE, FOLDER, PARAMS, Stage


@click.command(cls=Stage, name="target")
@click.option("--name", required=True, help="The target.")
@click.option("--out", type=FOLDER, required=True, help="Where its base student goes.")
@click.option("--metrics", type=FILE, required=True, help="Where loss and speed go.")
def main(name: str, out: Path, metrics: Path) -> None:
    """Make the base student of a target."""
    target = beginning.target(PARAMS, name)

    note = beginning.origin(target, f"targets.{name}")
    model, tokenizer, figures = beginning.begin(
        target.model, target.shape, target.seed, revision=note.get("commit"), say=name
    )

    loading.save(model, tokenizer, out, note)
    records.write_json(metrics, figures)
    click.echo(f"{name}: {target.model}, {figures['parameters']} parameters")


if __name__ == "__main__":
    main()
