"""Make the base student of every round: pre-train the embedded one, or fetch yours."""

from pathlib import Path

import click

from redistill.records import json_file
from redistill.settings import sections
from redistill.students.base import embedded, make
from redistill.students.model import load
from stages import FILE, FOLDER, PARAMS, Stage


@click.command(cls=Stage, name="base")
@click.option("--out", type=FOLDER, required=True, help="Where the base student goes.")
@click.option("--metrics", type=FILE, required=True, help="Where loss and speed go.")
def main(out: Path, metrics: Path) -> None:
    """Make the base student that every round starts from."""
    student = sections.load(PARAMS, "student", load.StudentSettings)
    shape = sections.load(PARAMS, "embedded", embedded.Shape)

    note = make.origin(student)
    model, tokenizer, figures = make.begin(
        student.model, shape, sections.seed(PARAMS), revision=note.get("commit")
    )

    load.save(model, tokenizer, out, note)
    json_file.write_json(metrics, figures)
    click.echo(f"base: {student.model}, {figures['parameters']} parameters")


if __name__ == "__main__":
    main()
