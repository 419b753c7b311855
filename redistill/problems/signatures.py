"""
MinHash signatures of questions, column after column in a file, and which of them share a band.

Banding is as in Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, section 3.4.
"""

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from redistill.console import disk
from redistill.problems.hashed_sets import HashedSets, hash_of
from redistill.problems.likeness import VOUCHED, Told
from redistill.records.fingerprint import digest

PERMUTATIONS = 64  # of a signature: half of its words in common, and 0.01 % of pairs are missed
# values of a signature in a band: where numbers vouch for a pair, and elsewhere
LOOSE, TIGHT = 2, 4
BANDS = PERMUTATIONS // LOOSE
IN_MEMORY = 16 * 2**20  # bytes of signatures that need no file
VALUE, HASH = np.dtype(np.uint16), np.dtype(np.uint32)
Places = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]


class Signatures:
    """
    Questions by their *numbers*, each with a signature and what it counts; *vouched* by numbers.

    In memory are 21 bytes of a question, in a file its signature and the hashes of its words.
    There is *room* for so many.
    """

    def __init__(self, room: int) -> None:
        # memory that nothing is written to is not taken
        self._numbers = np.empty(room, dtype=np.int64)
        self._counts = np.empty(room, dtype=np.uint64)  # a hash of the answer and of the numbers
        self._vouched = np.empty(room, dtype=np.bool_)
        self._words = np.empty(room, dtype=np.int32)
        self._columns: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115
        self._hashes: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115
        self._room, self._end = room, 0

    @property
    def numbers(self) -> Places:
        """The number of each question, in ascending order."""
        return self._numbers[: self._end]

    @property
    def vouched(self) -> npt.NDArray[np.bool_]:
        """Whether each question has enough numbers that few words in common suffice."""
        return self._vouched[: self._end]

    def add(self, block: Sequence[tuple[int, Told]]) -> None:
        """Sign the questions of *block*; raises RefusedError (74) where the disk is full."""
        questions = [question for _, question in block]
        sets = HashedSets.of(question.words for question in questions)
        start, self._end = self._end, self._end + len(block)
        place = slice(start, self._end)
        self._numbers[place] = [number for number, _ in block]
        self._counts[place] = [_counted(question) for question in questions]
        self._vouched[place] = [len(question.sure) >= VOUCHED for question in questions]
        self._words[place] = sets.words
        with disk.scratch():
            self._hashes.write(sets.hashes.tobytes())
            for number, column in enumerate(_signed(questions).T):
                self._columns.seek((number * self._room + start) * VALUE.itemsize)
                self._columns.write(column.tobytes())

    def sets(self) -> HashedSets:
        """Read the hashes of the words of all questions."""
        self._hashes.seek(0)
        hashes = np.frombuffer(self._hashes.read(), dtype=HASH)
        return HashedSets(self._words[: self._end], hashes)

    def band(self, band: int) -> Hashes:
        """
        Hash the band of each question.

        Questions with other numbers, or another answer, share none; with few numbers a band has
        more values of the signature, so that fewer pairs share one by chance.
        """
        first = band * LOOSE
        loose = self._mixed(range(first, first + LOOSE))
        first = band % (PERMUTATIONS // TIGHT) * TIGHT
        return np.where(self.vouched, loose, self._mixed(range(first, first + TIGHT)))

    def near(self, one: Places, other: Places, least: float) -> npt.NDArray[np.bool_]:
        """Say of each pair whether *least* of the two signatures is the same."""
        same = np.zeros(len(one), dtype=np.uint8)
        for column in map(self._column, range(PERMUTATIONS)):
            same += column[one] == column[other]
        return same >= least * PERMUTATIONS

    def _column(self, number: int) -> npt.NDArray[np.uint16]:
        """One value of every signature."""
        self._columns.seek(number * self._room * VALUE.itemsize)
        return np.frombuffer(self._columns.read(self._end * VALUE.itemsize), dtype=VALUE)

    def _mixed(self, columns: Iterable[int]) -> Hashes:
        """Mix *columns* into what is counted (the constant is that of FNV-1a)."""
        mixed = self._counts[: self._end].copy()
        for column in map(self._column, columns):
            mixed ^= column
            mixed *= np.uint64(0x100000001B3)
            mixed ^= mixed >> np.uint64(29)
        return mixed


def neighbours(band: Hashes, most: int) -> Iterator[tuple[Places, Places]]:
    """
    Pair the places of a sorted *band* with one value: each with the first, and with *most* before.

    >>> pairs = neighbours(np.array([5, 5, 5, 7, 9, 9], dtype=np.uint64), 1)
    >>> [[(int(a), int(b)) for a, b in zip(*one)] for one in pairs]
    [[(1, 0), (2, 0), (5, 4)], [(2, 1)]]
    """
    places = np.arange(len(band))
    begins = np.concatenate([[True], band[1:] != band[:-1]])[: len(band)]
    first = np.maximum.accumulate(np.where(begins, places, 0))
    yield places[first < places], first[first < places]
    for gap in range(1, most + 1):
        near = places[gap:][places[gap:] - gap > first[gap:]]
        yield near, near - gap


def longest(band: Hashes) -> int:
    """Count the places of a sorted *band* that have the same value, at most."""
    begins = np.flatnonzero(np.concatenate([[True], band[1:] != band[:-1], [True]]))
    return int(np.diff(begins).max())


def _counted(question: Told) -> int:
    return int(digest(question.answer, *sorted(question.sure)), 16)


def _signed(questions: Sequence[Told]) -> npt.NDArray[np.uint16]:
    """The MinHash signatures of the words of *questions*; no hash depends on the process."""
    from datasketch import MinHash

    words = ([word.encode("utf-8", "surrogatepass") for word in q.words] for q in questions)
    made = MinHash.generator(words, num_perm=PERMUTATIONS, seed=1, hashfunc=hash_of)
    values: list[Any] = [signature.hashvalues.astype(VALUE) for signature in made]
    return np.array(values, dtype=VALUE).reshape(-1, PERMUTATIONS)
