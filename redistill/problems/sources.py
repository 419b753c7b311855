"""Where problems come from, apart from them: a source that is added later reruns no training."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from redistill.records import jsonl
from redistill.records.types import Problem

FILE = "sources.jsonl"  # beside the problems of the splits


def write(path: Path, problems: Iterable[Problem]) -> None:
    """Write the sources of those of *problems* that have one to *path*, by their ids."""
    found = sorted((problem.id, problem.source) for problem in problems if problem.source)
    jsonl.write_rows(path, ({"id": identity, "source": source} for identity, source in found))


def without(problems: Iterable[Problem]) -> list[Problem]:
    """Return *problems* without their sources."""
    return [p.model_copy(update={"source": ""}) if p.source else p for p in problems]


def restored(problems: Sequence[Problem], folder: Path) -> list[Problem]:
    """Return *problems* with the sources that *folder* has of them; it may have no file of any."""
    file = folder / FILE
    rows = jsonl.read_rows(file, ("id", "source")) if file.is_file() else ()
    known = {row["id"]: row["source"] for row in rows}
    return [p.model_copy(update={"source": known[p.id]}) if p.id in known else p for p in problems]
