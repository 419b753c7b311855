"""What a run would ask of its teacher, and what that can cost, before anything is spent."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from redistill import (
    choosing,
    gaps,
    generating,
    grading,
    guarding,
    params,
    records,
    refining,
    rounds,
    spending,
    targeting,
    teaching,
)
from redistill.records import Error, Problem, Rationale
from redistill.refusals import RefusedError
from redistill.spending import Amount
from redistill.teaching import Engaged, Plan


@dataclass(frozen=True)
class Row:
    """
    The calls of one stage: stored already, and at most new, with at most their tokens and money.

    *tokens* is None where what will be asked is not known yet, money also where no price is.
    """

    stage: str
    cached: int
    new: int
    tokens: int | None
    nano: int | None


@dataclass(frozen=True)
class _Files:
    """What a teacher rewrites, and the errors and gaps because of which it does."""

    rationales: Path
    errors: Path
    gaps: Path

    @classmethod
    def of(cls, root: Path, rationales: str, errors: str) -> "_Files":
        return cls(
            root / f"data/rationales/{rationales}.jsonl",
            root / f"data/errors/{errors}.jsonl",
            root / f"metrics/gaps/{errors}.json",
        )


def plan(root: Path) -> list[Row]:
    """
    The calls of every stage that asks a teacher, for the run in the folder *root*.

    A stage whose input is there is planned by running it on the store alone: what is stored is
    counted, and what is not is what may be asked, further attempts included. For the others the
    number of train problems is the bound.
    """
    settings, problems = _opened(root)
    refiner = teaching.engage(settings, "refine")
    rows = [_first(problems, teaching.engage(settings, "explain"), settings)]
    for name, branch in rounds.branches(settings).items():
        if name in rounds.rounds(settings)[1:]:
            mined = not any(row.new for row in rows)  # else what lies there is of an earlier run
            files = _Files.of(root, branch.from_, branch.from_)
            rows.append(_later(f"refine@{name}", files, problems, refiner, settings, mined=mined))
    known = {row.stage: row for row in rows}
    for name, arm in rounds.arms(settings).items():
        rows.append(_arm(name, arm, known[f"refine@{arm.like}"], problems, refiner))
    for name, tailored in targeting.tailored(settings).items():
        files = _Files.of(root, tailored.rationales, tailored.errors)
        mined = not any(row.new for row in rows)
        rows.append(_later(f"tailor@{name}", files, problems, refiner, settings, mined=mined))
    return rows


def first_prompts(root: Path) -> list[tuple[str, str]]:
    """The first prompt of each verb as a teacher would get it, with the name of its stage."""
    from redistill import prompting

    settings, problems = _opened(root)
    prompts = params.load(settings, "teach", teaching.Settings).prompts
    found = [("generate", prompting.explain(problems[0], prompts))]
    for name, branch in rounds.branches(settings).items():
        files = _Files.of(root, branch.from_, branch.from_)
        requests = _requests(files, problems, settings) if name != "r0" else []
        if requests and name in rounds.rounds(settings):
            found.append((f"refine@{name}", prompting.refine(requests[0][1], prompts)))
    return found


def _opened(root: Path) -> tuple[Path, list[Problem]]:
    settings, train = root / "params.yaml", root / "data/problems/train.jsonl"
    if not train.is_file():
        raise RefusedError(f"{train}: is not there yet; run dvc repro prepare")
    return settings, records.read(train, Problem)


def total(rows: Sequence[Row]) -> Row:
    """All *rows* together; what is unknown in one is unknown in the sum."""
    tokens = [row.tokens for row in rows]
    nano = [row.nano for row in rows]
    return Row(
        "together",
        sum(row.cached for row in rows),
        sum(row.new for row in rows),
        None if None in tokens else sum(t or 0 for t in tokens),
        None if None in nano else sum(n or 0 for n in nano),
    )


def _first(problems: Sequence[Problem], teacher: Engaged, settings: Path) -> Row:
    noted = Plan()
    grader = grading.grader(params.load(settings, "grade", grading.Settings).grader)
    choose = choosing.chooser(_unchosen(teacher), problems, Path("none"), settings)
    generating.generate(problems, replace(teacher, plan=noted), grader, choose, round="r0")
    return _row("generate", noted, teacher)


def _later(
    stage: str,
    files: _Files,
    problems: Sequence[Problem],
    teacher: Engaged,
    settings: Path,
    *,
    mined: bool,
) -> Row:
    if not teacher.asks:
        return Row(stage, 0, 0, 0, 0)
    requests = _requests(files, problems, settings) if mined else None
    if requests is None:
        most = len(problems) * teacher.rules.attempts * teacher.rules.draws
        return Row(stage, 0, most, None, None if teacher.spending else 0)
    noted = Plan()
    grader = grading.grader(params.load(settings, "grade", grading.Settings).grader)
    guard = params.load(settings, "guard", guarding.Settings)
    lessons = records.read(files.rationales, Rationale)
    choose = choosing.chooser(_unchosen(teacher), problems, Path("none"), settings)
    refining.refine(
        requests,
        lessons,
        replace(teacher, plan=noted),
        grader,
        choose,
        guard,
        stop=False,
        round=stage.partition("@")[2],
    )
    return _row(stage, noted, teacher)


def _arm(
    name: str, arm: rounds.Arm, like: Row, problems: Sequence[Problem], teacher: Engaged
) -> Row:
    """At most as many calls as the round that the arm is like can make, some perhaps stored."""
    if not teacher.asks:
        return Row(f"control@{name}", 0, 0, 0, 0)
    every = len(problems) * teacher.rules.attempts * teacher.rules.draws
    most = every if arm.scope == "all" else like.cached + like.new
    return Row(f"control@{name}", 0, most, None, None if teacher.spending else 0)


def _unchosen(teacher: Engaged) -> teaching.Settings:
    """The teacher's rules, in which no student is needed to choose."""
    return teacher.rules.model_copy(update={"choose": "first"})


def _requests(
    files: _Files, problems: Sequence[Problem], settings: Path
) -> list[tuple[int, teaching.Request]] | None:
    """What would be asked about *files*; None where they are not there yet."""
    if not all(file.is_file() for file in (files.rationales, files.errors, files.gaps)):
        return None
    known = {problem.id: problem for problem in problems}
    lessons = records.read(files.rationales, Rationale)
    if any(lesson.problem not in known for lesson in lessons):
        return None  # left over from a run on other problems
    return refining.asked(
        known,
        lessons,
        records.read(files.errors, Error),
        gaps.read(files.gaps),
        params.load(settings, "refine", refining.Settings),
    )


def _row(stage: str, noted: Plan, teacher: Engaged) -> Row:
    nothing = spending.Prices(input=None, output=None)
    prices = teacher.spending.prices if teacher.spending else nothing
    most = Amount()
    for request in noted.new:
        most += spending.reservation(request, prices)
    if not noted.new:
        return Row(stage, noted.cached, 0, 0, 0)
    free = teacher.spending is None
    bounded = all(request.max_output is not None for request in noted.new)
    return Row(
        stage,
        noted.cached,
        len(noted.new),
        most.tokens if bounded else None,
        0 if free else most.nano,
    )
