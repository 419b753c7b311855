"""Many sets of words side by side, as hashes: what many pairs of them share, at once."""

from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Places = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]


class HashedSets(NamedTuple):
    """
    Sets of words, one after the other: how many *words* each has, and their *hashes*.

    Two words of two sets have one hash by chance once in ten million pairs of sets of 20 words.
    """

    words: npt.NDArray[np.int32]
    hashes: npt.NDArray[np.uint32]

    @classmethod
    def of(cls, sets: Iterable[Iterable[str]]) -> "HashedSets":
        """
        Hash the words of *sets*.

        >>> HashedSets.of([("figs", "ann"), ("ann",)]).words.tolist()
        [2, 1]
        """
        hashed = [{hash_of(word.encode("utf-8", "surrogatepass")) for word in one} for one in sets]
        words = np.array([len(one) for one in hashed], dtype=np.int32)
        return cls(words, np.array([h for one in hashed for h in one], dtype=np.uint32))

    def ends(self) -> Places:
        """Say where in the hashes each set ends."""
        return np.cumsum(self.words, dtype=np.int64)

    def shared(self, ends: Places, one: Places, other: Places) -> npt.NDArray[np.float64]:
        """
        Compute for each pair of places the share of the words of either that are in both (Jaccard).

        >>> sets = HashedSets.of([("ann", "figs"), ("ann", "sells", "figs"), ("taxi",)])
        >>> sets.shared(sets.ends(), np.array([0, 0]), np.array([1, 2])).round(2).tolist()
        [0.67, 0.0]
        """
        both = np.concatenate([self._keys(ends, one), self._keys(ends, other)])
        both.sort()
        twice = both[1:][both[1:] == both[:-1]] >> np.uint64(32)
        common = np.bincount(twice.astype(np.int64), minlength=len(one))
        return common / (self.words[one] + self.words[other] - common)

    def _keys(self, ends: Places, places: Places) -> Keys:
        """The hashes of the sets at *places*, each below the number of its place among these."""
        counts = self.words[places].astype(np.int64)
        before = np.cumsum(counts) - counts
        at = np.arange(counts.sum()) + np.repeat(ends[places] - counts - before, counts)
        pairs = np.repeat(np.arange(len(places), dtype=np.uint64), counts)
        keys: Keys = (pairs << np.uint64(32)) | self.hashes[at]
        return keys


@lru_cache(maxsize=100_000)
def hash_of(word: bytes) -> int:
    """Hash *word* to 32 bits, in every process the same (SHA-1, as datasketch does)."""
    from datasketch.hashfunc import sha1_hash32

    return int(sha1_hash32(word))
