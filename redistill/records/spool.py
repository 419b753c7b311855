"""Records that stay in their file: read when they are asked for, so that a million take no room."""

import tempfile
import unicodedata
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import IO, Any, TypeVar, overload

import numpy as np
import numpy.typing as npt

from redistill.console.disk import refusal
from redistill.console.exceptions import RefusedError
from redistill.records import jsonl
from redistill.records.types import Record

R = TypeVar("R", bound=Record)
IN_MEMORY = 16 * 1024 * 1024  # bytes of records that are kept before a file is made for them


class Spool(Sequence[R]):
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

    @overload
    def __getitem__(self, place: int) -> R: ...
    @overload
    def __getitem__(self, place: slice) -> list[R]: ...
    def __getitem__(self, place: int | slice) -> R | list[R]:
        """Read the record at *place*, or those of a slice."""
        if isinstance(place, slice):
            return [self[number] for number in range(*place.indices(len(self)))]
        start = self._starts[place]
        place %= len(self)
        end = self._starts[place + 1] if place + 1 < len(self) else self._end
        if self._file.tell() != start:
            self._file.seek(start)
        return self._kind.model_validate_json(self._file.read(end - start))

    def __iter__(self) -> Iterator[R]:
        """Read the records in their order."""
        return (self[place] for place in range(len(self)))


def read(path: Path, kind: type[R]) -> Spool[R]:
    """
    Check every record of *kind* in *path* as `jsonl.read` does, and leave them there.

    The file may not change while the records are in use.
    """
    file = path.open("rb") if path.is_file() else None
    if file is None:
        jsonl.read(path, kind)
        raise AssertionError("what is no file is refused")
    spool = Spool(kind, file)
    forms = array("q")
    for start, end, record in jsonl.placed(path, kind):
        spool._starts.append(start)
        spool._end = end
        forms.append(hash(unicodedata.normalize("NFC", record.id)))
    if _twins(forms):
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
        try:
            file.write(line)
        except OSError as problem:
            raise refusal(problem, Path(tempfile.gettempdir())) or problem from problem
    return spool


class Joined(Sequence[R]):
    """Sequences one after the other, as one."""

    def __init__(self, *parts: Sequence[R]) -> None:
        """Join *parts*, in this order."""
        self._parts = parts

    def __len__(self) -> int:
        """Count the records of all parts."""
        return sum(len(part) for part in self._parts)

    @overload
    def __getitem__(self, place: int) -> R: ...
    @overload
    def __getitem__(self, place: slice) -> list[R]: ...
    def __getitem__(self, place: int | slice) -> R | list[R]:
        """Return the record at *place*, or those of a slice."""
        if isinstance(place, slice):
            return [self[number] for number in range(*place.indices(len(self)))]
        left = range(len(self))[place]
        for part in self._parts:
            if left < len(part):
                return part[left]
            left -= len(part)
        raise IndexError(place)

    def __iter__(self) -> Iterator[R]:
        """Return the records of the first part, then those of the next."""
        return chain(*self._parts)


class Index(Mapping[str, R]):
    """
    Records by a name of each, which need not be in memory.

    Of each record only the hash of its name is, 16 bytes in all. Of two with one name the later is
    found, as in a dict.
    """

    def __init__(self, records: Sequence[R], name: Callable[[Any], str]) -> None:
        """Index *records* by the *name* of each."""
        self._records = records
        self._name = name
        hashes = np.fromiter((hash(name(r)) for r in records), dtype=np.int64, count=len(records))
        self._order: npt.NDArray[np.int64] = np.argsort(hashes, kind="stable")
        self._hashes: npt.NDArray[np.int64] = hashes[self._order]
        self._next = 0  # the place after the one that was found last: records are asked for in turn
        self._twins = _twins(self._hashes)
        self._count = len({name(r) for r in records}) if self._twins else len(records)

    def __len__(self) -> int:
        """Count the names."""
        return self._count

    def __iter__(self) -> Iterator[str]:
        """Return the names, in the order of their records."""
        names = (self._name(record) for record in self._records)
        return iter(dict.fromkeys(names)) if self._twins else names

    def __getitem__(self, name: str) -> R:
        """Return the record called *name*."""
        if not self._twins and self._next < len(self._records):
            record = self._records[self._next]
            if self._name(record) == name:
                self._next += 1
                return record
        wanted = hash(name)
        place = int(np.searchsorted(self._hashes, wanted, side="right"))
        while place and self._hashes[place - 1] == wanted:
            place -= 1
            found = int(self._order[place])
            if self._name(record := self._records[found]) == name:
                self._next = found + 1
                return record
        raise KeyError(name)


def in_order(records: Sequence[R]) -> Sequence[R]:
    """Return *records* in the order of their ids; those that are in it stay where they are."""
    last = ""
    for record in records:
        if record.id < last:
            return sorted(records, key=attrgetter("id"))
        last = record.id
    return records


def by_id(records: Sequence[R]) -> Index[R]:
    """Index *records* by their id."""
    return Index(records, attrgetter("id"))


def by_problem(records: Sequence[R], what: str) -> Index[R]:
    """Index *records* by their problem, refusing two for one problem."""
    index = Index(records, attrgetter("problem"))
    if len(index) != len(records):
        raise RefusedError(f"{what}: {len(records) - len(index)} problems have more than one row")
    return index


def _twins(hashes: "npt.ArrayLike | array[int]") -> bool:
    """Whether two of *hashes* are the same."""
    found = np.sort(np.asarray(hashes, dtype=np.int64))
    return bool((found[1:] == found[:-1]).any())
