"""What the stages recorded of a round and of what it is held against, as far as it is there."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from redistill.analysis.figures import Figures
from redistill.analysis.ladder import Ladder, Row
from redistill.analysis.scores import HELD_OUT, Score
from redistill.analysis.summary import Training
from redistill.causes.recorded import Graded, Mined, Rewriting
from redistill.console.exceptions import RefusedError
from redistill.records import json_file, jsonl
from redistill.records.types import Error, Rationale
from redistill.rounds.branches import FIRST, Branch, Round
from redistill.settings.sections import Params

STAGES = {  # that write a kind of metrics
    "training": "train", "rounds": "grade", "outside": "grade-outside", "gaps": "mine",
    "rationales": "refine", "probes": "probe",
}  # fmt: skip
F = TypeVar("F", bound=Figures)
FINER = "finer "  # as the tutor says of a gap that its text treats in smaller steps still
SOUGHT = 3.0  # points: what refined texts were worth to a student of 135 M parameters, about


class Absent(Exception):
    """Evidence that is not there: *file* lacks it, and *way* is what would bring it."""

    def __init__(self, file: str, way: str, told: str = "") -> None:
        """Say what is absent in *told*; by default that the file is not there."""
        super().__init__(file)
        self.file, self.way, self.told = file, way, told or f"unknown: there is no {file}"


@dataclass(frozen=True)
class Reach:
    """
    How far rewriting reached, by the gap of the errors on train.

    *shown* counts the problems by the gap of their first error, *rewritten* those of them that have
    a new text, and *treated* the new texts by the gaps that their teacher says they treat.
    """

    shown: Mapping[str, int]
    rewritten: Mapping[str, int]
    treated: Mapping[str, int] = field(default_factory=dict)


def reach(errors: Iterable[Error], lessons: Iterable[Rationale], round: str) -> Reach:
    """
    Count over *lessons* whose text was written in *round*, by the gaps of *errors* on train.

    Both are gone through once; only the names of problems with an error are kept in memory.
    """
    gaps: dict[str, str] = {}
    for error in errors:
        if error.split == "train":
            gaps.setdefault(error.problem, error.gap)
    rewritten: Counter[str] = Counter()
    treated: Counter[str] = Counter()
    for lesson in lessons:
        if lesson.round == round and lesson.status == "refined":
            rewritten.update([gaps[lesson.problem]] if lesson.problem in gaps else [])
            treated.update({gap.removeprefix(FINER) for gap in lesson.gaps})
    return Reach(dict(Counter(gaps.values())), dict(rewritten), dict(treated))


def reach_in(data: Path, branch: Round, round: str) -> Reach | None:
    """Read `reach` from the files under *data*, a record at a time; None where one is not there."""
    errors = data / "errors" / f"{branch.from_}.jsonl"
    lessons = data / "rationales" / f"{branch.rationales}.jsonl"
    if not (errors.is_file() and lessons.is_file()):
        return None
    found = (error for _, error in jsonl.each(errors, Error))
    return reach(found, (lesson for _, lesson in jsonl.each(lessons, Rationale)), round)


@dataclass(frozen=True)
class Evidence:
    """
    All that there is on the round *name*, whose line in the settings is *branch*.

    *before* is the branch by whose errors it was refined, *control* what it is held against on
    test. *files* are metrics by kind and branch, those that are there; *reached* is None without
    the data. *tests* is the setting of how many test problems there are, *sought* the gain in
    points that one would not like to miss.
    """

    name: str
    branch: Round
    control: str
    metrics: Path
    files: Mapping[tuple[str, str], Mapping[str, Any]]
    starts: Mapping[str, str]
    ladder: Ladder | None
    reached: Reach | None
    tests: str
    sought: float = SOUGHT

    @property
    def before(self) -> str:
        """The branch by whose errors the round was refined."""
        return self.branch.from_

    @property
    def passed(self) -> bool:
        """Whether the round was passed through, so that there is no student of it."""
        return bool(self.files.get(("rounds", self.name), {}).get("passed_through"))

    def where(self, kind: str, name: str) -> str:
        """Name the file of metrics of a *kind* on the branch *name*."""
        return (self.metrics / kind / f"{name}.json").as_posix()

    def held(self, kind: str, name: str, model: type[F]) -> F:
        """
        Hold what a stage recorded of *name* to *model*.

        Raises Absent where the stage did not run yet, or wrote another form in another version.
        """
        file, way = self.where(kind, name), f"dvc repro {_stage(kind, name)}"
        if (kind, name) not in self.files:
            raise Absent(file, way)
        try:
            return model.held(self.files[kind, name], file)
        except RefusedError as problem:
            raise Absent(file, way, f"unknown: {problem}") from problem

    def score(self, name: str, split: str) -> Score:
        """Return the score of the branch *name* on *split*; raises Absent where there is none."""
        found = self.held("rounds", name, Graded).scores.get(split)
        if found is None:
            told = f"unknown: {name} has no {split} there"
            raise Absent(self.where("rounds", name), f"dvc repro grade@{name}", told)
        return found

    def held_out(self, name: str) -> Score | None:
        """Return the score of *name* on train problems that it was not taught, if there is one."""
        return self.held("rounds", name, Graded).scores.get(HELD_OUT)

    def training(self, name: str) -> Training:
        """Return what the stage train recorded of *name*; raises Absent where it did not yet."""
        return self.held("training", name, Training)

    def rewriting(self) -> Rewriting:
        """Return what became of the texts that the teacher was asked to rewrite for the round."""
        return self.held("rationales", self.name, Rewriting)

    def mined(self, name: str) -> Mined:
        """Return what was found on dev after the branch *name*."""
        return self.held("gaps", name, Mined)

    def row(self, *, outside: bool = False) -> Row | None:
        """Return the round against the control on test, or *outside* of it; None where neither."""
        if self.ladder is None:
            return None
        found = self.ladder.outside if outside else self.ladder.rounds
        return next((r for r in found.get(self.name, ()) if r.against == self.control), None)


def _stage(kind: str, name: str) -> str:
    if kind == "problems":
        return "prepare"
    if (kind, name) == ("rationales", FIRST):
        return "generate"
    return f"{STAGES[kind]}@{name}"


def read(
    name: str,
    branches: Mapping[str, Branch],
    metrics: Path,
    ladder: Ladder | None,
    reached: Reach | None,
    control: str,
    tests: str,
    sought: float = SOUGHT,
) -> Evidence:
    """
    Read what is under *metrics* on the round or arm *name*, and on what it is held against.

    *ladder* and *reached* are None where the run has not come so far, or its data are elsewhere.
    Raises RefusedError for a branch that nothing was rewritten for, and for a file of another form.
    """
    branch = branches.get(name)
    if not isinstance(branch, Round):
        known = ", ".join(refined(branches)) or "none: add one to branches and rewrites"
        raise RefusedError(f"--branch {name}: no branch of rewritten rationales; those are {known}")
    names = dict.fromkeys((name, branch.from_, branch.of, control))
    wanted = [(kind, one) for one in names for kind in STAGES]
    wanted += [("problems", "all"), ("rationales", FIRST)]
    paths = {key: metrics / key[0] / f"{key[1]}.json" for key in wanted}
    files = {key: json_file.read_json(path) for key, path in paths.items() if path.is_file()}
    starts = {one: found.start for one, found in branches.items()}
    return Evidence(name, branch, control, metrics, files, starts, ladder, reached, tests, sought)


def refined(branches: Mapping[str, Branch]) -> list[str]:
    """Name the rounds and arms among *branches*: those that something is rewritten for."""
    return [name for name, branch in branches.items() if isinstance(branch, Round)]


def tests_setting(params: Params) -> str:
    """Name the setting of how many test problems there are, which each task calls its own."""
    task = params.named("prepare").get("task")
    section = params.content.get(str(task))
    keys = [key for key in section if "test" in str(key)] if isinstance(section, dict) else []
    chosen = next((key for key in ("test", "take_test", "test_share") if key in keys), None)
    return f"{task}.{chosen}" if chosen else "prepare.task"
