"""Where problems come from, apart from them: a source that is added later reruns no training."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from redistill.records import jsonl, spool
from redistill.records.lazy import Lazy
from redistill.records.types import Problem, Record

FILE = "sources.jsonl"  # beside the problems of the splits


class Source(Record):
    """Where the problem of an id comes from."""

    source: str


def write(path: Path, problems: Iterable[Problem]) -> None:
    """Write the sources of those of *problems* that have one to *path*, by their ids."""
    jsonl.write(path, (Source(id=p.id, source=p.source) for p in problems if p.source))


def without(problems: Iterable[Problem]) -> Iterator[Problem]:
    """Return *problems* without their sources, each in its turn."""
    return (p.model_copy(update={"source": ""}) if p.source else p for p in problems)


class Restored(Lazy[Problem]):
    """Problems, each with its source where it has one."""

    def __init__(self, problems: Sequence[Problem], sources: Mapping[str, Source]) -> None:
        """Give *problems* the *sources* of their ids."""
        self._problems, self._sources = problems, sources

    def __len__(self) -> int:
        """Count the problems."""
        return len(self._problems)

    def at(self, place: int) -> Problem:
        """Return the problem at *place*."""
        return self._restored(self._problems[place])

    def __iter__(self) -> Iterator[Problem]:
        """Return the problems in their order."""
        return map(self._restored, self._problems)

    def _restored(self, problem: Problem) -> Problem:
        found = self._sources.get(problem.id)
        return problem if found is None else problem.model_copy(update={"source": found.source})


def restored(problems: Sequence[Problem], folder: Path) -> Restored:
    """Return *problems* with the sources that *folder* has of them; it may have no file of any."""
    file = folder / FILE
    return Restored(problems, spool.by_id(spool.read(file, Source)) if file.is_file() else {})
