"""Take the rationales of a published data set for the problems of this run; ask no teacher."""

from pathlib import Path

import click

from redistill import grading, params, records, taking, targeting
from redistill.records import Problem
from stages import FILE, FOLDER, PARAMS, Stage


@click.command(cls=Stage, name="take")
@click.option("--name", required=True, help="The source, and the name of the rationales.")
@click.option("--problems", type=FILE, required=True, help="The train problems.")
@click.option("--imported", type=FOLDER, required=True, help="Where imported data sets are.")
@click.option("--out", type=FILE, required=True, help="Where the rationales go.")
@click.option("--metrics", type=FILE, required=True, help="Where the balance goes.")
def main(name: str, problems: Path, imported: Path, out: Path, metrics: Path) -> None:
    """Take the rationales of a published data set for the problems of this run."""
    source = targeting.source(PARAMS, name)
    grader = grading.grader(params.load(PARAMS, "grade", grading.Settings).grader)
    known = {problem.id: problem for problem in records.read(problems, Problem)}
    folder = taking.folder(source, imported)
    rows = taking.read(folder, hub=source.hub is not None)
    provenance = taking.provenance(folder)

    taken = taking.take(rows, known, name, source.version, grader)

    taken.balance.check(source.max_loss)
    records.write(out, taken.rationales)
    records.write_json(metrics, taken.as_dict() | {"provenance": provenance})
    click.echo(f"{name}: {taken.balance}; train problems without one: {taken.untaught}")


if __name__ == "__main__":
    main()
