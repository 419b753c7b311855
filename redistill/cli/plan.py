"""What a run would ask of its teacher, and what that can cost, before anything is spent."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from redistill.console.exceptions import RefusedError
from redistill.grading.grader import GradeSettings, load_grader
from redistill.llm import budget
from redistill.llm.budget import Amount
from redistill.rationales import generate, guards, refine, select
from redistill.rationales.teacher import Engaged, Plan, Request, TeachSettings, engage
from redistill.records import jsonl
from redistill.records.types import Error, Problem, Rationale
from redistill.settings import branches, sections, targets
from redistill.solutions import gaps as solutions_gaps


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
    refiner = engage(settings, "refine")
    rows = [_first(problems, engage(settings, "explain"), settings)]
    for name, branch in branches.branches(settings).items():
        if name in branches.rounds(settings)[1:]:
            mined = not any(row.new for row in rows)  # else what lies there is of an earlier run
            files = _Files.of(root, branch.from_, branch.from_)
            rows.append(_later(f"refine@{name}", files, problems, refiner, settings, mined=mined))
    known = {row.stage: row for row in rows}
    for name, arm in branches.arms(settings).items():
        rows.append(_arm(name, arm, known[f"refine@{arm.like}"], problems, refiner))
    for name, tailored in targets.tailored(settings).items():
        files = _Files.of(root, tailored.rationales, tailored.errors)
        mined = not any(row.new for row in rows)
        rows.append(_later(f"tailor@{name}", files, problems, refiner, settings, mined=mined))
    return rows


def first_prompts(root: Path) -> list[tuple[str, str]]:
    """The first prompt of each verb as a teacher would get it, with the name of its stage."""
    from redistill.rationales import prompt

    settings, problems = _opened(root)
    prompts = sections.load(settings, "teach", TeachSettings).prompts
    found = [("generate", prompt.explain(problems[0], prompts))]
    for name, branch in branches.branches(settings).items():
        files = _Files.of(root, branch.from_, branch.from_)
        requests = _requests(files, problems, settings) if name != "r0" else []
        if requests and name in branches.rounds(settings):
            found.append((f"refine@{name}", prompt.refine(requests[0][1], prompts)))
    return found


def _opened(root: Path) -> tuple[Path, list[Problem]]:
    settings, train = root / "params.yaml", root / "data/problems/train.jsonl"
    if not train.is_file():
        raise RefusedError(f"{train}: is not there yet; run dvc repro prepare")
    return settings, jsonl.read(train, Problem)


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
    grader = load_grader(sections.load(settings, "grade", GradeSettings).grader)
    choose = select.chooser(_unchosen(teacher), problems, Path("none"), settings)
    generate.generate(problems, replace(teacher, plan=noted), grader, choose, round="r0")
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
    grader = load_grader(sections.load(settings, "grade", GradeSettings).grader)
    guard = sections.load(settings, "guard", guards.GuardSettings)
    lessons = jsonl.read(files.rationales, Rationale)
    choose = select.chooser(_unchosen(teacher), problems, Path("none"), settings)
    refine.refine(
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
    name: str, arm: branches.Arm, like: Row, problems: Sequence[Problem], teacher: Engaged
) -> Row:
    """At most as many calls as the round that the arm is like can make, some perhaps stored."""
    if not teacher.asks:
        return Row(f"control@{name}", 0, 0, 0, 0)
    every = len(problems) * teacher.rules.attempts * teacher.rules.draws
    most = every if arm.scope == "all" else like.cached + like.new
    return Row(f"control@{name}", 0, most, None, None if teacher.spending else 0)


def _unchosen(teacher: Engaged) -> TeachSettings:
    """The teacher's rules, in which no student is needed to choose."""
    return teacher.rules.model_copy(update={"choose": "first"})


def _requests(
    files: _Files, problems: Sequence[Problem], settings: Path
) -> list[tuple[int, Request]] | None:
    """What would be asked about *files*; None where they are not there yet."""
    if not all(file.is_file() for file in (files.rationales, files.errors, files.gaps)):
        return None
    known = {problem.id: problem for problem in problems}
    lessons = jsonl.read(files.rationales, Rationale)
    if any(lesson.problem not in known for lesson in lessons):
        return None  # left over from a run on other problems
    return refine.asked(
        known,
        lessons,
        jsonl.read(files.errors, Error),
        solutions_gaps.read(files.gaps),
        sections.load(settings, "refine", refine.RefineSettings),
    )


def _row(stage: str, noted: Plan, teacher: Engaged) -> Row:
    nothing = budget.Prices(input=None, output=None)
    prices = teacher.spending.prices if teacher.spending else nothing
    most = Amount()
    for request in noted.new:
        most += budget.reservation(request, prices)
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
