"""Questions that are looked for in texts, each text once: whole, and some words in a row."""

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from redistill.problems.overlap import question
from redistill.records.fingerprint import undressed, worded
from redistill.records.types import Problem

GRAM = 13  # words, as in lm-evaluation-harness and in the GPT-3 paper (arXiv 2005.14165, app. C)
SHORTEST = 8  # words of a question that is looked for in others: shorter phrases are common
ANCHOR = 6  # words by which a question is found, from its second word on

Hashes = npt.NDArray[np.int64]


def overlapping(
    texts: Iterable[str], problems: Sequence[Problem], size: int = GRAM
) -> list[tuple[str, str]]:
    """
    Find the ids of *problems* of which *size* words in a row stand in *texts*, with those words.

    Words are compared without the signs around them (`fingerprint.worded`); a question of fewer
    words is compared as a whole with runs of its length only if it has at least 8, else not at all:
    shorter phrases are common.
    """
    shared = Shared(problems, size)
    for text in texts:
        shared.look(text)
    return shared.found()


def standing(texts: Iterable[str], problems: Sequence[Problem]) -> list[str]:
    """Find the ids of *problems* whose whole question is one of *texts*, or stands in one."""
    sought = Sought(problems)
    for text in texts:
        sought.look(text)
    return sought.standing()


class Sought:
    """
    The questions of *problems*, looked for in one text after the other.

    A question *stands* in the texts where it is one of them, or stands in one whole. The latter
    counts for questions of at least 8 words that are `overlapping`. Marks of prose around words do
    not count (`fingerprint.undressed`).
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        """Look for the questions of *problems*."""
        self._problems = problems
        self._shared = Shared(problems, GRAM)
        self._whole = _Whole(problems)
        self._overlapping: list[tuple[str, str]] | None = None

    def look(self, text: str) -> None:
        """Look at one more *text*."""
        self._overlapping = None
        self._shared.look(text)
        self._whole.look(text)

    def overlapping(self) -> list[tuple[str, str]]:
        """Return the ids of the problems of which GRAM words in a row were seen, with the words."""
        if self._overlapping is None:
            self._overlapping = self._shared.found()
        return self._overlapping

    def standing(self) -> list[str]:
        """Return the ids of the problems whose question stands in what was looked at."""
        likely = {identity for identity, _ in self.overlapping()}
        return [
            problem.id
            for place, problem in enumerate(self._problems)
            if place in self._whole.alone or (place in self._whole.within and problem.id in likely)
        ]


class Shared:
    """Runs of *size* words of questions, of which those that stand in texts are marked."""

    def __init__(self, problems: Sequence[Problem], size: int) -> None:
        """Look for the runs of *size* words of the questions of *problems*, or for shorter ones."""
        self._problems, self._size = problems, size
        self._pairs: set[tuple[str, str]] = set()
        self._lengths: set[int] = set()
        hashes = np.fromiter(self._hashed(), dtype=np.int64)
        self._hashes: Hashes = np.unique(hashes)
        self._seen = np.zeros(len(self._hashes), dtype=np.bool_)

    def look(self, text: str) -> None:
        """Mark the runs that stand in *text*."""
        words = worded(text).split()
        runs = [
            hash(gram)
            for start, end in self._known(words)
            for length in self._lengths
            for gram in _grams(words[start:end], length)
        ]
        if runs:
            places, there = self._placed(runs)
            self._seen[places[there]] = True

    def found(self) -> list[tuple[str, str]]:
        """Return the ids of the problems of which a run was seen, and the first run of each."""
        found = []
        for problem in self._problems:
            if grams := self._of(problem):
                places, _ = self._placed([hash(gram) for gram in grams])
                seen = self._seen[places]
                if seen.any():
                    found.append((problem.id, grams[int(seen.argmax())]))
        return found

    def _hashed(self) -> Iterator[int]:
        """The hashes of all runs; the pairs of words in them are noted, and their lengths."""
        for problem in self._problems:
            words = [sys.intern(word) for word in worded(problem.question).split()]
            length = _length(len(words), self._size)
            if length:
                self._lengths.add(length)
                self._pairs.update(pairwise(words))
                yield from map(hash, _grams(words, length))

    def _known(self, words: Sequence[str]) -> Iterator[tuple[int, int]]:
        """The stretches of *words* in which each two stand in a question too, if long enough."""
        least, start = min(self._lengths, default=len(words) + 1), 0
        for place, pair in enumerate(pairwise(words), 1):
            if pair not in self._pairs:
                if place - start >= least:
                    yield start, place
                start = place
        if len(words) - start >= least:
            yield start, len(words)

    def _placed(self, runs: Sequence[int]) -> tuple[Hashes, npt.NDArray[np.bool_]]:
        """The places of *runs* among all, and whether each is among them."""
        wanted = np.array(runs, dtype=np.int64)
        places = np.minimum(np.searchsorted(self._hashes, wanted), len(self._hashes) - 1)
        return places, self._hashes[places] == wanted

    def _of(self, problem: Problem) -> list[str]:
        words = worded(problem.question).split()
        return [*_grams(words, _length(len(words), self._size))]


class _Whole:
    """
    Whole questions, by place: those that are a text *alone*, and those that stand *within* one.

    A question within a text has whole words of it from its second to its last but one. It is found
    by the first ANCHOR of these, then by all of them.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.alone: set[int] = set()
        self.within: set[int] = set()
        self._asked: dict[str, list[int]] = {}
        self._inner: dict[str, list[str]] = {}
        self._lengths: dict[str, set[int]] = {}
        self._anchors: set[int] = set()
        self._bare: list[str] = []  # of so few words that nothing is in between
        long: dict[str, None] = {}
        for place, problem in enumerate(problems):
            asked = undressed(question(problem))
            self._asked.setdefault(asked, []).append(place)
            if len(worded(problem.question).split()) >= SHORTEST:
                long[asked] = None
        for asked in long:
            self._file(asked)

    def look(self, text: str) -> None:
        plain = undressed(text)
        self.alone.update(self._asked.get(plain, ()))
        for asked in {*self._bare, *self._likely(plain.split(" "))}:
            if asked in plain and re.search(rf"(?<!\w){re.escape(asked)}(?!\w)", plain):
                self.within.update(self._asked[asked])

    def _file(self, asked: str) -> None:
        inner = asked.split(" ")[1:-1]
        if not inner:
            self._bare.append(asked)
            return
        anchor = " ".join(inner[:ANCHOR])
        self._anchors.add(min(len(inner), ANCHOR))
        self._lengths.setdefault(anchor, set()).add(len(inner))
        self._inner.setdefault(" ".join(inner), []).append(asked)

    def _likely(self, words: Sequence[str]) -> Iterator[str]:
        """The questions whose inner words stand among *words* in a row."""
        for size in self._anchors:
            for start in range(1, len(words) - size):
                lengths = self._lengths.get(" ".join(words[start : start + size]), ())
                for length in lengths:
                    yield from self._inner.get(" ".join(words[start : start + length]), ())


def _length(words: int, size: int) -> int:
    """How many words in a row count of a question of so many *words*; 0 where it is too short."""
    return min(size, words) if words >= SHORTEST else 0


def _grams(words: Sequence[str], length: int) -> Iterator[str]:
    for start in range(len(words) - length + 1) if length else ():
        yield " ".join(words[start : start + length])
