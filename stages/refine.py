"""Ask the teacher to rewrite the rationales behind the student's errors."""

from pathlib import Path

import click

from redistill import gaps as diagnosing
from redistill import grading, guarding, params, records, refining, teaching
from redistill.records import Error, Problem, Rationale
from stages import FILE, PARAMS, Stage


@click.command(cls=Stage, name="refine")
@click.option("--round", required=True, help="The round that the new rationales are for.")
@click.option("--problems", type=FILE, required=True, help="The train problems.")
@click.option("--rationales", type=FILE, required=True, help="What the student was taught.")
@click.option("--errors", type=FILE, required=True, help="What it got wrong all the same.")
@click.option("--gaps", type=FILE, required=True, help="The gaps on dev, and whether to stop.")
@click.option("--out", type=FILE, required=True, help="Where the new rationales go.")
@click.option("--metrics", type=FILE, required=True, help="Where the balance goes.")
def main(
    round: str, problems: Path, rationales: Path, errors: Path, gaps: Path, out: Path, metrics: Path
) -> None:
    """Ask the teacher to rewrite the rationales behind the student's errors."""
    settings = params.load(PARAMS, "refine", refining.Settings)
    guard = params.load(PARAMS, "guard", guarding.Settings)
    name = params.load(PARAMS, "teach", teaching.Settings).teacher
    teacher = teaching.teacher(name)
    grader = grading.grader(params.load(PARAMS, "grade", grading.Settings).grader)
    known = {problem.id: problem for problem in records.read(problems, Problem)}
    diagnosis = diagnosing.read(gaps)

    refined = refining.refine(
        known,
        records.read(rationales, Rationale),
        records.read(errors, Error),
        diagnosis.common,
        stop=diagnosis.stop,
        round=round,
        teacher=teacher,
        name=name,
        teacher_settings=params.load(PARAMS, name, teacher.Settings),
        grader=grader,
        guard=guard,
        settings=settings,
    )

    refined.balance.check(settings.max_loss)
    records.write(out, refined.rationales)
    content = {"rewritten": refined.rewritten, "kept": refined.kept}
    records.write_json(metrics, {**content, "balance": refined.balance.as_dict()})
    click.echo(f"{round}: {refined.balance}; rewrote {refined.rewritten}, kept {refined.kept}")


if __name__ == "__main__":
    main()
