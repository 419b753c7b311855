"""Adding the attempts of an export to a store: all of them are held to account, or none is in."""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from redistill.console.exceptions import RefusedError
from redistill.llm import attempt_row, batch_row, exported_row
from redistill.llm.exported_row import Imported
from redistill.llm.response import FINAL
from redistill.llm.store import Writer
from redistill.llm.store_reader import marks

COLUMNS = (*attempt_row.COLUMNS, "overrun")
MOST = 2**62  # what tokens or money of all attempts may come to; sqlite adds up to 2**63


@dataclass(frozen=True)
class Merged:
    """How many attempts were *added*, and how many left out because they were *under_way*."""

    added: int
    under_way: int


def merge(writer: Writer, rows: Iterable[dict[str, Any]]) -> Merged:
    """
    Add exported attempts that are not here yet: those that have ended or wait in a batch.

    One that waits here and has ended there has ended; one of a batch that is at work there and
    has ended here is left alone. Raises RefusedError for a row that no store of ours has written,
    or that contradicts another, and adds none then.
    """
    added = under_way = 0
    numbers: dict[str, int] = {}
    with writer.transaction() as connection:
        for number, content in enumerate(rows, 1):
            row = exported_row.read(number, content)
            if (twin := numbers.setdefault(row.uid, number)) != number:
                raise _refused(number, f"uid: row {twin} has the same")
            if row.under_way:
                under_way += 1
            else:
                added += _merged(connection, number, row)
        _check_sums(connection)
    return Merged(added, under_way)


def _merged(connection: sqlite3.Connection, number: int, row: Imported) -> bool:
    """Add one attempt with its batch; returns whether it was not here, or has ended now."""
    if row.batch and not _joined(connection, number, row, row.batch):
        return False
    found = connection.execute(
        "select key, state from attempts where uid = ?", (row.uid,)
    ).fetchone()
    if found and found[0] != row.columns["key"]:
        raise _refused(number, "uid: is that of an attempt at another request, which is here")
    connection.execute(
        "insert or ignore into requests values (?, ?)", (row.columns["key"], row.request)
    )
    if found is None:
        _insert(connection, row)
    elif found[1] != "batched" or row.columns["state"] != "done":
        return False
    else:
        _end(connection, row)
    if row.line:
        connection.execute(
            "insert or ignore into lines select id, ? from attempts where uid = ?",
            (row.line, row.uid),
        )
    return True


def _joined(connection: sqlite3.Connection, number: int, row: Imported, batch: list[Any]) -> bool:
    """Add the batch of an attempt; whether the attempt is to follow."""
    names = ", ".join(batch_row.COLUMNS)
    connection.execute(f"insert or ignore into batches ({names}) values ({marks(batch)})", batch)
    whose = ("kind", "endpoint", "stage", "round")
    found = connection.execute(
        f"select state, {', '.join(whose)} from batches where token = ?", batch[:1]
    ).fetchone()
    told = dict(zip(batch_row.COLUMNS, batch, strict=True))
    for name, known in zip(whose, found[1:], strict=True):
        if told[name] != known:
            raise _refused(number, f"batch.{name}: the batch is here, with {known!r}")
    return row.columns["state"] != "batched" or found[0] in batch_row.AT_WORK


def _insert(connection: sqlite3.Connection, row: Imported) -> None:
    values = [row.columns[name] for name in COLUMNS]
    connection.execute(
        f"insert into attempts ({', '.join(COLUMNS)}) values ({marks(COLUMNS)})", values
    )
    if row.batch:
        connection.execute(
            "insert into batched select id, ? from attempts where uid = ?", (row.batch[0], row.uid)
        )


def _end(connection: sqlite3.Connection, row: Imported) -> None:
    """
    End the attempt that waits here as it has ended there.

    Only an answer says what it has cost: without one the attempt stays counted at what is reserved.
    """
    kept = {"uid", "key"}
    if row.columns["outcome"] not in FINAL:
        kept |= {"prompt_tokens", "completion_tokens", "nano"}
    changed = [name for name in COLUMNS if name not in kept]
    connection.execute(
        f"update attempts set {', '.join(f'{name} = ?' for name in changed)} where uid = ?",
        [*(row.columns[name] for name in changed), row.uid],
    )


def _check_sums(connection: sqlite3.Connection) -> None:
    """Refuse more than can be added up: a budget that cannot be read is none."""
    tokens, nano = connection.execute(
        "select total(prompt_tokens + completion_tokens), total(nano) from attempts"
    ).fetchone()
    if max(tokens, nano) > MOST:
        raise RefusedError(
            "the export: not of a store: its tokens or its money are more than can be added up; "
            "nothing is imported"
        )


def _refused(number: int, fault: str) -> RefusedError:
    return RefusedError(f"row {number} of the export: not of a store: {fault}; nothing is imported")
