"""Ask the teacher for the first rationale of every train problem."""

from pathlib import Path

import click

from redistill.grading.grader import GradeSettings, load_grader
from redistill.rationales import generate, select
from redistill.rationales.teacher import engage
from redistill.records import json_file, jsonl
from redistill.records.types import Problem
from redistill.settings import sections
from stages import FILE, FOLDER, PARAMS, Stage


@click.command(cls=Stage, name="generate")
@click.option("--problems", type=FILE, required=True, help="The train problems.")
@click.option("--student", type=FOLDER, required=True, help="Whom several draws are to fit.")
@click.option("--round", required=True, help="The round that the rationales are for.")
@click.option("--out", type=FILE, required=True, help="Where the rationales go.")
@click.option("--metrics", type=FILE, required=True, help="Where the balance goes.")
def main(problems: Path, student: Path, round: str, out: Path, metrics: Path) -> None:
    """Ask the teacher for the first rationale of every train problem."""
    settings = sections.load(PARAMS, "generate", generate.GenerateSettings)
    teacher = engage(PARAMS, "explain")
    grader = load_grader(sections.load(PARAMS, "grade", GradeSettings).grader)
    known = jsonl.read(problems, Problem)

    choose = select.chooser(teacher.rules, known, student, PARAMS)
    made = generate.generate(known, teacher, grader, choose, round=round)

    made.balance.check(settings.max_loss)
    jsonl.write(out, made.rationales)
    content = {"balance": made.balance.as_dict(), "rewritten": len(made.rationales)}
    json_file.write_json(
        metrics, {**content, "attempts": made.attempts.as_dict(), "unsolved": made.unsolved}
    )
    click.echo(f"{round}: {made.balance}; {made.attempts}")


if __name__ == "__main__":
    main()
