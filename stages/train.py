"""Fine-tune a student on a round's rationales, starting from its base or an earlier student."""

from pathlib import Path

import click

from redistill.records import json_file, jsonl
from redistill.records.types import Problem, Rationale
from redistill.settings import sections
from redistill.settings.branches import branches
from redistill.students.model import load
from redistill.students.train import fit
from redistill.students.train.lora import LoraSettings
from stages import FILE, FOLDER, PARAMS, Stage


@click.command(cls=Stage, name="train")
@click.option("--branch", required=True, help="The round or control to train.")
@click.option("--problems", type=FILE, required=True, help="The train problems.")
@click.option("--rationales", type=FILE, required=True, help="What the student is taught.")
@click.option(
    "--start", type=FOLDER, required=True, help="The student whose weights it starts from."
)
@click.option("--out", type=FOLDER, required=True, help="Where the student goes.")
@click.option("--metrics", type=FILE, required=True, help="Where loss, NLL and speed go.")
def main(
    branch: str, problems: Path, rationales: Path, start: Path, out: Path, metrics: Path
) -> None:
    """Fine-tune a student on a round's rationales."""
    settings = sections.load(PARAMS, "train", fit.TrainSettings)
    student = sections.load(PARAMS, "student", load.StudentSettings)
    lora = sections.load(PARAMS, "lora", LoraSettings)
    known = {problem.id: problem for problem in jsonl.read(problems, Problem)}
    lessons = jsonl.read(rationales, Rationale)
    longest = sections.value(
        PARAMS, "evaluate", "max_new_tokens"
    )  # to refuse by: it changes nothing

    figures = fit.fit(
        known,
        lessons,
        start,
        out,
        branches(PARAMS)[branch],
        student,
        settings,
        sections.seed(PARAMS),
        lora,
        max_new_tokens=longest,
    )

    json_file.write_json(metrics, figures)
    click.echo(f"{branch}: {fit.told(figures)}")


if __name__ == "__main__":
    main()
