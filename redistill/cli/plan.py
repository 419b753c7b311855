"""What a run would ask of its teacher, and what that can cost, before anything is spent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from redistill.checks import check_params, teaching
from redistill.cli import largest, recorded
from redistill.console.exceptions import RefusedError
from redistill.console.preflight import gate
from redistill.diagnosis import smallest_gain
from redistill.diagnosis.nearest import Cases
from redistill.diagnosis.settings import MineSettings
from redistill.grading import golds, labelled
from redistill.grading.grader import Bench, Grader, GradeSettings, grader_module, paid
from redistill.llm import budget, purchase
from redistill.llm.budget import Amount, SpendingSettings
from redistill.problems import held_out
from redistill.problems.held_out import HeldOut
from redistill.problems.sets import SPLITS
from redistill.rationales import generate, guards, refine, select
from redistill.rationales.teacher import Engaged, Plan, Request, TeachSettings, engage
from redistill.records import jsonl
from redistill.records.types import Error, Problem, Rationale
from redistill.rounds import branches, targets
from redistill.rounds.branches import Arm, Branch, Round
from redistill.rounds.targets import Tailored
from redistill.settings import sections
from redistill.settings.sections import Params
from redistill.solutions import gaps
from redistill.students.answer.settings import EvaluateSettings
from redistill.students.model.settings import StudentSettings
from redistill.students.train.settings import TrainSettings

DEV = Path("data/problems/dev.jsonl")


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
class _Run:
    """What planning needs of a run: its settings, its train problems, and what none may quote."""

    root: Path
    params: Params
    problems: list[Problem]
    held_out: HeldOut

    @property
    def grader(self) -> Grader:
        return Bench.reading(self.params, trusts=True).own

    @property
    def branches(self) -> dict[str, Branch]:
        return branches.branches(self.params)

    @property
    def student(self) -> StudentSettings:
        return self.params.section("student", StudentSettings)


def plan(root: Path) -> list[Row]:
    """
    Bound the calls of every stage that asks a teacher, for the run in the folder *root*.

    A stage whose input is there is planned by running it on the store alone: what is stored is
    counted, and what is not is what may be asked, further attempts included. For the others the
    number of train problems is the bound, and each call is taken to be as large as one can be.
    """
    run = _opened(root)
    golds.check(run.problems, run.grader, run.params.section("grade", GradeSettings).grader)
    gate([teaching.prompts(run.params, run.problems)])
    refiner = engage(run.params, "refine")
    rows = [_first(run, engage(run.params, "explain"))]
    known: dict[str, Row] = {}
    for name, rewrite in _in_order(targets.rewrites(run.params)).items():
        mined = not any(row.new for row in rows) and not recorded.changed(
            root, run.params, rewrite.from_
        )  # else what lies there is of an earlier run
        if isinstance(rewrite, Arm):
            row = _arm(name, rewrite, known[rewrite.like], run, refiner)
        else:
            row = _later(name, rewrite, run, refiner, mined=mined)
        known[name] = row
        rows.append(row)
    return rows


def over_budget(params: Params, most: Row) -> str | None:
    """Say which limits of ``spending.budget`` the calls of *most* may reach; None where none."""
    if "spending" not in check_params.read_by(params):
        return None
    limits = params.section("spending", SpendingSettings).budget
    cost = None if most.nano is None else most.nano / 1e9
    may = {"calls": (most.new, limits.calls), "tokens": (most.tokens, limits.tokens)}
    passed = [
        f"{name} {limit:,}"
        for name, (count, limit) in (may | {"cost": (cost, limits.cost)}).items()
        if count is not None and limit is not None and count > limit
    ]
    if not passed:
        return None
    return (
        f"spending.budget allows less than that: {', '.join(passed)}. A run that reaches it ends "
        "with code 3, keeps every answer, and goes on from there once the budget is raised."
    )


def probes(params: Params) -> str | None:
    """Say what held-out errors take beside the calls; None where ``mine.folds`` is null."""
    folds = params.section("mine", MineSettings).folds
    if folds is None:
        return None
    steps = params.section("train", TrainSettings).steps
    probed = [b for b in branches.branches(params).values() if b.probe]
    count = sum(b.times for b in probed) * steps * (folds - 1)
    return (
        f"Held-out errors (mine.folds: {folds}) train {folds * len(probed)} more students, "
        f"{count:,} optimiser steps; they ask no teacher."
    )


def judged(root: Path, params: Params, texts: int) -> str | None:
    """
    Say how often a grader that is paid may be asked, beside the *texts* that a teacher writes.

    None for a grader that costs nothing. Texts of data sets that are taken and out-of-domain tests
    are not counted.
    """
    from redistill.graders import judge

    if not paid(grader_module(params.section("grade", GradeSettings).grader)):
        return None
    files = {split: root / f"data/problems/{split}.jsonl" for split in SPLITS}
    sizes = {name: len(jsonl.read(f, Problem)) for name, f in files.items() if f.is_file()}
    train, found = sizes.get("train", 0), branches.branches(params).values()
    folds = params.section("mine", MineSettings).folds
    held = 0 if folds is None else train * sum(branch.probe for branch in found)
    drawn = 1 + params.section("evaluate", EvaluateSettings).samples
    answers = (len(found) * sum(sizes.values()) + held) * drawn
    texts += train * _free_texts(params)
    asked = judge.settings_of(params).labelled
    sample = 0 if asked is None else len(labelled.read(root / asked))
    return (
        f"The judge is asked about at most {texts + answers + sample:,} texts besides: {texts:,} "
        f"of the teacher, {answers:,} of students, {sample:,} that are labelled; repeated ones and "
        "those without an answer cost nothing. Texts of data sets that are taken and answers to "
        "out-of-domain tests come on top."
    )


def _free_texts(params: Params) -> int:
    """How many texts a problem gets at most of teachers that ask no model, in all stages."""
    rules = params.section("teach", TeachSettings)
    times = 0 if engage(params, "explain").asks else 1
    times += 0 if engage(params, "refine").asks else len(targets.rewrites(params))
    return times * rules.attempts * rules.draws


def unjudged(params: Params) -> str | None:
    """Say what is taken for accepted where texts are judged by a model, or by running code."""
    name = params.section("grade", GradeSettings).grader
    if not hasattr(grader_module(name), "configured"):
        return None
    return (
        f"No verdict of the grader {name} is bought or made here: a stored reply without one "
        "counts as accepted, and is asked about again where the run rejects it."
    )


def prompts(
    root: Path, problem: str | None = None, stage: str | None = None
) -> list[tuple[str, str]]:
    """
    Return what a language model gets about *problem*, in *stage* or in each, with the stage's name.

    Without *problem* it is the first prompt of a stage. Raises RefusedError where there is none.
    """
    from redistill.rationales import prompt

    run = _opened(root)
    kind = run.params.section("teach", TeachSettings).prompts
    found = [
        ("generate", prompt.explain(known, kind))
        for known in run.problems
        if problem in (None, known.id)
    ][:1]
    for name, rewrite in targets.rewrites(run.params).items():
        about = None if stage not in (None, f"refine@{name}") else _about(problem, rewrite, run)
        if about is not None:
            found.append((f"refine@{name}", prompt.refine(about, kind)))
    chosen = [told for told in found if stage in (None, told[0])]
    if not chosen:
        where = f"stage {stage}" if stage else "data/problems/train.jsonl"
        raise RefusedError(f"{where}: asks nothing about {problem or 'any problem'} as things are")
    return chosen


def _about(problem: str | None, rewrite: Round | Tailored, run: _Run) -> Request | None:
    """What is asked about *problem*, or first, for *rewrite*; None where that is nothing."""
    requests = None if isinstance(rewrite, Arm) else _requests(rewrite, run, asks=False)
    placed = [request for _, request in requests.placed] if requests else []
    about = next((r for r in placed if problem in (None, r.problem.id)), None)
    if about is None:
        return None
    cases = _cases(jsonl.read(_files(rewrite, run.root)[1], Error), run, asks=True)
    found = refine.informed(about.problem, about.rationale, about.errors, about.profile, cases)
    return replace(found, mending=about.mending)


def _opened(root: Path) -> _Run:
    train, quoted = root / "data/problems/train.jsonl", root / "data/problems/held-out.jsonl"
    for file in (train, quoted):
        if not file.is_file():
            raise RefusedError(f"{file}: is not there yet; run dvc repro prepare")
    params = sections.read(root / "params.yaml")
    return _Run(root, params, jsonl.read(train, Problem), held_out.read(quoted))


def _in_order(found: Mapping[str, Round | Tailored]) -> dict[str, Round | Tailored]:
    """*found* with the rounds first, then the arms that are like them, then what is tailored."""
    kinds = (Arm, Round, Tailored)
    order = {Round: 0, Arm: 1, Tailored: 2}

    def place(name: str) -> int:
        return next(order[kind] for kind in kinds if isinstance(found[name], kind))

    return {name: found[name] for name in sorted(found, key=place)}


def total(rows: Sequence[Row]) -> Row:
    """Add all *rows* together; what is unknown in one is unknown in the sum."""
    tokens = [row.tokens for row in rows]
    nano = [row.nano for row in rows]
    return Row(
        "together",
        sum(row.cached for row in rows),
        sum(row.new for row in rows),
        None if None in tokens else sum(t or 0 for t in tokens),
        None if None in nano else sum(n or 0 for n in nano),
    )


def _first(run: _Run, teacher: Engaged) -> Row:
    noted = Plan()
    choose = select.chooser(_unchosen(teacher), run.problems, Path("none"), run.student)
    planned = replace(teacher, plan=noted)
    asked = run.problems, planned, run.grader, run.held_out, choose
    generate.generate(*asked, round="r0", max_loss=1.0)
    return _row("generate", noted, teacher)


def _later(
    name: str, rewrite: Round | Tailored, run: _Run, teacher: Engaged, *, mined: bool
) -> Row:
    stage = f"refine@{name}"
    if not teacher.asks:
        return Row(stage, 0, 0, 0, 0)
    requests = _requests(rewrite, run, asks=teacher.asks) if mined else None
    if requests is None:
        most = len(run.problems) * teacher.rules.attempts * teacher.rules.draws
        depth = 1 if isinstance(rewrite, Tailored) else branches.depth(name, run.branches)
        return _unmined(stage, most, run, teacher, depth)
    noted = Plan()
    guard = run.params.section("guard", guards.GuardSettings)
    choose = select.chooser(_unchosen(teacher), run.problems, Path("none"), run.student)
    refine.refine(
        requests,
        jsonl.read(_files(rewrite, run.root)[0], Rationale),
        replace(teacher, plan=noted),
        run.grader,
        run.held_out,
        choose,
        guard,
        round=name,
    )
    return _row(stage, noted, teacher)


def _arm(name: str, arm: Arm, like: Row, run: _Run, teacher: Engaged) -> Row:
    """At most as many calls as the round that the arm is like can make, some perhaps stored."""
    stage = f"refine@{name}"
    if not teacher.asks:
        return Row(stage, 0, 0, 0, 0)
    every = len(run.problems) * teacher.rules.attempts * teacher.rules.draws
    most = every if arm.scope == "all" else like.cached + like.new
    return _unmined(stage, most, run, teacher, branches.depth(name, run.branches))


def _unmined(stage: str, most: int, run: _Run, teacher: Engaged, depth: int) -> Row:
    """The row of a stage whose errors are not known yet: *most* calls, each of the largest."""
    request = largest.refinement(run.params, run.problems, teacher, depth)
    if request is None:  # no output limit, so that nothing bounds what is written
        return Row(stage, 0, most, None, None if teacher.spending else 0)
    amount = budget.reservation(request, _prices(teacher))
    nano = 0 if teacher.spending is None else amount.nano
    return Row(stage, 0, most, amount.tokens * most, None if nano is None else nano * most)


def _unchosen(teacher: Engaged) -> TeachSettings:
    """The teacher's rules, in which no student is needed to choose."""
    return teacher.rules.model_copy(update={"choose": "first"})


