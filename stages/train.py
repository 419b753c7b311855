"""Fine-tune a student on a round's rationales, starting from its base or an earlier student."""

from pathlib import Path

import click

from redistill import params, records
from redistill.records import Problem, Rationale
from redistill.rounds import branches
from redistill.students import adapting, fitting, loading
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
    settings = params.load(PARAMS, "train", fitting.Settings)
    student = params.load(PARAMS, "student", loading.Settings)
    lora = params.load(PARAMS, "lora", adapting.Settings)
    known = {problem.id: problem for problem in records.read(problems, Problem)}
    lessons = records.read(rationales, Rationale)
    longest = params.value(PARAMS, "evaluate", "max_new_tokens")  # to refuse by: it changes nothing

    figures = fitting.fit(
        known,
        lessons,
        start,
        out,
        branches(PARAMS)[branch],
        student,
        settings,
        params.seed(PARAMS),
        lora,
        max_new_tokens=longest,
    )

    records.write_json(metrics, figures)
    click.echo(f"{branch}: {fitting.told(figures)}")


if __name__ == "__main__":
    main()
