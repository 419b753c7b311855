"""Have the teacher rewrite as many rationales as a round did, told less of what went wrong."""

from pathlib import Path

import click

from redistill.rationales import controls, rewrite
from redistill.records import jsonl
from redistill.records.types import Error, Problem, Rationale
from redistill.settings import branches
from redistill.solutions import gaps as solutions_gaps
from stages import FILE, FOLDER, PARAMS, Stage


@click.command(cls=Stage, name="control")
@click.option("--arm", required=True, help="The arm that the new rationales are for.")
@click.option("--problems", type=FILE, required=True, help="The train problems.")
@click.option("--rationales", type=FILE, required=True, help="What the arm's student was taught.")
@click.option("--like", type=FILE, required=True, help="Those of the round that it is like.")
@click.option("--errors", type=FILE, required=True, help="What the arm's student got wrong.")
@click.option("--gaps", type=FILE, required=True, help="Its gaps on dev.")
@click.option("--student", type=FOLDER, required=True, help="Whom several draws are to fit.")
@click.option("--out", type=FILE, required=True, help="Where the new rationales go.")
@click.option("--metrics", type=FILE, required=True, help="Where the balance goes.")
def main(
    arm: str,
    problems: Path,
    rationales: Path,
    like: Path,
    errors: Path,
    gaps: Path,
    student: Path,
    out: Path,
    metrics: Path,
) -> None:
    """Have the teacher rewrite as many rationales as a round did, told less."""
    known = {problem.id: problem for problem in jsonl.read(problems, Problem)}
    before, mirrored = jsonl.read(rationales, Rationale), jsonl.read(like, Rationale)
    mistakes, diagnosis = jsonl.read(errors, Error), solutions_gaps.read(gaps)
    mine = branches.arm(PARAMS, arm)
    afresh = controls.afresh(arm, mine, branches.branches(PARAMS))

    requests = controls.asked(known, before, mirrored, mistakes, diagnosis, mine)
    said = rewrite.rewrite(
        PARAMS, requests, before, student, out, metrics, round=arm, stage="control", afresh=afresh
    )
    click.echo(said)


if __name__ == "__main__":
    main()
