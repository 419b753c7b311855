"""Grade what a student answered: predictions with their verdicts, and the scores."""

from pathlib import Path

import click

from redistill.console import drafts
from redistill.grading import predictions
from redistill.grading.grader import Bench, GradeSettings, asks_money
from redistill.problems import sets
from redistill.records import jsonl, spool
from redistill.records.json_file import write_json
from redistill.records.types import Completion
from redistill.settings.sections import Params
from stages import FILE, FOLDER, Stage

OUTSIDE = "completions-outside"  # where answers to out-of-domain tests lie, a stage of their own


class GradingStage(Stage):
    """A stage that grades, which needs a key where the grader asks a model."""

    def keeps_keys(self, params: Params) -> bool:
        """Say whether the grader asks a model."""
        return asks_money(params)


@click.command(cls=GradingStage, name="grade")
@click.option("--completions", type=FOLDER, required=True, help="What the student wrote.")
@click.option("--problems", type=FOLDER, required=True, help="The sets of problems.")
@click.option("--out", type=FOLDER, required=True, help="Where the predictions go.")
@click.option("--held-out", type=FILE, help="What students wrote that were not taught train.")
@click.option("--metrics", type=FILE, required=True, help="Where the scores go.")
@click.pass_obj
def main(
    params: Params,
    completions: Path,
    problems: Path,
    out: Path,
    held_out: Path | None,
    metrics: Path,
) -> None:
    """Grade what a student answered."""
    grader = params.section("grade", GradeSettings).grader
    stage = "grade-outside" if completions.parent.name == OUTSIDE else "grade"
    bench = Bench(params, f"{stage}@{completions.name}")
    known = sets.read(problems, spool.read)
    written = {name: spool.read(completions / f"{name}.jsonl", Completion) for name in known}
    probed = spool.read(held_out, Completion) if held_out else None

    graded = predictions.grade(known, written, grader, probed, bench)

    with drafts.together():
        jsonl.write_all(out, graded.predictions)
        write_json(metrics, graded.figures() | bench.figures())
    click.echo(f"{completions.name}: {graded}")


if __name__ == "__main__":
    main()
