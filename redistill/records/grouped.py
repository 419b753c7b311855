"""What has the same name: the records of a name, and the names that stand twice."""

from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

T = TypeVar("T")
Places = npt.NDArray[np.int64]


class Groups(Generic[T]):
    """
    Records by a name that several can have, which need not be in memory.

    Of each the place and the hash of its name are, 16 bytes. Those without a name are left out.
    """

    def __init__(self, records: Sequence[T], name: Callable[[T], str | None]) -> None:
        """Group *records* by the *name* of each, in their order."""
        self._records, self._name = records, name
        places, hashes = array("q"), array("q")
        for place, record in enumerate(records):
            if (own := name(record)) is not None:
                places.append(place)
                hashes.append(hash(own))
        found = np.array(hashes, dtype=np.int64)
        order = np.argsort(found, kind="stable")
        self._hashes = found[order]
        self._places = np.array(places, dtype=np.int64)[order]

    def __len__(self) -> int:
        """Count the records that have a name."""
        return len(self._places)

    def of(self, name: str) -> list[T]:
        """Return the records called *name*, in their order; none where nothing is."""
        return [record for _, record in self._called(name)]

    def __contains__(self, name: str) -> bool:
        """Say whether a record is called *name*."""
        return next(self._called(name), None) is not None

    def firsts(self) -> list[int]:
        """Return the place of the first record of each name, in the order of the records."""
        new = np.ones(len(self._hashes), dtype=np.bool_)
        new[1:] = self._hashes[1:] != self._hashes[:-1]
        known: list[int] = self._places[new].tolist()
        for start in np.flatnonzero(~new).tolist():  # of one hash can be several names
            place = int(self._places[start])
            own = self._name(self._records[place])
            if own is not None and next(self._called(own))[0] == place:
                known.append(place)
        return sorted(known)

    def _called(self, name: str) -> Iterator[tuple[int, T]]:
        wanted = hash(name)
        place = int(np.searchsorted(self._hashes, wanted))
        while place < len(self._hashes) and self._hashes[place] == wanted:
            record = self._records[int(self._places[place])]
            if self._name(record) == name:
                yield int(self._places[place]), record
            place += 1


def twins(hashes: Sequence[int]) -> Places:
    """Find the places of those *hashes* of names that stand more than once."""
    found = np.array(hashes, dtype=np.int64)
    order = np.argsort(found, kind="stable")
    same = found[order][1:] == found[order][:-1]
    more = np.zeros(len(found), dtype=np.bool_)
    more[order[1:][same]] = more[order[:-1][same]] = True
    return np.flatnonzero(more)
