"""Ask the teacher for the first rationale of every train problem."""

from pathlib import Path

import click

from redistill import generating, grading, params, records, teaching
from redistill.records import Problem
from stages import FILE, PARAMS, Stage


@click.command(cls=Stage, name="generate")
@click.option("--problems", type=FILE, required=True, help="The train problems.")
@click.option("--round", required=True, help="The round that the rationales are for.")
@click.option("--out", type=FILE, required=True, help="Where the rationales go.")
@click.option("--metrics", type=FILE, required=True, help="Where the balance goes.")
def main(problems: Path, round: str, out: Path, metrics: Path) -> None:
    """Ask the teacher for the first rationale of every train problem."""
    settings = params.load(PARAMS, "generate", generating.Settings)
    name = params.load(PARAMS, "teach", teaching.Settings).teacher
    teacher = teaching.teacher(name)
    grader = grading.grader(params.load(PARAMS, "grade", grading.Settings).grader)
    known = records.read(problems, Problem)

    rationales, balance = generating.generate(
        known, teacher, params.load(PARAMS, name, teacher.Settings), grader, name=name, round=round
    )

    balance.check(settings.max_loss)
    records.write(out, rationales)
    records.write_json(metrics, {"balance": balance.as_dict(), "rewritten": len(rationales)})
    click.echo(f"{round}: {balance}")


if __name__ == "__main__":
    main()
