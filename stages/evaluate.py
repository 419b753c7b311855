"""Have a student answer every problem, and grade what it wrote."""

from pathlib import Path

import click

from redistill.grading.grader import GradeSettings, load_grader
from redistill.records import json_file, jsonl
from redistill.records.types import Problem, Split
from redistill.settings import sections
from redistill.students.answer import exam
from redistill.students.model import load
from stages import FILE, FOLDER, PARAMS, Stage

SPLITS: tuple[Split, ...] = ("train", "dev", "test")


@click.command(cls=Stage, name="evaluate")
@click.option("--student", type=FOLDER, required=True, help="Who answers.")
@click.option("--problems", type=FOLDER, required=True, help="The splits, one file each.")
@click.option("--out", type=FOLDER, required=True, help="Where the predictions go.")
@click.option("--metrics", type=FILE, required=True, help="Where the scores go.")
def main(student: Path, problems: Path, out: Path, metrics: Path) -> None:
    """Have a student answer every problem, and grade what it wrote."""
    settings = sections.load(PARAMS, "evaluate", exam.EvaluateSettings)
    asked = sections.load(PARAMS, "student", load.StudentSettings)
    grader = load_grader(sections.load(PARAMS, "grade", GradeSettings).grader)
    splits = {split: jsonl.read(problems / f"{split}.jsonl", Problem) for split in SPLITS}

    predictions, figures = exam.examine(
        student, splits, asked, grader, settings, seed=sections.seed(PARAMS)
    )

    for split in SPLITS:
        jsonl.write(out / f"{split}.jsonl", predictions[split])
    json_file.write_json(metrics, figures)
    click.echo(f"{student.name}: {exam.told(figures)}")


if __name__ == "__main__":
    main()
