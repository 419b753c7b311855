"""
Questions that are asked twice in other words: within train, and across what must stay apart.

MinHash signatures (datasketch) find the pairs that may be alike, `likeness` judges each: banding as
in Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, section 3.4.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from redistill.console.exceptions import RefusedError
from redistill.problems.hashed_sets import HashedSets, hash_of
from redistill.problems.likeness import FEWEST, VOUCHED, Told, alike, likeness, needed, told
from redistill.problems.merge import Runs
from redistill.problems.sets import ProblemSet
from redistill.problems.task import PrepareSettings
from redistill.records.balance import Balance
from redistill.records.fingerprint import digest
from redistill.records.types import Problem, Split

PERMUTATIONS = 64  # of a signature: half of its words in common, and 0.01 % of pairs are missed
# values of a signature in a band: where numbers vouch for a pair, and elsewhere
LOOSE, TIGHT = 2, 4
BANDS = PERMUTATIONS // LOOSE
OUTSIDE = "outside/"  # before the name of a test, which can be that of a split
BLOCK = 4096  # questions whose signatures are made at once
ERROR = 0.15  # of a share of equal values, by which likeness is estimated: over 2 standard errors
PART = 65_536  # pairs whose signatures are compared at once
AT_ONCE = 8_192  # pairs whose words are compared at once
NEIGHBOURS = 8  # questions with the same band before each that it is compared with, and the first
SHOWN = 20  # pairs that are told of
ORDER: tuple[Split, ...] = ("test", "dev", "train")  # of two that are alike the later gives way
Places = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]


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
    dev. A question of fewer than FEWEST words is compared with none. In memory are 150 bytes of
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
        likely, numbers = self._likely(signed), signed.numbers
        sets = HashedSets(signed.words, signed.hashes)
        ends = sets.ends()
        most, least = (needed(self._least, vouched=enough) for enough in (False, True))
        needs = np.where(signed.vouched, least, most)
        del signed  # its signatures are most of what is in memory
        for codes in likely.merged():
            for start in range(0, len(codes), AT_ONCE):
                pairs = np.divmod(codes[start : start + AT_ONCE], self._starts[-1])
                later, earlier = (np.searchsorted(numbers, number) for number in pairs)
                kept = sets.shared(ends, later, earlier) >= needs[later]
                yield from zip(*(number[kept].tolist() for number in pairs), strict=True)

    def _likely(self, signed: "_Signed") -> Runs:
        """The pairs that share a band and may be compared, each as one number, some runs a band."""
        found = Runs()
        for band in range(BANDS):
            values = signed.band(band)
            order = np.argsort(values, kind="stable")
            self.cut |= _longest(values[order]) > NEIGHBOURS + 2
            for run in self._near(signed, order, values[order]):
                found.add(run)
        return found

    def _near(self, signed: "_Signed", order: Places, band: Hashes) -> Iterator[Places]:
        """The pairs of a sorted *band* whose signatures are near, each as one number, in runs."""
        for places in _neighbours(band):
            later, earlier = (order[at] for at in places)
            near = signed.near(later, earlier, self._least - ERROR)
            pairs = self._coded(signed.numbers[later[near]], signed.numbers[earlier[near]])
            yield np.unique(pairs)

    def _coded(self, later: Places, earlier: Places) -> Places:
        """The pairs of *later* and *earlier* questions whose sets are compared."""
        homes = (np.searchsorted(self._starts, n, side="right") - 1 for n in (later, earlier))
        kept = self._compared()[tuple(homes)]
        return later[kept] * int(self._starts[-1]) + earlier[kept]

    def _compared(self) -> npt.NDArray[np.bool_]:
        """Whether the questions of a set are compared with those of each that is before it."""
        rows = [[_compared(name, of) for of in self._sets] for name in self._sets]
        return np.array(rows, dtype=np.bool_)

    def _signed(self) -> "_Signed":
        """All questions that are compared, by their numbers, with their signatures."""
        room, end = int(self._starts[-1]), 0  # memory that nothing is written to is not taken
        numbers, counts = np.empty(room, dtype=np.int64), np.empty(room, dtype=np.uint64)
        signatures = np.empty((room, PERMUTATIONS), dtype=np.uint16)
        vouched, words = np.empty(room, dtype=np.bool_), np.empty(room, dtype=np.int32)
        columns: list[npt.NDArray[Any]] = [numbers, signatures, counts, vouched, words]
        hashes = []
        for block in map(_Signed.of, self._blocks()):
            start, end = end, end + len(block.numbers)
            for column, part in zip(columns, block[:-1], strict=True):
                column[start:end] = part
            hashes.append(block.hashes)
        return _Signed._make([*(column[:end] for column in columns), np.concatenate(hashes)])

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


def _neighbours(band: Hashes) -> Iterator[tuple[Places, Places]]:
    """The pairs of places of a sorted *band* with one value: near ones, and each with the first."""
    places = np.arange(len(band))
    begins = np.concatenate([[True], band[1:] != band[:-1]])[: len(band)]
    first = np.maximum.accumulate(np.where(begins, places, 0))
    yield places[first < places], first[first < places]
    for gap in range(1, NEIGHBOURS + 1):
        near = places[gap:][places[gap:] - gap > first[gap:]]
        yield near, near - gap


def _longest(band: Hashes) -> int:
    """How many places of a sorted *band* have the same value, at most."""
    begins = np.flatnonzero(np.concatenate([[True], band[1:] != band[:-1], [True]]))
    return int(np.diff(begins).max())


class _Signed(NamedTuple):
    """Questions by their *numbers* in the search, each with its signature and what it counts."""

    numbers: Places
    signatures: npt.NDArray[np.uint16]
    counts: Hashes  # a hash of the answer, and of the numbers in the question
    vouched: npt.NDArray[np.bool_]
    words: npt.NDArray[np.int32]  # how many the question has
    hashes: npt.NDArray[np.uint32]  # of the words of all questions, one after the other

    @classmethod
    def of(cls, block: Sequence[tuple[int, Told]]) -> "_Signed":
        """Sign the questions of *block*."""
        questions = [question for _, question in block]
        sets = HashedSets.of(question.words for question in questions)
        return cls(
            np.array([number for number, _ in block], dtype=np.int64),
            _signatures(questions),
            np.array([_counted(question) for question in questions], dtype=np.uint64),
            np.array([len(q.sure) >= VOUCHED for q in questions], dtype=np.bool_),
            *sets,
        )

    def band(self, band: int) -> Hashes:
        """
        Hash the band of each question.

        Questions with other numbers, or another answer, share none; with few numbers a band has
        more values of the signature, so that fewer pairs share one by chance.
        """
        first = band * LOOSE
        loose = _mixed(self.counts, self.signatures[:, first : first + LOOSE])
        first = band % (PERMUTATIONS // TIGHT) * TIGHT
        tight = _mixed(self.counts, self.signatures[:, first : first + TIGHT])
        return np.where(self.vouched, loose, tight)

    def near(self, one: Places, other: Places, least: float) -> npt.NDArray[np.bool_]:
        """Say of each pair whether *least* of the two signatures is the same."""
        found = np.zeros(len(one), dtype=np.bool_)
        for start in range(0, len(one), PART):
            part = slice(start, start + PART)
            same = self.signatures[one[part]] == self.signatures[other[part]]
            found[part] = same.sum(axis=1) >= least * PERMUTATIONS
        return found


def _counted(question: Told) -> int:
    return int(digest(question.answer, *sorted(question.sure)), 16)


def _mixed(seed: Hashes, values: npt.NDArray[np.uint16]) -> Hashes:
    """Mix *values* into *seed*, one column after the other (the constant is that of FNV-1a)."""
    mixed = seed.copy()
    for column in values.T.astype(np.uint64):
        mixed = (mixed ^ column) * np.uint64(0x100000001B3)
        mixed ^= mixed >> np.uint64(29)
    return mixed


def _signatures(questions: Sequence[Told]) -> npt.NDArray[np.uint16]:
    """The MinHash signatures of the words of *questions*; no hash depends on the process."""
    from datasketch import MinHash

    words = ([word.encode("utf-8", "surrogatepass") for word in q.words] for q in questions)
    made = MinHash.generator(words, num_perm=PERMUTATIONS, seed=1, hashfunc=hash_of)
    values = [signature.hashvalues.astype(np.uint16) for signature in made]
    return np.array(values, dtype=np.uint16).reshape(-1, PERMUTATIONS)


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
