"""What every teacher offers: two verbs over batches, in a module found by its name."""

import importlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, cast

from redistill.params import Section
from redistill.records import Error, Problem, Rationale
from redistill.refusals import CONFIG, RefusedError


@dataclass(frozen=True)
class Request:
    """
    One rationale to rewrite: the problem, what was taught so far, and what went wrong.

    *errors* are the student's own on this problem (none where only the dev *profile*, the kinds of
    gap common on dev, asks for the rewrite).
    """

    problem: Problem
    rationale: Rationale
    errors: Sequence[Error] = ()
    profile: Sequence[str] = ()


@dataclass(frozen=True)
class Reply:
    """A rationale text, and the kinds of gap that it treats."""

    text: str
    gaps: list[str] = field(default_factory=list)


class Teacher(Protocol):
    """The interface of a module in ``redistill/teachers``; None stands for 'cannot'."""

    Settings: type[Section]

    def explain(self, problems: Sequence[Problem], settings: Section) -> list[Reply | None]:
        """Write the first rationale of each problem."""
        ...

    def refine(self, requests: Sequence[Request], settings: Section) -> list[Reply | None]:
        """Rewrite each rationale in the light of the errors."""
        ...


def teacher(name: str) -> Teacher:
    """The teacher in ``redistill/teachers/<name>.py``."""
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,63}", name):
        raise RefusedError(f"teacher: {name!r} is not the name of a teacher", code=CONFIG)
    try:
        return cast(Teacher, importlib.import_module(f"redistill.teachers.{name}"))
    except ModuleNotFoundError as problem:
        if problem.name != f"redistill.teachers.{name}":
            raise
        raise RefusedError(
            f"teacher: there is no redistill/teachers/{name}.py", code=CONFIG
        ) from None


class Settings(Section):
    """Section ``teach``: the teacher, by the name of its file."""

    teacher: str
