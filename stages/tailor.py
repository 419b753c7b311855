"""Ask the teacher to rewrite rationales around the errors of another student, or of several."""

from pathlib import Path

import click

from redistill import gaps as diagnosing
from redistill import params, records, refining, rewriting
from redistill.records import Error, Problem, Rationale
from stages import FILE, FOLDER, PARAMS, Stage


@click.command(cls=Stage, name="tailor")
@click.option("--name", required=True, help="The name of the new rationales.")
@click.option("--problems", type=FILE, required=True, help="The train problems.")
@click.option("--rationales", type=FILE, required=True, help="What is rewritten.")
@click.option("--errors", type=FILE, required=True, help="What the students got wrong.")
@click.option("--gaps", type=FILE, required=True, help="The gaps on dev, and whether to stop.")
@click.option("--student", type=FOLDER, required=True, help="Whom several draws are to fit.")
@click.option("--out", type=FILE, required=True, help="Where the new rationales go.")
@click.option("--metrics", type=FILE, required=True, help="Where the balance goes.")
def main(
    name: str,
    problems: Path,
    rationales: Path,
    errors: Path,
    gaps: Path,
    student: Path,
    out: Path,
    metrics: Path,
) -> None:
    """Ask the teacher to rewrite rationales around the errors of another student, or of several."""
    settings = params.load(PARAMS, "refine", refining.Settings)
    known = {problem.id: problem for problem in records.read(problems, Problem)}
    before, mistakes = records.read(rationales, Rationale), records.read(errors, Error)
    diagnosis = diagnosing.read(gaps)

    requests = refining.asked(known, before, mistakes, diagnosis, settings)
    said = rewriting.rewrite(
        PARAMS,
        requests,
        before,
        student,
        out,
        metrics,
        round=name,
        stop=diagnosis.stop,
        stage="tailor",
    )
    click.echo(said)


if __name__ == "__main__":
    main()
