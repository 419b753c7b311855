"""Verdicts on completions, by the grader that is found by its name."""

import importlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Protocol, cast, runtime_checkable

from redistill.console.exceptions import CONFIG, RefusedError
from redistill.records.types import Prediction, Problem, Split, Verdict
from redistill.settings.bounds import Module
from redistill.settings.sections import Params, Section

WRONG = "wrong answer"
UNASKED, UNRUN = "no verdict stored", "not run"
UNJUDGED = (UNASKED, UNRUN)
Texts = Sequence[tuple[Problem, str]]


class GradeSettings(Section):
    """
    Section ``grade``: the grader, by the name of its file.

    *judge* and *tests* are the settings of the graders of these names, which they hold to models of
    their own; a run by another grader has neither.
    """

    grader: Module
    judge: dict[str, Any] | None = None
    tests: dict[str, Any] | None = None


class Grader(Protocol):
    """The interface of a module in ``redistill/graders``."""

    def strict(self, completion: str) -> str | None:
        """Read the answer where the task's format has it."""
        ...

    def lenient(self, completion: str) -> str | None:
        """Find the last plausible answer."""
        ...

    def equal(self, answer: str | None, gold: str) -> bool:
        """Say whether two answers are the same."""
        ...


@dataclass(frozen=True)
class Decision:
    """
    What a grader makes of a text: the *answer* in it, and whether either reading of it is right.

    *fault* says why the strict one is not; UNJUDGED are those of a look, in which nobody judged.
    """

    answer: str | None
    strict: bool
    lenient: bool
    fault: str = WRONG


@runtime_checkable
class Decider(Grader, Protocol):
    """
    A grader that has to see the problem, and decides about many texts at once.

    What ``redistill/graders/<name>.py`` with a function ``configured`` makes of the settings.
    """

    def foresee(self, texts: Texts) -> None:
        """Have the decisions about *texts* at hand, which takes calls or processes."""
        ...

    def decide(self, problem: Problem, text: str) -> Decision:
        """Say what *text*, an answer to *problem*, is worth."""
        ...

    def prose(self, text: str) -> str:
        """Return *text* without what is code, or another thing that no guard reads as language."""
        ...

    def unread(
        self, problems: Iterable[Problem], *, thorough: bool
    ) -> Iterator[tuple[Problem, str]]:
        """Find each problem that cannot be judged; where *thorough*, by trying it."""
        ...

    def figures(self) -> dict[str, Any]:
        """Return what a metrics file records of the decisions."""
        ...


@dataclass(frozen=True)
class Bench:
    """
    The graders of a run, each made once.

    *at* is the stage, with its round, for which they work. Those that ask a model or run code do
    so only where *works*; else they know what is stored, and of the rest they say that it is not
    judged, which is no pass unless the bench *trusts*.
    """

    params: Params
    at: str
    works: bool = True
    trusts: bool = False
    _made: dict[str, Grader] = field(default_factory=dict, compare=False)

    @classmethod
    def reading(cls, params: Params, *, trusts: bool = False) -> "Bench":
        """Make a bench that asks nobody, for a look at what is there."""
        return cls(params, "look", works=False, trusts=trusts)

    @property
    def own(self) -> Grader:
        """The grader that the settings name."""
        return self(self.params.section("grade", GradeSettings).grader)

    def __call__(self, name: str) -> Grader:
        """Return the grader called *name*."""
        if name not in self._made:
            self._made[name] = load_grader(name, self)
        return self._made[name]

    @property
    def unasked(self) -> int:
        """How many verdicts a look at what is there has missed."""
        return sum(len(getattr(grader, "unasked", ())) for grader in self._made.values())

    def figures(self) -> dict[str, Any]:
        """Return what a metrics file records of the graders that decide; empty without such."""
        deciders = {n: g for n, g in sorted(self._made.items()) if isinstance(g, Decider)}
        return {name: grader.figures() for name, grader in deciders.items()}


Load = Callable[[str], Grader]


def load_grader(name: str, bench: Bench | None = None) -> Grader:
    """
    Load the grader in ``redistill/graders/<name>.py``.

    One that needs what may not be installed has a function ``check``, which refuses; asked here,
    that is before anything is generated. One that needs settings has a function ``configured``,
    which makes it for a *bench*.
    """
    module = grader_module(name)
    if hasattr(module, "check"):
        module.check()
    if not hasattr(module, "configured"):
        return cast(Grader, module)
    if bench is None:
        raise RefusedError(f"grade.grader: {name} needs the settings of a run", code=CONFIG)
    return cast(Grader, module.configured(bench))


def grader_module(name: str) -> ModuleType:
    """Import ``redistill/graders/<name>.py``; raises RefusedError (78) where there is none."""
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,63}", name):
        raise RefusedError(f"grade.grader: {name!r} is not the name of a grader", code=CONFIG)
    try:
        return importlib.import_module(f"redistill.graders.{name}")
    except ModuleNotFoundError as problem:
        if problem.name != f"redistill.graders.{name}":
            raise
        raise RefusedError(
            f"grade.grader: there is no redistill/graders/{name}.py", code=CONFIG
        ) from None


def paid(grader: object) -> bool:
    """Say whether verdicts of *grader*, a module or what it made, cost money."""
    return bool(getattr(grader, "PAID", False))


def asks_money(params: Params) -> bool:
    """Say whether the grader that *params* name asks a model, for money."""
    return paid(grader_module(params.section("grade", GradeSettings).grader))


def foresee(grader: Grader, texts: Iterable[tuple[Problem, str | None]]) -> None:
    """Have *grader* decide about all of *texts* that there are at once, if it is one that does."""
    if isinstance(grader, Decider):
        grader.foresee([(problem, text) for problem, text in texts if text is not None])


def decide(problem: Problem, text: str, grader: Grader, *, twice: bool = True) -> Decision:
    """Say what *text*, an answer to *problem*, is worth; leniently as well where read *twice*."""
    if isinstance(grader, Decider):
        return grader.decide(problem, text)
    found = grader.strict(text)
    strict = grader.equal(found, problem.answer)
    lenient = twice and not strict and grader.equal(grader.lenient(text), problem.answer)
    return Decision(found, strict, strict or lenient)


def prose(text: str, grader: Grader) -> str:
    """Return what of *text* is language: all of it, but for a grader that takes code out."""
    return grader.prose(text) if isinstance(grader, Decider) else text


def predict(
    problem: Problem, split: Split, completion: str, *, eos: bool, tokens: int, grader: Grader
) -> Prediction:
    """
    Make the prediction that a *completion* amounts to.

    A completion that did not stop by itself is ``cut_off``, one without an answer in the task's
    format ``no_answer``, whatever else it holds; *strict* and *lenient* say what either reading
    of the text alone would give.
    """
    found = decide(problem, completion, grader)
    verdict: Verdict
    if not eos:
        verdict = "cut_off"
    elif found.answer is None:
        verdict = "no_answer"
    else:
        verdict = "correct" if found.strict else "wrong"
    return Prediction(
        id=problem.id,
        problem=problem.id,
        split=split,
        completion=completion,
        answer=found.answer,
        verdict=verdict,
        strict=found.strict,
        lenient=found.lenient,
        eos=eos,
        tokens=tokens,
    )
