"""The problems of a task in splits that share no question, and those of out-of-domain tests."""

import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence

from redistill.console.exceptions import RefusedError
from redistill.problems.overlap import normalised_question
from redistill.problems.sets import SPLITS, ProblemSet
from redistill.problems.source import Rejected
from redistill.problems.task import Task
from redistill.records.balance import Balance
from redistill.records.types import Problem, Split
from redistill.settings.sections import Section


def split(
    rows: Sequence[tuple[Split, Problem | Rejected]], *, published: bool = False
) -> tuple[dict[Split, list[Problem]], Balance]:
    """
    Sort *rows* into their splits, each question once.

    Two questions are the same as `fingerprint.normalised` has it, choices included. One that stands
    twice in a split loses its later row. Refused are an id used twice (in one form of Unicode), a
    split with zero rows, and a question in two splits (both ids are named); where others
    *published* the splits, it stays in test, else in dev, and its other row is counted as lost.
    """
    splits: dict[Split, list[Problem]] = {name: [] for name in SPLITS}
    ids: dict[str, tuple[Split, str]] = {}
    questions: dict[str, tuple[Split, str]] = {}
    rejected: Counter[str] = Counter()
    order = sorted(rows, key=lambda row: -SPLITS.index(row[0])) if published else rows
    for name, problem in order:
        if isinstance(problem, Rejected):
            rejected[problem.reason] += 1
            continue
        _claim(problem.id, name, ids)
        where, twin = questions.setdefault(normalised_question(problem), (name, problem.id))
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
        raise RefusedError(
            f"split {empty[0]!r} has 0 rows of the {len(rows)} that were read; name a file for it, "
            "raise its share or its take in the section of the task, or add rows"
        )
    kept = sum(len(found) for found in splits.values())
    return splits, Balance("prepare", len(rows), kept, dict(rejected))


def _claim(identity: str, split: Split, ids: dict[str, tuple[Split, str]]) -> None:
    """Note that *identity* is that of a problem; refuse one that is another's after NFC."""
    form = unicodedata.normalize("NFC", identity)
    if form in ids:
        where, twin = ids[form]
        other = "" if twin == identity else f", which {twin!r} is in another Unicode form,"
        raise RefusedError(
            f"the id {identity!r}{other} stands for two problems, in {where} and in {split}; "
            "give one of them another id"
        )
    ids[form] = (split, identity)


def outside(
    further: Mapping[str, tuple[Task, Section]],
    splits: Mapping[Split, Sequence[Problem]],
    seed: int,
) -> tuple[dict[str, ProblemSet], dict[str, Balance]]:
    """
    Draw the out-of-domain tests from the *further* tasks, and say where their other rows went.

    They are the test splits of those tasks. A question that stands in train or dev of *splits*
    would be no test and is left out, counted, as is one that repeats. Refused is a test that has
    nothing left.
    """
    taught: tuple[Split, ...] = ("train", "dev")
    known = {normalised_question(problem): name for name in taught for problem in splits[name]}
    tests, balances = {}, {}
    for name, (task, section) in further.items():
        rows = [row for where, row in task.problems(section, seed) if where == "test"]
        kept, balances[name] = _untaught(f"prepare.outside.{name}", rows, known)
        tests[name] = ProblemSet(kept, grader=task.GRADER)
    return tests, balances


def _untaught(
    place: str, rows: Sequence[Problem | Rejected], known: Mapping[str, Split]
) -> tuple[list[Problem], Balance]:
    kept: dict[str, Problem] = {}
    rejected: Counter[str] = Counter()
    for row in rows:
        if isinstance(row, Rejected):
            rejected[row.reason] += 1
        elif (question := normalised_question(row)) in known:
            rejected[f"asks a question of {known[question]}"] += 1
        elif question in kept:
            rejected["repeated question"] += 1
        else:
            kept[question] = row
    balance = Balance(place, len(rows), len(kept), dict(rejected))
    if not kept:
        raise RefusedError(f"{balance}: an out-of-domain test needs a question")
    return list(kept.values()), balance
