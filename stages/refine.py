"""Ask the teacher to rewrite the rationales behind the student's errors."""

from pathlib import Path

import click

from redistill.rationales import refine, rewrite
from redistill.records import jsonl
from redistill.records.types import Error, Problem, Rationale
from redistill.settings import sections
from redistill.solutions import gaps as solutions_gaps
from stages import FILE, FOLDER, PARAMS, Stage


@click.command(cls=Stage, name="refine")
@click.option("--round", required=True, help="The round that the new rationales are for.")
@click.option("--problems", type=FILE, required=True, help="The train problems.")
@click.option("--rationales", type=FILE, required=True, help="What the student was taught.")
@click.option("--errors", type=FILE, required=True, help="What it got wrong all the same.")
@click.option("--gaps", type=FILE, required=True, help="The gaps on dev, and whether to stop.")
@click.option("--student", type=FOLDER, required=True, help="Whom several draws are to fit.")
@click.option("--out", type=FILE, required=True, help="Where the new rationales go.")
@click.option("--metrics", type=FILE, required=True, help="Where the balance goes.")
def main(
    round: str,
    problems: Path,
    rationales: Path,
    errors: Path,
    gaps: Path,
    student: Path,
    out: Path,
    metrics: Path,
) -> None:
    """Ask the teacher to rewrite the rationales behind the student's errors."""
    settings = sections.load(PARAMS, "refine", refine.RefineSettings)
    known = {problem.id: problem for problem in jsonl.read(problems, Problem)}
    before, mistakes = jsonl.read(rationales, Rationale), jsonl.read(errors, Error)
    diagnosis = solutions_gaps.read(gaps)

    requests = refine.asked(known, before, mistakes, diagnosis, settings)
    said = rewrite.rewrite(
        PARAMS, requests, before, student, out, metrics, round=round, stop=diagnosis.stop
    )
    click.echo(said)


if __name__ == "__main__":
    main()
