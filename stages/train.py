"""Fine-tune a student on a round's rationales, starting from its base or an earlier student."""

from pathlib import Path

import click

from redistill.console import drafts, rank
from redistill.console import timing as times
from redistill.records import jsonl
from redistill.records.json_file import write_json
from redistill.records.types import Problem, Rationale
from redistill.rounds.branches import branches
from redistill.settings.sections import Params
from redistill.students.answer.settings import EvaluateSettings
from redistill.students.model.settings import StudentSettings
from redistill.students.train import fit
from redistill.students.train.settings import TrainSettings, lora
from stages import FILE, FOLDER, SharedStage


@click.command(cls=SharedStage, name="train")
@click.option("--branch", required=True, help="The round or control to train.")
@click.option("--problems", type=FILE, required=True, help="The train problems.")
@click.option("--rationales", type=FILE, required=True, help="What the student is taught.")
@click.option("--start", type=FOLDER, required=True, help="The student that it starts from.")
@click.option("--out", type=FOLDER, required=True, help="Where the student goes.")
@click.option("--metrics", type=FILE, required=True, help="Where loss and NLL go.")
@click.option("--timing", type=FILE, required=True, help="Where the speed goes.")
@click.pass_obj
def main(
    params: Params,
    branch: str,
    problems: Path,
    rationales: Path,
    start: Path,
    out: Path,
    metrics: Path,
    timing: Path,
) -> None:
    """Fine-tune a student on a round's rationales."""
    settings = params.section("train", TrainSettings)
    student = params.section("student", StudentSettings)
    known = {problem.id: problem for problem in jsonl.read(problems, Problem)}
    lessons = jsonl.read(rationales, Rationale)
    longest = params.section("evaluate", EvaluateSettings).max_new_tokens  # only to refuse by

    fitted = fit.fit(
        known,
        lessons,
        start,
        out,
        branches(params)[branch],
        student,
        settings,
        params.seed,
        lora(params, settings),
        max_new_tokens=longest,
    )

    rank.end_others()
    with drafts.together():
        write_json(metrics, fitted.figures)
        times.write(timing, fitted.timing)
    click.echo(f"{branch}: {fitted}")


if __name__ == "__main__":
    main()
