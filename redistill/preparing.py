"""The problems of a task, in splits that share no question."""

import importlib
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, Protocol, cast

from redistill.params import Section
from redistill.records import Balance, Problem, Split, normalised
from redistill.refusals import CONFIG, RefusedError

SPLITS: tuple[Split, ...] = ("train", "dev", "test")


class Settings(Section):
    """Section ``prepare``: the task, by the name of its file, and how many rows may be lost."""

    task: str
    max_loss: float


class Task(Protocol):
    """The interface of a module in ``redistill/tasks``."""

    Settings: type[Section]

    def problems(self, settings: Any, seed: int) -> list[tuple[Split, Problem]]:
        """All problems, each with its split."""
        ...


def task(name: str) -> Task:
    """The task in ``redistill/tasks/<name>.py``."""
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,63}", name):
        raise RefusedError(f"prepare.task: {name!r} is not the name of a task", code=CONFIG)
    try:
        return cast(Task, importlib.import_module(f"redistill.tasks.{name}"))
    except ModuleNotFoundError as problem:
        if problem.name != f"redistill.tasks.{name}":
            raise
        raise RefusedError(
            f"prepare.task: there is no redistill/tasks/{name}.py", code=CONFIG
        ) from None


def split(rows: Sequence[tuple[Split, Problem]]) -> tuple[dict[Split, list[Problem]], Balance]:
    """
    Sort *rows* into their splits, each question once.

    A question that stands twice in a split loses its later row. Refused are a question in two
    splits (both ids are named), an id used twice, and a split with zero rows.
    """
    splits: dict[Split, list[Problem]] = {name: [] for name in SPLITS}
    ids: set[str] = set()
    questions: dict[str, tuple[Split, str]] = {}
    rejected: Counter[str] = Counter()
    for name, problem in rows:
        if problem.id in ids:
            raise RefusedError(f"the id {problem.id!r} stands for two problems")
        ids.add(problem.id)
        where, twin = questions.setdefault(_asked(problem), (name, problem.id))
        if where != name:
            raise RefusedError(
                f"{name} {problem.id!r} asks the same question as {where} {twin!r}: "
                "a question may stand in one split only; take one of the two rows out"
            )
        if twin != problem.id:
            rejected["repeated question"] += 1
            continue
        splits[name].append(problem)
    empty = [name for name in SPLITS if not splits[name]]
    if empty:
        raise RefusedError(f"split {empty[0]!r} has 0 rows of the {len(rows)} that were read")
    kept = sum(len(found) for found in splits.values())
    return splits, Balance("prepare", len(rows), kept, dict(rejected))


def _asked(problem: Problem) -> str:
    return normalised(" ".join([problem.question, *(problem.choices or {}).values()]))
