"""Ask the teacher for the first rationale of every train problem."""

from pathlib import Path

import click

from redistill.console import drafts
from redistill.grading.grader import Bench
from redistill.problems import held_out as questions
from redistill.rationales import generate
from redistill.rationales.select import chooser
from redistill.rationales.teacher import engage
from redistill.records import jsonl, spool
from redistill.records.json_file import write_json
from redistill.records.types import Problem
from redistill.settings.sections import Params
from redistill.students.model.settings import StudentSettings
from stages import FILE, FOLDER, TeachingStage


@click.command(cls=TeachingStage, name="generate")
@click.option("--problems", type=FILE, required=True, help="The train problems.")
@click.option("--held-out", type=FILE, required=True, help="Digests of what may not be quoted.")
@click.option("--student", type=FOLDER, required=True, help="Whom several draws are to fit.")
@click.option("--round", required=True, help="The round that the rationales are for.")
@click.option("--out", type=FILE, required=True, help="Where the rationales go.")
@click.option("--metrics", type=FILE, required=True, help="Where the balance goes.")
@click.pass_obj
def main(
    params: Params,
    problems: Path,
    held_out: Path,
    student: Path,
    round: str,
    out: Path,
    metrics: Path,
) -> None:
    """Ask the teacher for the first rationale of every train problem."""
    settings = params.section("generate", generate.GenerateSettings)
    bench = Bench(params, "generate")
    teacher, asked = engage(params, "explain"), params.section("student", StudentSettings)
    known, unquoted = spool.read(problems, Problem), questions.read(held_out)

    choose = chooser(teacher.rules, known, student, asked)
    made = generate.generate(
        known, teacher, bench.own, unquoted, choose, round=round, max_loss=settings.max_loss
    )

    made.balance.check(settings.max_loss)
    with drafts.together():
        jsonl.write(out, made.rationales)
        write_json(metrics, made.as_dict() | bench.figures())
    click.echo(f"{round}: {made.balance}; {made.attempts}")


if __name__ == "__main__":
    main()
