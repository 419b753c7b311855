"""Ask the teacher to rewrite rationales: for a round, an arm of the ladder, or other students."""

from functools import partial
from pathlib import Path

import click

from redistill.console import drafts
from redistill.diagnosis.nearest import Cases
from redistill.diagnosis.settings import MineSettings
from redistill.grading.grader import Bench, foresee
from redistill.problems import held_out as questions
from redistill.rationales import controls, guards, refine
from redistill.rationales.select import chooser
from redistill.rationales.teacher import engage
from redistill.records import jsonl, spool
from redistill.records.json_file import write_json
from redistill.records.lazy import Changed
from redistill.records.types import Attempt, Error, Problem, Rationale
from redistill.rounds.branches import branches
from redistill.rounds.targets import rewrites
from redistill.settings.sections import Params
from redistill.solutions import gaps as diagnosing
from redistill.students.model.settings import StudentSettings
from stages import FILE, FOLDER, TeachingStage


@click.command(cls=TeachingStage, name="refine")
@click.option("--name", required=True, help="The round or arm that the new rationales are for.")
@click.option("--problems", type=FILE, required=True, help="The train problems.")
@click.option("--dev-problems", type=FILE, required=True, help="The dev problems.")
@click.option("--held-out", type=FILE, required=True, help="Digests of what may not be quoted.")
@click.option("--rationales", type=FILE, required=True, help="What is rewritten.")
@click.option("--like", type=FILE, required=True, help="Those of the round that an arm is like.")
@click.option("--errors", type=FILE, required=True, help="What a student got wrong all the same.")
@click.option("--gaps", type=FILE, required=True, help="Its gaps on dev, and whether to stop.")
@click.option("--attempts", type=FILE, required=True, help="What students solved themselves.")
@click.option("--student", type=FOLDER, required=True, help="Whom several draws are to fit.")
@click.option("--out", type=FILE, required=True, help="Where the new rationales go.")
@click.option("--metrics", type=FILE, required=True, help="Where the balance goes.")
@click.pass_obj
def main(
    params: Params,
    name: str,
    problems: Path,
    dev_problems: Path,
    held_out: Path,
    rationales: Path,
    like: Path,
    errors: Path,
    gaps: Path,
    attempts: Path,
    student: Path,
    out: Path,
    metrics: Path,
) -> None:
    """Ask the teacher to rewrite the rationales behind a student's errors."""
    settings = params.section("refine", refine.RefineSettings)
    guard = params.section("guard", guards.GuardSettings)
    bench = Bench(params, f"refine@{name}")
    grader = bench.own
    teacher, asked = engage(params, "refine"), params.section("student", StudentSettings)
    known = spool.by_id(spool.read(problems, Problem))
    before, mirrored = spool.read(rationales, Rationale), spool.read(like, Rationale)
    mistakes, diagnosis = spool.read(errors, Error), diagnosing.read(gaps)
    rewrite, unquoted = rewrites(params)[name], questions.read(held_out)
    most = params.section("mine", MineSettings).exemplars
    cases = Cases.on_dev(mistakes, spool.read(dev_problems, Problem), most, asks=teacher.asks)

    requests = controls.requests(
        name, rewrite, branches(params), known, before, mirrored, mistakes, diagnosis, settings,
        cases,
    )  # fmt: skip
    about = Changed(requests.placed, lambda placed: placed[1].problem)
    choose = chooser(teacher.rules, about, student, asked)
    refined = refine.refine(requests, before, teacher, grader, unquoted, choose, guard, round=name)

    guarded = partial(guards.first, grader=grader, held_out=unquoted)
    solved, look = spool.read(attempts, Attempt), partial(foresee, grader)
    taught = refine.with_own(refined.rationales, solved, known, guarded, settings.own, look)

    refined.balance.check(settings.max_loss)
    with drafts.together():
        jsonl.write(out, taught)
        write_json(metrics, refined.as_dict() | bench.figures())
    if requests.stop:
        click.echo(f"{name}: the loop stopped at {errors.stem}; mine.stop: never runs every round")
    click.echo(f"{name}: {refined.balance}; {refined.attempts}; kept {refined.kept}")


if __name__ == "__main__":
    main()