def _files(rewrite: Round | Tailored, root: Path) -> tuple[Path, Path, Path]:
    """What a teacher rewrites, and the errors and gaps because of which it does."""
    return (
        root / f"data/rationales/{rewrite.of}.jsonl",
        root / f"data/errors/{rewrite.from_}.jsonl",
        root / f"metrics/gaps/{rewrite.from_}.json",
    )


def _cases(errors: Sequence[Error], run: _Run, *, asks: bool) -> Cases:
    """The dev cases among *errors*, for a teacher that *asks* a language model."""
    on_dev = jsonl.read(run.root / DEV, Problem)
    most = run.params.section("mine", MineSettings).exemplars
    return Cases.on_dev(errors, on_dev, most, asks=asks)


def _requests(rewrite: Round | Tailored, run: _Run, *, asks: bool) -> refine.Requests | None:
    """What would be asked for *rewrite*; None where its files are not there yet."""
    files = _files(rewrite, run.root)
    if not all(file.is_file() for file in (*files, run.root / DEV)):
        return None
    rationales, errors, diagnosis = files
    known = {problem.id: problem for problem in run.problems}
    lessons = jsonl.read(rationales, Rationale)
    if any(lesson.problem not in known for lesson in lessons):
        return None  # left over from a run on other problems
    mistakes = jsonl.read(errors, Error)
    cases = _cases(mistakes, run, asks=asks)
    if any(error.problem not in cases.problems for error in cases.errors):
        return None
    settings = run.params.section("refine", refine.RefineSettings)
    return refine.to_rewrite(known, lessons, mistakes, gaps.read(diagnosis), settings, cases)


def _row(stage: str, noted: Plan, teacher: Engaged) -> Row:
    prices = _prices(teacher)
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


def _prices(teacher: Engaged) -> budget.Prices:
    nothing = budget.Prices(input=None, output=None, batch=None)
    return purchase.spending(teacher.spending).prices if teacher.spending else nothing


def on_dev(root: Path, params: Params) -> str | None:
    """Say how large a gain the dev set of the run in *root* can show; None before it is there."""
    file = root / DEV
    if not file.is_file():
        return None
    settings = params.section("mine", MineSettings)
    return f"Dev: {smallest_gain.told(len(jsonl.read(file, Problem)), settings)}."
