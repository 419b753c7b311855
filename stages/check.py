"""Check the problems, the prompts and the student's rows before the first call to a teacher."""

from pathlib import Path

import click

from redistill.checks import doctor
from redistill.console import preflight
from redistill.records import jsonl
from redistill.records.json_file import write_json
from redistill.records.types import Problem
from redistill.settings.sections import Params
from stages import FILE, FOLDER, Stage


@click.command(cls=Stage, name="check")
@click.option("--train", type=FILE, required=True, help="The train problems.")
@click.option("--dev", type=FILE, required=True, help="The dev problems.")
@click.option("--student", type=FOLDER, required=True, help="The base student.")
@click.option("--metrics", type=FILE, required=True, help="Where it says that all hold.")
@click.pass_obj
def main(params: Params, train: Path, dev: Path, student: Path, metrics: Path) -> None:
    """Check what a paid run needs."""
    known, on_dev = jsonl.read(train, Problem), jsonl.read(dev, Problem)

    found = doctor.before_calls(student.parent.parent.parent, params, known, on_dev)

    preflight.gate(found)
    write_json(metrics, {"checks": "hold"})
    notes = [f"{finding.check}: {finding.told}" for finding in found if finding.state == "note"]
    click.echo("\n".join([f"{len(found)} checks hold, or are only to know", *notes]))


if __name__ == "__main__":
    main()
