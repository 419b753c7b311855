"""JSONL files too large for the memory, sorted by problem on disk."""

import sqlite3
from contextlib import closing
from pathlib import Path

from redistill.console.exceptions import RefusedError
from redistill.records.jsonl import each
from redistill.records.types import Prediction, Rationale


def by_problem(
    source: Path, target: Path, kind: type[Rationale] | type[Prediction], *, name: str
) -> None:
    """
    Write the records of *source* to *target*, sorted by problem; *name* is what refusals call it.

    SQLite keeps them in a file of its own beside *target* and a few MB of memory. Raises
    RefusedError for a malformed line, or a problem that has two.
    """
    file = target.with_suffix(".sqlite")
    with closing(sqlite3.connect(file, isolation_level=None)) as table:
        table.execute("pragma synchronous = off")
        table.execute("pragma journal_mode = off")
        table.execute("create table lines (problem text primary key, line text) without rowid")
        table.execute("begin")
        for number, row in each(source, kind, name):
            try:
                table.execute(
                    "insert into lines values (?, ?)", (row.problem, row.model_dump_json())
                )
            except sqlite3.IntegrityError as twin:
                raise RefusedError(
                    f'{name}:{number}: field "problem": a line before it has {row.problem!r} too'
                ) from twin
        with target.open("w", encoding="utf-8", newline="\n") as out:
            out.writelines(
                f"{line}\n" for (line,) in table.execute("select line from lines order by problem")
            )
    file.unlink()
