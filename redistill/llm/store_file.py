"""The file of a record store: its real name, its one writer, and how sqlite opens it."""

import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from redistill.console.exceptions import DATA, IO, TRY_AGAIN, RefusedError
from redistill.llm import store_schema


def real(file: Path) -> Path:
    """
    Resolve every symbolic link in the name *file*: the lock and sqlite's log lie beside the file.

    A relative name stays relative where what it stands for is below this folder.
    """
    found, here = Path(os.path.realpath(file)), Path(os.path.realpath("."))
    if not file.is_absolute() and found.is_relative_to(here):
        return found.relative_to(here)
    return found


def lock(file: Path) -> int:
    """
    Hold the store *file*, whose name is real, against a second writer, until the result is closed.

    Raises RefusedError: 75 where another process holds it, which is named; 65 where the file has a
    further name in a folder (a hard link), under which another process could write it unseen.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    held = os.open(f"{file}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        _hold(file, held)
        if file.exists() and (names := file.stat().st_nlink) > 1:
            raise RefusedError(
                f"{file}: has {names} names (hard links), and a store is written under one: cp "
                f"{file} {file}.own && mv {file}.own {file} makes it a file of its own; a symbolic "
                "link, or REDISTILL_STORE, shares a store",
                code=DATA,
            )
    except BaseException:
        os.close(held)
        raise
    return held


def holder(file: Path) -> str | None:
    """Say who is writing the store *file*, which need not have a real name; None where nobody."""
    lock_file = Path(f"{real(file)}.lock")
    if not lock_file.is_file():
        return None
    held = os.open(lock_file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(held, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.read(held, 200).decode("ascii", "replace").strip() or "another process"
    finally:
        os.close(held)
    return None


def _hold(file: Path, held: int) -> None:
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = os.read(held, 200).decode("ascii", "replace").strip() or "another process"
        raise RefusedError(
            f"{file}: is being written by {holder}; wait for it to end, or end it",
            code=TRY_AGAIN,
        ) from None
    os.ftruncate(held, 0)
    started = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
    os.pwrite(held, f"pid {os.getpid()}, started {started} UTC".encode("ascii"), 0)


def for_reading(file: Path) -> sqlite3.Connection:
    """
    Open the store *file* so that nothing in it changes; an empty one where there is none.

    One of an earlier schema is copied into a temporary database, and migrated there.
    """
    if not file.exists():
        connection = _configured(":memory:")
        store_schema.create(connection)
        return connection
    connection = _there(file)
    if store_schema.version(connection, file) < store_schema.VERSION:
        copy = _configured("")
        with _closing_on_failure(copy):
            connection.backup(copy)
            connection.close()
            store_schema.migrate(copy, file)
        connection = copy
    connection.execute("pragma query_only = on")
    return connection


def for_writing(file: Path) -> sqlite3.Connection:
    """
    Open the store *file*, which is locked: made where it is not there, migrated where it is old.

    A new one is whole before it has its name, so an empty file is never one of ours.
    """
    if not file.exists():
        _make(file)
    connection = _there(file)
    with _closing_on_failure(connection):
        if store_schema.version(connection, file) < store_schema.VERSION:
            store_schema.migrate(connection, file)
        connection.execute("pragma journal_mode = wal")
    return connection


def _there(file: Path) -> sqlite3.Connection:
    if not file.stat().st_size:
        raise RefusedError(
            f"{file}: is empty, 0 bytes, which no run leaves behind: what was paid for is not in "
            "it any more. Restore the file, or remove it and redistill store import an export, or "
            "name another with REDISTILL_STORE; remove it if nothing was ever paid for with it",
            code=DATA,
        )
    return _configured(f"file:{quote(os.path.abspath(file))}?mode=rw")


def _make(file: Path) -> None:
    """Make an empty store, without a log that could fail to come into it when it is closed."""
    draft = file.with_name(f".{file.name}.new")
    for rest in ("", "-wal", "-shm", "-journal"):
        draft.with_name(draft.name + rest).unlink(missing_ok=True)
    os.close(os.open(draft, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    connection = _configured(str(draft))
    try:
        store_schema.create(connection)
    finally:
        connection.close()
    draft.replace(file)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _configured(name: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        name, timeout=30, isolation_level=None, check_same_thread=False, uri=True
    )
    with _closing_on_failure(connection):
        connection.execute("pragma synchronous = full")
        connection.execute("pragma cell_size_check = on")
    return connection


@contextmanager
def _closing_on_failure(connection: sqlite3.Connection) -> Iterator[None]:
    try:
        yield
    except BaseException:
        connection.close()
        raise


@contextmanager
def told(file: Path) -> Iterator[None]:
    """Turn what sqlite says of a full disk or a damaged file into one clear refusal."""
    try:
        yield
    except (sqlite3.OperationalError, OSError) as problem:
        raise RefusedError(
            f"{file}: cannot be written or read: {problem}; nothing more is asked. Mend that, then "
            "run dvc repro: what was answered is stored",
            code=IO,
        ) from problem
    except (sqlite3.DatabaseError, UnicodeDecodeError) as problem:
        raise RefusedError(
            f"{file}: damaged, or not a record store: {problem}; restore it, or move it away and "
            "import an export",
            code=DATA,
        ) from problem
