"""Take the rationales of a published data set for the problems of this run; ask no teacher."""

from pathlib import Path

import click

from redistill.datasets import load
from redistill.grading.grader import GradeSettings, load_grader
from redistill.records import json_file, jsonl
from redistill.records.types import Problem
from redistill.settings import sections, targets
from stages import FILE, FOLDER, PARAMS, Stage


@click.command(cls=Stage, name="take")
@click.option("--name", required=True, help="The source, and the name of the rationales.")
@click.option("--problems", type=FILE, required=True, help="The train problems.")
@click.option("--imported", type=FOLDER, required=True, help="Where imported data sets are.")
@click.option("--out", type=FILE, required=True, help="Where the rationales go.")
@click.option("--metrics", type=FILE, required=True, help="Where the balance goes.")
def main(name: str, problems: Path, imported: Path, out: Path, metrics: Path) -> None:
    """Take the rationales of a published data set for the problems of this run."""
    source = targets.source(PARAMS, name)
    grader = load_grader(sections.load(PARAMS, "grade", GradeSettings).grader)
    known = {problem.id: problem for problem in jsonl.read(problems, Problem)}
    folder = load.folder(source, imported)
    rows = load.read(folder, hub=source.hub is not None)
    provenance = load.provenance(folder)

    taken = load.take(rows, known, name, source.version, grader)

    taken.balance.check(source.max_loss)
    jsonl.write(out, taken.rationales)
    json_file.write_json(metrics, taken.as_dict() | {"provenance": provenance})
    click.echo(f"{name}: {taken.balance}; train problems without one: {taken.untaught}")


if __name__ == "__main__":
    main()
