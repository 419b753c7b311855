"""
Questions that are asked twice in other words: within train, and across what must stay apart.

`signatures` finds the pairs that may be alike, `hashed_sets` those of them with enough words in
common, and `likeness` judges each of these.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from redistill.console.exceptions import RefusedError
from redistill.problems.likeness import FEWEST, Told, alike, likeness, needed, told
from redistill.problems.merge import Runs
from redistill.problems.sets import ProblemSet
from redistill.problems.signatures import BANDS, Signatures, longest, neighbours
from redistill.problems.task import PrepareSettings
from redistill.records.balance import Balance
from redistill.records.types import Problem, Split

OUTSIDE = "outside/"  # before the name of a test, which can be that of a split
BLOCK = 4096  # questions whose signatures are made at once
ERROR = 0.15  # of a share of equal values, by which likeness is estimated: over 2 standard errors
AT_ONCE = 8_192  # pairs whose words are compared at once
NEIGHBOURS = 8  # questions with the same band before each that it is compared with, and the first
SHOWN = 20  # pairs that are told of
ORDER: tuple[Split, ...] = ("test", "dev", "train")  # of two that are alike the later gives way
Places = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Pair:
    """A question that is *like* one of a set that comes before its own, or of its own, *of*."""

    set: str
    place: int
    of: str
    twin: int
    like: float


@dataclass(frozen=True)
class NearDuplicates:
    """*splits* and *tests* as they go on, what was found in them, and what they *lost* of it."""

    splits: dict[Split, Sequence[Problem]]
    tests: dict[str, ProblemSet]
    report: dict[str, Any] = field(default_factory=dict)
    lost: Mapping[str, Counter[str]] = field(default_factory=dict)

    def count(self, balance: Balance, outside: Mapping[str, Balance]) -> None:
        """Count in *balance*, and for each test in *outside*, what was dropped."""
        for name, reasons in self.lost.items():
            counted = outside.get(name, balance)
            counted.rows_out -= sum(reasons.values())
            for reason, rows in reasons.items():
                counted.rejected[reason] = counted.rejected.get(reason, 0) + rows


def said(report: Mapping[str, Any]) -> str:
    """
    Tell what the *report* of a look found; empty where nothing was looked for.

    >>> said({"alike": 0.4, "questions": {"test": {"train": 2}, "train": {"test": 2}}})
    '2 in test of train, 2 in train of test (0.4 of the words)'
    """
    if not report:
        return ""
    counts = report["questions"]
    found = [f"{n} in {name} of {of}" for name in counts for of, n in counts[name].items()]
    told = f"{', '.join(found) or 'none'} ({report['alike']:g} of the words)"
    if dropped := report.get("dropped"):
        told += "; left out: " + ", ".join(f"{n} of {name}" for name, n in dropped.items())
    return told


def look(
    splits: Mapping[Split, Sequence[Problem]],
    tests: Mapping[str, ProblemSet],
    settings: PrepareSettings,
) -> NearDuplicates:
    """
    Look for near-duplicates as *settings* say, and leave them out where they say so.

    Compared are train with itself, dev and test, dev with test, and out-of-domain *tests* with
    train and dev. Of two that are alike the row of train gives way to one of dev and test, that of
    dev to one of test, of two in train the later one, and the out-of-domain row to one of train and
    dev. A question of fewer than FEWEST words is compared with none. In memory are some 80 bytes of
    each question and 4 of each of its words. Raises RefusedError where a set would have nothing
    left.
    """
    if settings.near_duplicates is None:
        return NearDuplicates(dict(splits), dict(tests))
    known: dict[str, Sequence[Problem]] = {name: splits[name] for name in ORDER}
    known |= {OUTSIDE + name: found.problems for name, found in tests.items()}
    search = _Search(known, settings.alike)
    found = _Found(known, giving_way=settings.near_duplicates == "drop")
    for pair in search.pairs():
        found.add(pair)
    gone = found.gone
    report = {"alike": settings.alike, **found.told(), "at_least": search.cut}
    kept = {name: _without(name, known[name], places) for name, places in gone.items()}
    lost = {name.removeprefix(OUTSIDE): Counter(places.values()) for name, places in gone.items()}
    if settings.near_duplicates == "drop":
        report["dropped"] = {name: sum(reasons.values()) for name, reasons in lost.items()}
    return NearDuplicates(
        {name: kept.get(name, rows) for name, rows in splits.items()},
        {n: replace(t, problems=kept.get(OUTSIDE + n, t.problems)) for n, t in tests.items()},
        report,
        lost,
    )


class _Search:
    """
    All questions side by side, and the pairs of them that are alike by at least *least*.

    *cut* says that some questions have so many neighbours that not all were compared.
    """

    def __init__(self, known: Mapping[str, Sequence[Problem]], least: float) -> None:
        self._sets = [*known]
        self._problems = [*known.values()]
        self._starts = np.cumsum([0, *map(len, self._problems)])
        self._least = least
        self.cut = False
        self._told = lru_cache(maxsize=BLOCK)(self._told_at)

    def pairs(self) -> Iterator[Pair]:
        """Judge every pair that shares a band, in the order of the later one."""
        for later, earlier in self._worded():
            one, other = self._told(later), self._told(earlier)
            if alike(one, other, self._least):
                of, twin = self._home(earlier)
                name, place = self._home(later)
                yield Pair(name, place, of, twin, likeness(one, other))

    def _told_at(self, number: int) -> Told:
        home = int(np.searchsorted(self._starts, number, side="right")) - 1
        return told(self._problems[home][number - int(self._starts[home])])

    def _home(self, number: int) -> tuple[str, int]:
        home = int(np.searchsorted(self._starts, number, side="right")) - 1
        return self._sets[home], number - int(self._starts[home])

    def _worded(self) -> Iterator[tuple[int, int]]:
        """The numbers of the pairs of `_likely` that have enough words in common."""
        signed = self._signed()
        likely, numbers, sets = self._likely(signed), signed.numbers, signed.sets()
        ends = sets.ends()
        most, least = (needed(self._least, vouched=enough) for enough in (False, True))
        needs = np.where(signed.vouched, least, most)
        for codes in likely.merged():
            for start in range(0, len(codes), AT_ONCE):
                pairs = np.divmod(codes[start : start + AT_ONCE], self._starts[-1])
                later, earlier = (np.searchsorted(numbers, number) for number in pairs)
                kept = sets.shared(ends, later, earlier) >= needs[later]
                yield from zip(*(number[kept].tolist() for number in pairs), strict=True)

    def _likely(self, signed: Signatures) -> Runs:
        """The pairs that share a band and may be compared, each as one number, some runs a band."""
        found = Runs()
        for number in range(BANDS):
            band = signed.band(number)
            order = np.argsort(band, kind="stable")
            band = band[order]
            self.cut |= longest(band) > NEIGHBOURS + 2
            for places in neighbours(band, NEIGHBOURS):
                later, earlier = (order[at] for at in places)
                near = signed.near(later, earlier, self._least - ERROR)
                pairs = (signed.numbers[number[near]] for number in (later, earlier))
                found.add(np.unique(self._coded(*pairs)))
        return found

    def _coded(self, later: Places, earlier: Places) -> Places:
        """The pairs of *later* and *earlier* questions whose sets are compared."""
        homes = (np.searchsorted(self._starts, n, side="right") - 1 for n in (later, earlier))
        kept = self._compared()[tuple(homes)]
        return later[kept] * int(self._starts[-1]) + earlier[kept]

    def _compared(self) -> npt.NDArray[np.bool_]:
        """Whether the questions of a set are compared with those of each that is before it."""
        rows = [[_compared(name, of) for of in self._sets] for name in self._sets]
        return np.array(rows, dtype=np.bool_)

    def _signed(self) -> Signatures:
        """All questions that are compared, by their numbers, with their signatures."""
        signed = Signatures(int(self._starts[-1]))
        for block in self._blocks():
            signed.add(block)
        return signed

    def _blocks(self) -> Iterator[list[tuple[int, Told]]]:
        block = []
        for number, problem in enumerate(chain(*self._problems)):
            found = told(problem)
            if len(found.words) >= FEWEST:
                block.append((number, found))
            if len(block) == BLOCK:
                yield block
                block = []
        yield block


def _compared(name: str, of: str) -> bool:
    """Whether what is alike in the set *name* and in *of*, which comes before it, is looked for."""
    if name == of:
        return name == "train"
    return of in ORDER and (name in ORDER or of != "test")


def _without(name: str, problems: Sequence[Problem], gone: Mapping[int, str]) -> list[Problem]:
    kept = [problem for place, problem in enumerate(problems) if place not in gone]
    if not kept:
        raise RefusedError(
            f"prepare.near_duplicates: every question of {name} is a near-duplicate; set it to "
            "report, or raise prepare.alike"
        )
    return kept


class _Found:
    """
    What pairs come to, one after the other.

    *gone* are the places that are left out of each set, and why, where they are *giving_way*; one
    that is out drives no other out.
    """

    def __init__(self, known: Mapping[str, Sequence[Problem]], *, giving_way: bool) -> None:
        self._known, self._giving_way = known, giving_way
        self._alike: dict[str, dict[str, npt.NDArray[np.bool_]]] = {}
        self._first: list[Pair] = []
        self._pairs = 0
        self.gone: dict[str, dict[int, str]] = {}

    def add(self, pair: Pair) -> None:
        """Count one more *pair*."""
        self._pairs += 1
        if len(self._first) < SHOWN:
            self._first.append(pair)
        self._note(pair.set, pair.of, pair.place)
        if pair.of != pair.set and pair.set in ORDER:
            self._note(pair.of, pair.set, pair.twin)
        if self._giving_way and pair.twin not in self.gone.get(pair.of, {}):
            reason = f"near-duplicate of {pair.of}"
            self.gone.setdefault(pair.set, {}).setdefault(pair.place, reason)

    def told(self) -> dict[str, Any]:
        """Say how many questions of each set are like one of another, and show the first pairs."""
        counts = {
            one: {of: int(found.sum()) for of, found in other.items()}
            for one, other in self._alike.items()
        }
        shown = [
            {
                "id": self._known[pair.set][pair.place].id,
                "set": pair.set,
                "like": self._known[pair.of][pair.twin].id,
                "of": pair.of,
                "alike": round(pair.like, 3),
            }
            for pair in self._first
        ]
        return {"pairs": self._pairs, "questions": counts, "first": shown}

    def _note(self, name: str, of: str, place: int) -> None:
        others = self._alike.setdefault(name, {})
        if of not in others:
            others[of] = np.zeros(len(self._known[name]), dtype=np.bool_)
        others[of][place] = True
