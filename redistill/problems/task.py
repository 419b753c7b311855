"""What every task offers: its problems, in a module found by its name."""

import importlib
import re
from collections.abc import Sequence
from typing import Any, Literal, Protocol, cast

from redistill.console.exceptions import CONFIG, RefusedError
from redistill.problems.source import Rejected
from redistill.records.types import Problem, Split
from redistill.settings.bounds import Above, Module, Share
from redistill.settings.sections import Params, Section

STATED = ("Settings", "problems", "GRADER", "PUBLISHED", "SOURCE", "LICENCE")


class PrepareSettings(Section):
    """
    Section ``prepare``: the task, by the name of its file, and how many rows may be lost.

    *outside* has the out-of-domain tests: further tasks, each with the settings that its own
    section would have. They stand here so that DVC tracks them: it cannot track a list of sections.
    *near_duplicates* says what becomes of questions asked twice in other words, of which *alike* is
    the share of words in common that makes them so; null does not look for any.
    """

    task: Module
    max_loss: Share
    outside: dict[str, dict[str, Any]]
    near_duplicates: Literal["report", "drop"] | None = None  # absent in earlier projects
    alike: Above = 0.4


class Task(Protocol):
    """
    The interface of a module in ``redistill/tasks``.

    *GRADER* is the one grader that its answers are for, None where that is open. *PUBLISHED* says
    that others drew its splits, so that a train question which they also ask in test is left out.
    """

    Settings: type[Section]
    GRADER: str | None
    PUBLISHED: bool
    SOURCE: str
    LICENCE: str

    def problems(self, settings: Any, seed: int) -> Sequence[tuple[Split, Problem | Rejected]]:
        """
        Return all problems, each with its split.

        A row that is no problem stands there with its reason. The rows are gone through several
        times; they need not be in memory (`records.lazy`).
        """
        ...


def load_task(name: str, place: str = "prepare.task") -> Task:
    """Load the task in ``redistill/tasks/<name>.py``, which stands at *place* of the settings."""
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,63}", name):
        raise RefusedError(f"{place}: {name!r} is not the name of a task", code=CONFIG)
    try:
        found = importlib.import_module(f"redistill.tasks.{name}")
    except ModuleNotFoundError as problem:
        if problem.name != f"redistill.tasks.{name}":
            raise
        raise RefusedError(f"{place}: there is no redistill/tasks/{name}.py", code=CONFIG) from None
    for stated in STATED:
        if not hasattr(found, stated):
            raise RefusedError(
                f"{place}: redistill/tasks/{name}.py does not state {stated}; see docs/tasks.md",
                code=CONFIG,
            )
    return cast(Task, found)


def further_tasks(params: Params, settings: PrepareSettings) -> dict[str, tuple[Task, Section]]:
    """Load the tasks of the out-of-domain tests, each with its section, checked."""
    found = {}
    for name, content in settings.outside.items():
        further = load_task(name, "prepare.outside")
        section = params.hold(f"prepare.outside.{name}", content, further.Settings)
        found[name] = (further, section)
    return found
