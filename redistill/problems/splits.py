"""The problems of a task in splits that share no question, and those of out-of-domain tests."""

import unicodedata
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np

from redistill.console.exceptions import RefusedError
from redistill.problems.overlap import normalised_question
from redistill.problems.sets import SPLITS, ProblemSet
from redistill.problems.source import Rejected
from redistill.problems.task import Task
from redistill.records.balance import Balance
from redistill.records.grouped import twins
from redistill.records.lazy import Changed, Picked
from redistill.records.spool import Index
from redistill.records.types import Problem, Split
from redistill.settings.sections import Section

Row = tuple[Split, Problem | Rejected]


def split(
    rows: Sequence[Row], *, published: bool = False
) -> tuple[dict[Split, Sequence[Problem]], Balance]:
    """
    Sort *rows* into their splits, each question once; what is in a split stays in its row.

    Two questions are the same as `fingerprint.normalised` has it, choices included. One that stands
    twice in a split loses its later row. Refused are an id used twice (in one form of Unicode), a
    split with zero rows, and a question in two splits (both ids are named); where others
    *published* the splits, it stays in test, else in dev, and its other row is counted as lost.
    """
    found = _Found(rows, published=published)
    rejected = found.rejected + found.repeated(published=published)
    splits = {name: found.of(name) for name in SPLITS}
    empty = [name for name in SPLITS if not splits[name]]
    if empty:
        raise RefusedError(
            f"split {empty[0]!r} has 0 rows of the {len(rows)} that were read; name a file for it, "
            "raise its share or its take in the section of the task, or add rows"
        )
    kept = sum(len(problems) for problems in splits.values())
    return splits, Balance("prepare", len(rows), kept, dict(rejected))


class _Found:
    """
    The problems among *rows*: in memory are their places, and hashes of their ids and questions.

    They are in the order of the rows, or where the splits were *published* test before dev before
    train. Of those with a hash that another has the ids and questions are compared themselves.
    """

    def __init__(self, rows: Sequence[Row], *, published: bool) -> None:
        self._rows = rows
        self.rejected: Counter[str] = Counter()
        splits, places, ids, asked = array("b"), array("q"), array("q"), array("q")
        for place, (name, row) in enumerate(rows):
            if isinstance(row, Rejected):
                self.rejected[row.reason] += 1
                continue
            splits.append(SPLITS.index(name))
            places.append(place)
            ids.append(hash(unicodedata.normalize("NFC", row.id)))
            asked.append(hash(normalised_question(row)))
        self._splits, self._places = np.array(splits), np.array(places, dtype=np.int64)
        self._twins = np.union1d(twins(ids), twins(asked))
        if published:
            order = np.argsort(-self._splits, kind="stable")
            self._twins = np.flatnonzero(np.isin(order, self._twins))
            self._splits, self._places = self._splits[order], self._places[order]
        self._kept = np.ones(len(self._places), dtype=np.bool_)

    def repeated(self, *, published: bool) -> Counter[str]:
        """Leave out the questions that stand in an earlier row; how many, by why."""
        rejected: Counter[str] = Counter()
        ids: dict[str, tuple[Split, str]] = {}
        questions: dict[str, tuple[Split, str]] = {}
        for number in self._twins.tolist():
            name, problem = self._rows[int(self._places[number])]
            if not isinstance(problem, Problem):
                continue
            _claim(problem.id, name, ids)
            where, twin = questions.setdefault(normalised_question(problem), (name, problem.id))
            if where != name and not published:
                raise RefusedError(
                    f"{name} {problem.id!r} asks the same question as {where} {twin!r}: "
                    "a question may stand in one split only; take one of the two rows out"
                )
            if twin != problem.id:
                again = (
                    "repeated question" if where == name else f"{name} asks a question of {where}"
                )
                rejected[again] += 1
                self._kept[number] = False
        return rejected

    def of(self, name: Split) -> Sequence[Problem]:
        """The problems of a split that are not left out."""
        places = self._places[self._kept & (self._splits == SPLITS.index(name))]
        return Changed(Picked(self._rows, places), lambda row: cast(Problem, row[1]))


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
    known = {name: Index(splits[name], normalised_question) for name in ("train", "dev") if further}
    tests, balances = {}, {}
    for name, (task, section) in further.items():
        rows = [row for where, row in task.problems(section, seed) if where == "test"]
        kept, balances[name] = _untaught(f"prepare.outside.{name}", rows, known)
        tests[name] = ProblemSet(kept, grader=task.GRADER)
    return tests, balances


def _untaught(
    place: str, rows: Sequence[Problem | Rejected], known: Mapping[str, Mapping[str, Problem]]
) -> tuple[list[Problem], Balance]:
    kept: dict[str, Problem] = {}
    rejected: Counter[str] = Counter()
    for row in rows:
        if isinstance(row, Rejected):
            rejected[row.reason] += 1
        elif where := _where(question := normalised_question(row), known):
            rejected[f"asks a question of {where}"] += 1
        elif question in kept:
            rejected["repeated question"] += 1
        else:
            kept[question] = row
    balance = Balance(place, len(rows), len(kept), dict(rejected))
    if not kept:
        raise RefusedError(f"{balance}: an out-of-domain test needs a question")
    return list(kept.values()), balance


def _where(question: str, known: Mapping[str, Mapping[str, Problem]]) -> str | None:
    """The split of those *known* that has a problem that asks *question*."""
    return next((name for name, problems in known.items() if question in problems), None)
