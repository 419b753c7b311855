"""A data set as files: its views as Parquet and JSONL, card and provenance, the manifest last."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from redistill.console import drafts
from redistill.console.exceptions import RefusedError
from redistill.records import json_file, jsonl, manifest

CARD = "README.md"
PROVENANCE = "provenance.json"
CHOICE = pa.struct([("label", pa.string()), ("text", pa.string())])
VERSION = pa.struct([("round", pa.string()), ("text", pa.string()), ("repeated", pa.bool_())])
TURN = pa.struct([("role", pa.string()), ("content", pa.string())])
# Every value is text, answers above all: a reader that guesses makes a date of "2020-01-01" and a
# float of a long integer. What is not known is "" or [], never null.
SCHEMAS: dict[str, pa.Schema] = {
    "records": pa.schema(
        [
            ("id", pa.string()),
            ("problem", pa.string()),
            ("question", pa.string()),
            ("choices", pa.list_(CHOICE)),
            ("answer", pa.string()),
            ("source", pa.string()),
            ("rationale", pa.string()),
            ("round", pa.string()),
            ("parent", pa.string()),
            ("teacher", pa.string()),
            ("status", pa.string()),
            ("reason", pa.string()),
            ("gaps", pa.list_(pa.string())),
            ("fingerprint", pa.string()),
            ("history", pa.list_(VERSION)),
            ("own", pa.list_(VERSION)),
        ]
    ),
    "sft": pa.schema([(name, pa.string()) for name in ("id", "prompt", "completion")]),
    "messages": pa.schema([("id", pa.string()), ("messages", pa.list_(TURN))]),
    "preference": pa.schema(
        [(name, pa.string()) for name in ("id", "prompt", "chosen", "rejected")]
    ),
    "privileged_context": pa.schema(
        [(name, pa.string()) for name in ("id", "prompt", "privileged_context")]
    ),
    "feedback": pa.schema(
        [(name, pa.string()) for name in ("id", "prompt", "privileged_context", "answer")]
    ),
}
GROUP = 10_000  # rows of Parquet that are written, and read, at once
PARQUET: dict[str, Any] = {  # said here, so that no default of another version changes a byte
    "version": "2.6",
    "data_page_version": "1.0",
    "compression": "zstd",
    "compression_level": 3,
    "use_dictionary": True,
}
SUFFIXES = (".parquet", ".jsonl")
FILES = {CARD, PROVENANCE, manifest.NAME, *(v + s for v in SCHEMAS for s in SUFFIXES)}


def write(
    folder: Path,
    rows: Iterable[tuple[str, Mapping[str, Any]]],
    tell: Callable[[], tuple[Mapping[str, Any], str]],
) -> None:
    """
    Write the data set to *folder*, its manifest last; equal rows give equal bytes.

    Each of *rows* comes with its view, and is written when it comes. What is told of them all,
    provenance and card, is asked for when they have come.
    A view without rows has no file: what loads data sets refuses an empty one. Raises RefusedError
    where *folder* holds a file that is not of a data set, since it would be pushed with it.
    """
    _check(folder)
    with drafts.folder(folder, whole=True) as draft:
        counts: Counter[str] = Counter()
        with ExitStack() as files:
            views: dict[str, _View] = {}
            for name, row in rows:
                if name not in views:
                    views[name] = files.enter_context(_view(draft, name))
                views[name].add(row)
                counts[name] += 1
        provenance, card = tell()
        json_file.write_json(draft / PROVENANCE, dict(provenance))
        json_file.write_text(draft / CARD, card)
        seal(draft, counts)


def seal(folder: Path, rows: Mapping[str, int]) -> None:
    """Write the manifest of *folder*: size and sha256 of each file, and the *rows* of each view."""
    manifest.write(folder)
    content = json.loads((folder / manifest.NAME).read_text(encoding="utf-8"))
    for name, entry in content["files"].items():
        if Path(name).suffix in SUFFIXES:
            entry["rows"] = rows[Path(name).stem]
    json_file.write_json(folder / manifest.NAME, content)


def _check(folder: Path) -> None:
    """Refuse a *folder* that holds anything else than an older data set."""
    for file in sorted(folder.iterdir()) if folder.is_dir() else ():
        if file.name not in FILES:
            raise RefusedError(f"{file}: no file of a data set; take it out of {folder}")


@dataclass
class _View:
    """A view while it is written: each row as a line at once, as Parquet in groups."""

    lines: Callable[[dict[str, Any]], object]
    table: pq.ParquetWriter
    schema: pa.Schema
    waiting: list[dict[str, Any]] = field(default_factory=list)

    def add(self, row: Mapping[str, Any]) -> None:
        """Write *row*."""
        self.lines(dict(row))
        self.waiting.append(dict(row))
        if len(self.waiting) == GROUP:
            self.flush()

    def flush(self) -> None:
        """Write the rows that wait as a group of their own."""
        if self.waiting:
            group = pa.Table.from_pylist(self.waiting, schema=self.schema)
            self.table.write_table(group, row_group_size=GROUP)
            self.waiting = []


@contextmanager
def _view(folder: Path, name: str) -> Iterator[_View]:
    """Open the files of a view; of Parquet there is no time in it and no name of a machine."""
    schema = SCHEMAS[name]
    with (
        jsonl.writing(folder / f"{name}.jsonl") as lines,
        drafts.file(folder / f"{name}.parquet") as draft,
        pq.ParquetWriter(draft, schema, **PARQUET) as table,
    ):
        view = _View(lines, table, schema)
        yield view
        view.flush()
