"""What every teacher offers: two verbs over batches, in a module found by its name."""

import importlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, Protocol, TypeVar, cast

from pydantic import Field

from redistill.console.exceptions import CONFIG, RefusedError
from redistill.llm import request
from redistill.llm.budget import SpendingSettings as Spending
from redistill.records.types import Error, Exemplar, Problem, Rationale
from redistill.settings.bounds import Few, Module
from redistill.settings.sections import Params, Section
from redistill.solutions.mending import Mending

TEACHERS = Path(__file__).parent.parent / "teachers"
PORTION = 1000  # things that a teacher without a model is asked about at a time
BY_STUDENT = ("likely", "rsr")  # ways of choosing that open the student
T = TypeVar("T")


class TeachSettings(Section):
    """
    Section ``teach``: the teachers, by the names of their files, and how often one is asked.

    *teacher* writes the first rationales, *refiner* the later ones; they may be the same. *prompts*
    names the prompt files of a teacher that is a language model. Each of at most *attempts*
    attempts draws *draws* texts; of those accepted, *choose* says which is kept. One that is paid
    is asked about *probe* problems before the others (null: about all at once). *unmarked* says
    whether a reply without markers is taken where all of it is an acceptable rationale.
    """

    teacher: Module
    refiner: Module
    prompts: Module
    attempts: Few
    draws: Few
    choose: Literal["first", "shortest", "likely", "rsr"]
    probe: Annotated[int, Field(ge=1, le=1000)] | None
    unmarked: Literal["reject", "take"]


@dataclass(frozen=True)
class Request:
    """
    One rationale to rewrite: the problem, what was taught so far, and what went wrong.

    *errors* are the student's own on this problem (none where only the dev *profile*, the kinds of
    gap common on dev, asks for the rewrite). *cases* stand in their place where it has none: the
    nearest dev problems on which the student failed, for a teacher that is a language model. With
    *mending* the teacher does not rewrite, but mends the attempt of the first of the errors.
    """

    problem: Problem
    rationale: Rationale
    errors: Sequence[Error] = ()
    profile: Sequence[str] = ()
    cases: Sequence[Exemplar] = ()
    mending: Mending | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """
    A rationale text and the kinds of gap that it treats, or the *reason* why there is none.

    *teacher* is who wrote the text where that is not the module itself, *fingerprint* the key of
    the request that it answers. *kept* is what a teacher that mends an attempt says that it keeps.
    *unmarked* is what a language model wrote in place of a marked rationale, and may be one.
    """

    text: str | None
    gaps: list[str] = field(default_factory=list)
    reason: str | None = None
    teacher: str | None = None
    fingerprint: str | None = None
    kept: str | None = None
    unmarked: str | None = None


def replied(
    rows: Iterable[tuple[Problem, Sequence[Reply]]],
) -> Iterator[tuple[Problem, str | None]]:
    """Yield each text of *rows*, marked or not, with the problem that it answers."""
    for problem, replies in rows:
        yield from ((problem, reply.text or reply.unmarked) for reply in replies)


@dataclass
class Plan:
    """What a teacher would ask a model: how many answers are stored, and which are new."""

    cached: int = 0
    new: list[request.Request] = field(default_factory=list)


@dataclass(frozen=True)
class Sitting:
    """
    What a teacher is asked for: *draws* of each text, in a stage and round of the loop.

    *first* is the number of the stage's first draw: texts that are written afresh in an arm are
    numbered from where no other draw is.
    With a *plan* nothing is asked of a model: what would be is noted there instead. *told* is what
    was said already of models that answer in place of others.
    """

    stage: str
    round: str
    prompts: str
    draws: range
    spending: Spending | None = None
    plan: Plan | None = None
    first: int = 0
    told: set[tuple[str, str]] = field(default_factory=set, compare=False)


class Teacher(Protocol):
    """
    The interface of a module in ``redistill/teachers``.

    Both verbs return, for each thing asked in its order, at most one reply a draw; none where the
    teacher has nothing further to say. A module that asks a language model sets ``ASKS = True``;
    one whose calls cost money also ``PAID = True``, and needs the section ``spending``.
    One with settings that are wrong together has a function ``check(settings, spending)``, and one
    that needs more of where it runs, such as a key, ``ready(settings)``; either refuses.
    """

    Settings: type[Section]

    def explain(
        self, problems: Sequence[Problem], settings: Section, sitting: Sitting
    ) -> list[list[Reply]]:
        """Write the first rationale of each problem."""
        ...

    def refine(
        self, requests: Sequence[Request], settings: Section, sitting: Sitting
    ) -> list[list[Reply]]:
        """Rewrite each rationale in the light of the errors."""
        ...


@dataclass(frozen=True)
class Engaged:
    """The teacher of a run, with what params.yaml says of it, and what was *told* of its models."""

    name: str
    module: Teacher
    settings: Section
    rules: TeachSettings
    spending: Spending | None = None
    plan: Plan | None = None
    told: set[tuple[str, str]] = field(default_factory=set, compare=False)

    @property
    def asks(self) -> bool:
        """Whether it asks a language model, which takes time or money."""
        return bool(getattr(self.module, "ASKS", False))

    def portions(self, things: Sequence[T], *, bought: bool) -> Iterator[Sequence[T]]:
        """
        Return the parts of *things* that it is asked about one after the other.

        A language model is asked about all together, since answers are bought together, and so is
        a teacher whose texts are judged by verdicts that are *bought*, and one among whose texts
        the student chooses, which is opened for it.
        """
        whole = self.asks or bought or self.rules.choose in BY_STUDENT
        size = len(things) if whole else PORTION
        for start in range(0, len(things), max(size, 1)):
            yield things if whole else things[start : start + size]

    def sitting(self, stage: str, round: str, draws: range, first: int = 0) -> Sitting:
        """Say what this teacher is asked for in *stage*, whose draws are numbered from *first*."""
        asked = stage, round, self.rules.prompts, draws, self.spending, self.plan, first
        return Sitting(*asked, told=self.told)


def engage(params: Params, verb: Literal["explain", "refine"]) -> Engaged:
    """
    Engage the teacher that *params* name for *verb*.

    Raises RefusedError for rules that are none.
    """
    rules = params.section("teach", TeachSettings)
    key = "teacher" if verb == "explain" else "refiner"
    name = getattr(rules, key)
    module = load_teacher(name, f"teach.{key}")
    limits = params.section("spending", Spending) if paid(module) else None
    own = params.section(name, module.Settings)
    return Engaged(name, module, own, rules, limits)


def paid(module: Teacher) -> bool:
    """Say whether calls of this teacher cost money."""
    return bool(getattr(module, "PAID", False))


def load_teacher(name: str, place: str = "teach.teacher") -> Teacher:
    """Load the teacher in ``redistill/teachers/<name>.py``, which stands at *place*."""
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,63}", name):
        raise RefusedError(f"{place}: {name!r} is not the name of a teacher", code=CONFIG)
    try:
        return cast(Teacher, importlib.import_module(f"redistill.teachers.{name}"))
    except ModuleNotFoundError as problem:
        if problem.name != f"redistill.teachers.{name}":
            raise
        known = ", ".join(sorted(f.stem for f in TEACHERS.glob("[a-z]*.py")))
        raise RefusedError(
            f"{place}: there is no redistill/teachers/{name}.py; known are {known}", code=CONFIG
        ) from None
