"""The problems of a task, in splits that share no question, and those of out-of-domain tests."""

import importlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

from redistill import params
from redistill.contamination import asked
from redistill.outside import Outside
from redistill.params import Section
from redistill.records import Balance, Problem, Split
from redistill.refusals import CONFIG, RefusedError
from redistill.sourcing import Rejected

SPLITS: tuple[Split, ...] = ("train", "dev", "test")
STATED = ("Settings", "problems", "GRADER", "PUBLISHED", "SOURCE", "LICENCE")


class Settings(Section):
    """
    Section ``prepare``: the task, by the name of its file, and how many rows may be lost.

    *outside* has the out-of-domain tests: further tasks, each with the settings that its own
    section would have. They stand here so that DVC tracks them: it cannot track a list of sections.
    """

    task: str
    max_loss: float
    outside: dict[str, dict[str, Any]]


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
        """All problems, each with its split; a row that is none stands there with its reason."""
        ...


def task(name: str, place: str = "prepare.task") -> Task:
    """The task in ``redistill/tasks/<name>.py``, which stands at *place* of the settings."""
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


def split(
    rows: Sequence[tuple[Split, Problem | Rejected]], *, published: bool = False
) -> tuple[dict[Split, list[Problem]], Balance]:
    """
    Sort *rows* into their splits, each question once.

    A question that stands twice in a split loses its later row. Refused are an id used twice, a
    split with zero rows, and a question in two splits (both ids are named); where others
    *published* the splits, it stays in test, else in dev, and its other row is counted as lost.
    """
    splits: dict[Split, list[Problem]] = {name: [] for name in SPLITS}
    ids: set[str] = set()
    questions: dict[str, tuple[Split, str]] = {}
    rejected: Counter[str] = Counter()
    order = sorted(rows, key=lambda row: -SPLITS.index(row[0])) if published else rows
    for name, problem in order:
        if isinstance(problem, Rejected):
            rejected[problem.reason] += 1
            continue
        if problem.id in ids:
            raise RefusedError(f"the id {problem.id!r} stands for two problems")
        ids.add(problem.id)
        where, twin = questions.setdefault(asked(problem), (name, problem.id))
        if where != name and not published:
            raise RefusedError(
                f"{name} {problem.id!r} asks the same question as {where} {twin!r}: "
                "a question may stand in one split only; take one of the two rows out"
            )
        if twin != problem.id:
            again = "repeated question" if where == name else f"{name} asks a question of {where}"
            rejected[again] += 1
            continue
        splits[name].append(problem)
    empty = [name for name in SPLITS if not splits[name]]
    if empty:
        raise RefusedError(f"split {empty[0]!r} has 0 rows of the {len(rows)} that were read")
    kept = sum(len(found) for found in splits.values())
    return splits, Balance("prepare", len(rows), kept, dict(rejected))


def outside(
    path: Path, settings: Settings, splits: Mapping[Split, Sequence[Problem]], seed: int
) -> tuple[dict[str, Outside], dict[str, Balance]]:
    """
    The out-of-domain tests in *settings*, read from *path*, and the balance of each.

    They are the test splits of the further tasks. A question that stands in train or dev of
    *splits* would be no test and is left out, counted, as is one that repeats. Refused is a test
    that has nothing left.
    """
    taught: tuple[Split, ...] = ("train", "dev")
    known = {asked(problem): name for name in taught for problem in splits[name]}
    tests, balances = {}, {}
    for name, (further, section) in further_tasks(path, settings).items():
        rows = [row for where, row in further.problems(section, seed) if where == "test"]
        kept, balances[name] = _untaught(f"prepare.outside.{name}", rows, known)
        tests[name] = Outside(kept, further.GRADER)
    return tests, balances


def further_tasks(path: Path, settings: Settings) -> dict[str, tuple[Task, Section]]:
    """The tasks of the out-of-domain tests, each with its section, checked."""
    found = {}
    for name, content in settings.outside.items():
        further = task(name, "prepare.outside")
        section = params.hold(path, f"prepare.outside.{name}", content, further.Settings)
        found[name] = (further, section)
    return found


def _untaught(
    place: str, rows: Sequence[Problem | Rejected], known: Mapping[str, Split]
) -> tuple[list[Problem], Balance]:
    kept: dict[str, Problem] = {}
    rejected: Counter[str] = Counter()
    for row in rows:
        if isinstance(row, Rejected):
            rejected[row.reason] += 1
        elif (question := asked(row)) in known:
            rejected[f"asks a question of {known[question]}"] += 1
        elif question in kept:
            rejected["repeated question"] += 1
        else:
            kept[question] = row
    balance = Balance(place, len(rows), len(kept), dict(rejected))
    if not kept:
        raise RefusedError(f"{balance}: an out-of-domain test needs a question")
    return list(kept.values()), balance
