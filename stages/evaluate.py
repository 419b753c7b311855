"""Have a student answer every problem, and grade what it wrote."""

from pathlib import Path

import click

from redistill import grading, params, records
from redistill.records import Problem, Split
from redistill.students import examining, loading
from stages import FILE, FOLDER, PARAMS, Stage

SPLITS: tuple[Split, ...] = ("train", "dev", "test")


@click.command(cls=Stage, name="evaluate")
@click.option("--student", type=FOLDER, required=True, help="Who answers.")
@click.option("--problems", type=FOLDER, required=True, help="The splits, one file each.")
@click.option("--out", type=FOLDER, required=True, help="Where the predictions go.")
@click.option("--metrics", type=FILE, required=True, help="Where the scores go.")
def main(student: Path, problems: Path, out: Path, metrics: Path) -> None:
    """Have a student answer every problem, and grade what it wrote."""
    settings = params.load(PARAMS, "evaluate", examining.Settings)
    asked = params.load(PARAMS, "student", loading.Settings)
    grader = grading.grader(params.load(PARAMS, "grade", grading.Settings).grader)
    splits = {split: records.read(problems / f"{split}.jsonl", Problem) for split in SPLITS}

    predictions, figures = examining.examine(
        student, splits, asked, grader, settings, seed=params.seed(PARAMS)
    )

    for split in SPLITS:
        records.write(out / f"{split}.jsonl", predictions[split])
    records.write_json(metrics, figures)
    click.echo(f"{student.name}: {examining.told(figures)}")


if __name__ == "__main__":
    main()
