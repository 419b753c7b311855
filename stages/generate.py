"""Ask the teacher for the first rationale of every train problem."""

from pathlib import Path

import click

from redistill import choosing, generating, grading, params, records, teaching
from redistill.records import Problem
from stages import FILE, FOLDER, PARAMS, Stage


@click.command(cls=Stage, name="generate")
@click.option("--problems", type=FILE, required=True, help="The train problems.")
@click.option("--student", type=FOLDER, required=True, help="Whom several draws are to fit.")
@click.option("--round", required=True, help="The round that the rationales are for.")
@click.option("--out", type=FILE, required=True, help="Where the rationales go.")
@click.option("--metrics", type=FILE, required=True, help="Where the balance goes.")
def main(problems: Path, student: Path, round: str, out: Path, metrics: Path) -> None:
    """Ask the teacher for the first rationale of every train problem."""
    settings = params.load(PARAMS, "generate", generating.Settings)
    teacher = teaching.engage(PARAMS, "explain")
    grader = grading.grader(params.load(PARAMS, "grade", grading.Settings).grader)
    known = records.read(problems, Problem)

    choose = choosing.chooser(teacher.rules, known, student, PARAMS)
    made = generating.generate(known, teacher, grader, choose, round=round)

    made.balance.check(settings.max_loss)
    records.write(out, made.rationales)
    content = {"balance": made.balance.as_dict(), "rewritten": len(made.rationales)}
    records.write_json(
        metrics, {**content, "attempts": made.attempts.as_dict(), "unsolved": made.unsolved}
    )
    click.echo(f"{round}: {made.balance}; {made.attempts}")


if __name__ == "__main__":
    main()
