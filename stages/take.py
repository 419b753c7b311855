"""Take the rationales of a published data set for the problems of this run; ask no teacher."""

from pathlib import Path

import click

from redistill.console import drafts
from redistill.datasets import load
from redistill.datasets.take import take
from redistill.grading.grader import Bench
from redistill.problems import held_out as questions
from redistill.records import jsonl
from redistill.records.json_file import write_json
from redistill.records.types import Problem
from redistill.rounds import targets
from redistill.settings.sections import Params
from stages import FILE, FOLDER
from stages.grade import GradingStage


@click.command(cls=GradingStage, name="take")
@click.option("--name", required=True, help="The source, and the name of the rationales.")
@click.option("--problems", type=FILE, required=True, help="The train problems.")
@click.option("--held-out", type=FILE, required=True, help="Digests of what may not be quoted.")
@click.option("--imported", type=FOLDER, required=True, help="Where imported data sets are.")
@click.option("--out", type=FILE, required=True, help="Where the rationales go.")
@click.option("--metrics", type=FILE, required=True, help="Where the balance goes.")
@click.pass_obj
def main(
    params: Params,
    name: str,
    problems: Path,
    held_out: Path,
    imported: Path,
    out: Path,
    metrics: Path,
) -> None:
    """Take the rationales of a published data set for the problems of this run."""
    source = targets.source(params, name)
    bench = Bench(params, f"take@{name}")
    known = {problem.id: problem for problem in jsonl.read(problems, Problem)}
    folder = load.folder(source, imported)
    rows = load.read(folder, hub=source.hub is not None)
    provenance, unquoted = load.provenance(folder), questions.read(held_out)

    taken = take(rows, known, name, source.version, bench.own, unquoted)

    taken.balance.check(source.max_loss)
    with drafts.together():
        jsonl.write(out, taken.rationales)
        write_json(metrics, taken.as_dict() | {"provenance": provenance} | bench.figures())
    click.echo(f"{name}: {taken.balance}; train problems without one: {taken.untaught}")


if __name__ == "__main__":
    main()
