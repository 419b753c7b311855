"""Have students that were taught all but a fold's lessons answer the train problems of the fold."""

from pathlib import Path

import click

from redistill.console import drafts, rank
from redistill.console import timing as times
from redistill.diagnosis.settings import MineSettings
from redistill.records import jsonl
from redistill.records.json_file import write_json
from redistill.records.types import Problem, Rationale
from redistill.rounds.branches import branches
from redistill.settings.sections import Params
from redistill.students import probe
from redistill.students.answer.settings import EvaluateSettings
from redistill.students.model.settings import StudentSettings
from redistill.students.train.fit import Way
from redistill.students.train.settings import TrainSettings, lora
from stages import FILE, FOLDER, SharedStage


@click.command(cls=SharedStage, name="probe", where=probe.probes)
@click.option("--branch", required=True, help="The round or control whose kind of student it is.")
@click.option("--problems", type=FILE, required=True, help="The train problems.")
@click.option("--rationales", type=FILE, required=True, help="What the students are taught of.")
@click.option("--start", type=FOLDER, required=True, help="The student that they start from.")
@click.option("--out", type=FILE, required=True, help="Where the held-out completions go.")
@click.option("--metrics", type=FILE, required=True, help="Where steps and tokens go.")
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
    """Have the train problems answered by students that were not taught them."""
    found, settings = branches(params)[branch], params.section("train", TrainSettings)
    student = params.section("student", StudentSettings)
    evaluate = params.section("evaluate", EvaluateSettings)
    known, written = jsonl.read(problems, Problem), jsonl.read(rationales, Rationale)
    folds, steps = params.section("mine", MineSettings).folds, settings.steps * found.times
    adapter, longest = lora(params, settings), evaluate.max_new_tokens
    way = Way(student, settings, params.seed, adapter, steps, longest)

    probed = probe.probe(known, written, start, branch, found, folds, way, evaluate, out)

    rank.end_others()
    with drafts.together():
        write_json(metrics, probed.figures)
        times.write(timing, probed.timing)
    click.echo(f"{branch}: {probed}")


if __name__ == "__main__":
    main()
