"""A data set as files: its views as Parquet and JSONL, card and provenance, the manifest last."""

import json
from collections.abc import Mapping, Sequence
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
}
SUFFIXES = (".parquet", ".jsonl")
FILES = {CARD, PROVENANCE, manifest.NAME, *(v + s for v in SCHEMAS for s in SUFFIXES)}


def write(
    folder: Path,
    views: Mapping[str, Sequence[Mapping[str, Any]]],
    provenance: Mapping[str, Any],
    card: str,
) -> None:
    """
    Write the data set to *folder*, its manifest last; equal rows give equal bytes.

    A view without rows has no file: what loads data sets refuses an empty one. Raises RefusedError
    where *folder* holds a file that is not of a data set, since it would be pushed with it.
    """
    _check(folder)
    with drafts.folder(folder, whole=True) as draft:
        for view, rows in views.items():
            if rows:
                jsonl.write_rows(draft / f"{view}.jsonl", (dict(row) for row in rows))
                _write_parquet(draft / f"{view}.parquet", rows, SCHEMAS[view])
        json_file.write_json(draft / PROVENANCE, dict(provenance))
        json_file.write_text(draft / CARD, card)
        seal(draft, {view: len(rows) for view, rows in views.items()})


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


def _write_parquet(path: Path, rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> None:
    """Write *rows* as Parquet: no time, no name of a machine, settings that no default changes."""
    table = pa.Table.from_pylist([dict(row) for row in rows], schema=schema)
    with drafts.file(path) as draft:
        pq.write_table(
            table,
            draft,
            version="2.6",
            data_page_version="1.0",
            compression="zstd",
            compression_level=3,
            use_dictionary=True,
            row_group_size=10_000,
        )
