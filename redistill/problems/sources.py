"""Where problems come from, apart from them: a source that is added later reruns no training."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from redistill.records import jsonl, spool
from redistill.records.lazy import Changed
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


def restored(problems: Sequence[Problem], folder: Path) -> Sequence[Problem]:
    """Return *problems* with the sources that *folder* has of them; it may have no file of any."""
    file = folder / FILE
    if not file.is_file():
        return problems
    sources = spool.by_id(spool.read(file, Source))

    def sourced(problem: Problem) -> Problem:
        found = sources.get(problem.id)
        return problem if found is None else problem.model_copy(update={"source": found.source})

    return Changed(problems, sourced)
