"""Records that stay in their file: read when they are asked for, so that a million take no room."""

import tempfile
import unicodedata
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import groupby, pairwise
from operator import attrgetter
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np

from redistill.console import disk
from redistill.console.exceptions import RefusedError
from redistill.records import jsonl
from redistill.records.lazy import Lazy
from redistill.records.types import Record

R = TypeVar("R", bound=Record)
NEAR = 8  # records after the last one that are looked at before they are searched
SMALL = 2 * 1024 * 1024  # bytes of a file of records that are kept in memory: reading takes time
IN_MEMORY = 16 * 1024 * 1024  # bytes of records that are kept before a file is made for them


class Spool(Lazy[R]):
    """
    A sequence of records of *kind* in an open *file*, of which only the places are in memory.

    A record is read anew each time that it is asked for.
    """

    def __init__(self, kind: type[R], file: IO[bytes]) -> None:
        """Have no record yet; those that are added are of *kind* and lie in *file*."""
        self._kind = kind
        self._file = file
        self._starts = array("q")
        self._end = 0

    def __len__(self) -> int:
        """Count the records."""
        return len(self._starts)

    def at(self, place: int) -> R:
        """Read the record at *place*."""
        start = self._starts[place]
        end = self._starts[place + 1] if place + 1 < len(self) else self._end
        if self._file.tell() != start:
            self._file.seek(start)
        return self._kind.model_validate_json(self._file.read(end - start))


def read(path: Path, kind: type[R]) -> Sequence[R]:
    """
    Check every record of *kind* in *path* as `jsonl.read` does, and leave them there.

    The file may not change while the records are in use. Those of a SMALL one are read at once.
    """
    if not path.is_file() or path.stat().st_size <= SMALL:
        return jsonl.read(path, kind)
    file = path.open("rb")
    spool = Spool(kind, file)
    forms = array("q")
    for start, end, record in jsonl.placed(path, kind):
        spool._starts.append(start)
        spool._end = end
        forms.append(hash(unicodedata.normalize("NFC", record.id)))
    hashes = np.sort(np.array(forms, dtype=np.int64))
    if (hashes[1:] == hashes[:-1]).any():
        jsonl.read(path, kind)  # says which; or two ids have one hash, and all is well
    return spool


def kept(records: Iterable[R], kind: type[R]) -> Spool[R]:
    """
    Keep *records* of *kind* in a file without a name, or in memory while they are few.

    The file lies where TMPDIR says. Raises RefusedError (74) where the disk is full.
    """
    file: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115
    spool = Spool(kind, file)
    for record in records:
        line = record.model_dump_json().encode("utf-8")
        spool._starts.append(spool._end)
        spool._end += len(line)
        with disk.scratch():
            file.write(line)
    return spool


class Index(Mapping[str, R]):
    """
    Records by a name of each, which need not be in memory.

    Records in the order of their names are found by it, and quickly when they are asked for in it;
    of others the hash of each name is in memory. Of several with one name the *first* is found, or
    the last, as in a dict.
    """

    def __init__(
        self, records: Sequence[R], name: Callable[[Any], str], *, first: bool = False
    ) -> None:
        """Index *records* by the *name* of each."""
        self.records = records
        self._name = name
        self._first = first
        self._ascending, self._twins = _ascending(map(name, records))
        self._hashes = self._order = np.zeros(0, dtype=np.int64)
        if not self._ascending:
            hashes = np.fromiter(map(hash, map(name, records)), dtype=np.int64, count=len(records))
            self._order = np.argsort(hashes, kind="stable")
            self._hashes = hashes[self._order]
        self._asked: str | None = None  # the name that was asked for last
        self._found: int | None = None  # and where it is
        self._next = 0  # the place of the first record whose name comes after it
        self._held: tuple[int, R] | None = None  # the record that was read last, and its place

    def __len__(self) -> int:
        """Count the names."""
        return len(self.records) if self._ascending and not self._twins else self._count

    def __iter__(self) -> Iterator[str]:
        """Return the names, in the order of their records."""
        names = map(self._name, self.records)
        if self._ascending:
            return (name for name, _ in groupby(names))
        return iter(dict.fromkeys(names))

    def __getitem__(self, name: str) -> R:
        """Return the record called *name*."""
        place = self._place(name) if self._ascending else self._hashed(name)
        if place is None:
            raise KeyError(name)
        return self._record(place)

    @cached_property
    def _count(self) -> int:
        return sum(1 for _ in self)

    def _place(self, name: str) -> int | None:
        """The place of *name* among ascending names: near the last one if asked for in order."""
        if name == self._asked:
            return self._found
        if self._asked is None or name < self._asked:
            self._next = self._search(name, 0, len(self.records))
        else:
            near = min(self._next + NEAR, len(self.records))
            while self._next < near and self._named(self._next) < name:
                self._next += 1
            if self._next == near:
                self._next = self._search(name, near, len(self.records))
        self._asked = name
        begin = self._next
        while self._next < len(self.records) and self._named(self._next) == name:
            self._next += 1
            if not self._twins:
                break
        last = self._next - 1
        self._found = None if begin > last else begin if self._first else last
        return self._found

    def _search(self, name: str, low: int, high: int) -> int:
        return bisect_left(range(len(self.records)), name, low, high, key=self._named)

    def _hashed(self, name: str) -> int | None:
        wanted = hash(name)
        low = int(np.searchsorted(self._hashes, wanted, side="left"))
        high = int(np.searchsorted(self._hashes, wanted, side="right"))
        places = [int(place) for place in self._order[low:high]]
        same = [place for place in places if self._named(place) == name]
        return None if not same else same[0] if self._first else same[-1]

    def _named(self, place: int) -> str:
        return self._name(self._record(place))

    def _record(self, place: int) -> R:
        if self._held is None or self._held[0] != place:
            self._held = place, self.records[place]
        return self._held[1]


def _ascending(names: Iterable[str]) -> tuple[bool, bool]:
    """Whether *names* are in order, and whether two neighbours among them are the same."""
    twins = False
    for before, after in pairwise(names):
        if after < before:
            return False, False
        twins = twins or after == before
    return True, twins


def in_order(records: Sequence[R]) -> Sequence[R]:
    """Return *records* in the order of their ids; those that are in it stay where they are."""
    ascending, _ = _ascending(record.id for record in records)
    return records if ascending else sorted(records, key=attrgetter("id"))


def named(
    records: Sequence[R], name: Callable[[Any], str], *, first: bool = False
) -> Mapping[str, R]:
    """Return *records* by the *name* of each: a dict of those in memory, else an `Index`."""
    if not isinstance(records, list):
        return Index(records, name, first=first)
    return {name(record): record for record in (reversed(records) if first else records)}


def by_id(records: Sequence[R]) -> Mapping[str, R]:
    """Return *records* by their id."""
    return named(records, attrgetter("id"))


def by_problem(records: Sequence[R], what: str) -> Mapping[str, R]:
    """Return *records* by their problem, refusing two for one problem."""
    index = named(records, attrgetter("problem"))
    if len(index) != len(records):
        raise RefusedError(f"{what}: {len(records) - len(index)} problems have more than one row")
    return index
