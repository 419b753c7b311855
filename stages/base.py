"""Make the base student of every round: pre-train the embedded one, or fetch yours."""

from pathlib import Path

import click

from redistill import params, records
from redistill.students import beginning, embedded, loading
from stages import FILE, FOLDER, PARAMS, Stage


@click.command(cls=Stage, name="base")
@click.option("--out", type=FOLDER, required=True, help="Where the base student goes.")
@click.option("--metrics", type=FILE, required=True, help="Where loss and speed go.")
def main(out: Path, metrics: Path) -> None:
    """Make the base student that every round starts from."""
    student = params.load(PARAMS, "student", loading.Settings)
    shape = params.load(PARAMS, "embedded", embedded.Shape)

    note = beginning.origin(student)
    model, tokenizer, figures = beginning.begin(
        student.model, shape, params.seed(PARAMS), revision=note.get("commit")
    )

    loading.save(model, tokenizer, out, note)
    records.write_json(metrics, figures)
    click.echo(f"base: {student.model}, {figures['parameters']} parameters")


if __name__ == "__main__":
    main()
