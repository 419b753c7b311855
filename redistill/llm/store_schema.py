"""The tables of a record store, their version, and how an earlier one becomes today's."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from redistill.console.exceptions import DATA, RefusedError
from redistill.llm import attempt_row, batch_row, response
from redistill.llm.budget import overrun
from redistill.llm.request import of_canonical
from redistill.llm.response import FINAL

VERSION = 1  # `pragma user_version`; stores from before it was set have 0
ATTEMPTS = """
create table if not exists attempts (
  id integer primary key, uid text not null unique, key text not null,
  stage text not null, round text not null, problem text not null, model text not null,
  started real not null, state text not null, outcome text, status integer, detail text,
  finish_reason text, returned_model text, body blob, checksum text,
  prompt_tokens integer not null, completion_tokens integer not null, nano integer,
  measured integer not null default 0, seconds real, retired integer not null default 0
)"""
LATER = (  # what the first stores did not have; those of version 0 have some of it
    """
create table if not exists batches (
  token text primary key, kind text not null, endpoint text not null, stage text not null,
  round text not null, since real not null, state text not null, file text, remote text,
  input real, output real
)""",
    "create table if not exists batched (attempt integer primary key, batch text not null)",
    "create index if not exists batched_by_batch on batched (batch)",
    "create table if not exists lines (attempt integer primary key, identity text not null)",
)
OVERRUN = (  # tokens billed beyond what could be foreseen, found without a look at the bodies
    "alter table attempts add column overrun integer not null default 0",
    "create index attempts_by_overrun on attempts (model, overrun) where overrun > 0",
)
UNPRICED = (  # an import took any price: one below nothing made room in a budget of money
    "update attempts set nano = null where typeof(nano) not in ('integer', 'null') or nano < 0"
)
FIRST = (
    "create table if not exists requests (key text primary key, request text not null)",
    ATTEMPTS,
    "create index if not exists attempts_by_key on attempts (key)",
)
COLUMNS = {  # a file that has not these is no store
    "requests": {"key", "request"},
    "attempts": {"id", *attempt_row.COLUMNS},
}
ADDED = {  # by version 1
    "attempts": COLUMNS["attempts"] | {"overrun"},
    "batches": set(batch_row.COLUMNS),
    "batched": {"attempt", "batch"},
    "lines": {"attempt", "identity"},
}


def create(connection: sqlite3.Connection) -> None:
    """Lay out an empty store of today's version."""
    with _whole(connection):
        for statement in (*FIRST, *LATER, *OVERRUN):
            connection.execute(statement)
        connection.execute(f"pragma user_version = {VERSION}")


def version(connection: sqlite3.Connection, file: Path) -> int:
    """
    Read the version of the schema in *file*, at most today's.

    Raises RefusedError (65) for a store of a later version, and for a file that is none.
    """
    found = int(connection.execute("pragma user_version").fetchone()[0])
    has = {table: _columns(connection, table) for table in {**COLUMNS, **ADDED}}
    if found > VERSION and has["attempts"]:
        raise RefusedError(
            f"{file}: has schema {found}, of a later version of redistill, and this one knows "
            f"{VERSION}; install that version, or name another store with REDISTILL_STORE",
            code=DATA,
        )
    wanted = COLUMNS | ADDED if found == VERSION else COLUMNS
    if found == 0 and not connection.execute("select 1 from sqlite_master").fetchone():
        return 0  # a run was ended before it had laid out its tables
    for table, columns in wanted.items():
        if missing := sorted(columns - has[table]):
            raise RefusedError(
                f"{file}: damaged, or not a record store: its table {table} has no {missing[0]}; "
                "restore it, or name another file with REDISTILL_STORE",
                code=DATA,
            )
    return found


def migrate(connection: sqlite3.Connection, file: Path) -> None:
    """
    Bring a store of version 0 to today's, all of it or nothing.

    Answers are read once, for the tokens that were billed beyond what could be foreseen. A price
    that is none becomes unknown. Raises RefusedError (65) as `version` does.
    """
    with _whole(connection):
        if version(connection, file) == VERSION:
            return
        if "made" in _columns(connection, "batches"):  # its first name
            connection.execute("alter table batches rename column made to since")
        for statement in (*FIRST, *LATER, *OVERRUN):
            connection.execute(statement)
        _note_overrun(connection)
        connection.execute(UNPRICED)
        connection.execute(f"pragma user_version = {VERSION}")


def _note_overrun(connection: sqlite3.Connection) -> None:
    rows = connection.execute(
        "select a.id, a.key, a.outcome, a.status, a.body, a.checksum, r.request from attempts a "
        "join requests r using (key) where a.state = 'done' "
        f"and a.outcome in ({', '.join('?' * len(FINAL))}) and typeof(a.body) = 'blob'",
        FINAL,
    )
    found: list[tuple[int, int]] = []
    for number, key, outcome, status, body, checksum, text in rows:
        if attempt_row.checksum(key, outcome, status, body) != checksum:
            continue  # redistill verify names it
        read = response.read(status, body)
        billed = read.prompt_tokens or 0, read.completion_tokens or read.total_tokens or 0
        if tokens := overrun(of_canonical(text), *billed):
            found.append((tokens, number))
    connection.executemany("update attempts set overrun = ? where id = ?", found)


def _columns(connection: sqlite3.Connection, table: str) -> set[str]:
    return {str(row[1]) for row in connection.execute(f"pragma table_info({table})")}


@contextmanager
def _whole(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("begin immediate")
    try:
        yield
        connection.execute("commit")
    except BaseException:
        if connection.in_transaction:
            connection.execute("rollback")
        raise
