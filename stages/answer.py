"""Have a student answer problems; every completion is kept, and none is graded."""

from pathlib import Path

import click

from redistill.console import drafts, rank
from redistill.console import timing as times
from redistill.problems import sets
from redistill.records import jsonl
from redistill.records.json_file import write_json
from redistill.settings.sections import Params
from redistill.students.answer import exam
from redistill.students.answer.settings import EvaluateSettings, computed_here
from redistill.students.model.settings import StudentSettings
from stages import FILE, FOLDER, SharedStage


@click.command(cls=SharedStage, name="answer", where=computed_here)
@click.option("--student", type=FOLDER, required=True, help="Who answers.")
@click.option("--problems", type=FOLDER, required=True, help="The sets of problems.")
@click.option("--out", type=FOLDER, required=True, help="Where the completions go.")
@click.option("--metrics", type=FILE, required=True, help="Where the balance goes.")
@click.option("--timing", type=FILE, required=True, help="Where the speed goes.")
@click.pass_obj
def main(
    params: Params, student: Path, problems: Path, out: Path, metrics: Path, timing: Path
) -> None:
    """Have a student answer problems."""
    settings = params.section("evaluate", EvaluateSettings)
    asked = params.section("student", StudentSettings)
    known = sets.read(problems)

    answered = exam.answer(student, known, asked, settings, seed=params.seed)

    rank.end_others()
    with drafts.together():
        jsonl.write_all(out, answered.completions)
        write_json(metrics, answered.figures)
        times.write(timing, answered.timing)
    click.echo(f"{student.name}: {answered}")


if __name__ == "__main__":
    main()
