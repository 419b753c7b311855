"""Have a student answer the out-of-domain tests, and grade what it wrote."""

from pathlib import Path

import click

from redistill.problems import outside
from redistill.records import json_file
from redistill.students.answer import outside as answer_outside
from stages import FILE, FOLDER, PARAMS, Stage


@click.command(cls=Stage, name="outside")
@click.option("--student", type=FOLDER, required=True, help="Who answers.")
@click.option("--problems", type=FOLDER, required=True, help="The tests, one file each.")
@click.option("--out", type=FOLDER, required=True, help="Where the predictions go.")
@click.option("--metrics", type=FILE, required=True, help="Where the scores go.")
def main(student: Path, problems: Path, out: Path, metrics: Path) -> None:
    """Have a student answer the out-of-domain tests, and grade what it wrote."""
    tests = outside.read(problems)

    predictions, figures = answer_outside.venture(student, tests, PARAMS)

    answer_outside.write(out, predictions)
    json_file.write_json(metrics, figures)
    click.echo(f"{student.name}: {answer_outside.told(figures)}")


if __name__ == "__main__":
    main()
