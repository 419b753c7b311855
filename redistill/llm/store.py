"""The record store: every request to a teacher and what came back, on disk before it counts."""

import fcntl
import os
import shutil
import sqlite3
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redistill.console.exceptions import DATA, IO, TRY_AGAIN, RefusedError
from redistill.llm import attempt_row, batch_row
from redistill.llm.budget import Amount, Prices, batch_prices
from redistill.llm.request import Request, key_of, of_canonical
from redistill.llm.response import FINAL, MAYBE_BILLED, STANDING

PATH = Path(".redistill/store.sqlite")
VARIABLE = "REDISTILL_STORE"  # names another file
MIN_FREE = 32 * 1024 * 1024  # bytes that must be free before anything is asked
CHUNK = 500
SCHEMA = """
create table if not exists requests (key text primary key, request text not null);
create table if not exists attempts (
  id integer primary key, uid text not null unique, key text not null,
  stage text not null, round text not null, problem text not null, model text not null,
  started real not null, state text not null, outcome text, status integer, detail text,
  finish_reason text, returned_model text, body blob, checksum text,
  prompt_tokens integer not null, completion_tokens integer not null, nano integer,
  measured integer not null default 0, seconds real, retired integer not null default 0
);
create index if not exists attempts_by_key on attempts (key);
create table if not exists batches (
  token text primary key, kind text not null, endpoint text not null, stage text not null,
  round text not null, since real not null, state text not null, file text, remote text,
  input real, output real
);
create table if not exists batched (attempt integer primary key, batch text not null);
create index if not exists batched_by_batch on batched (batch);
create table if not exists lines (attempt integer primary key, identity text not null);
"""
COLUMNS, EXPORTED = attempt_row.COLUMNS, attempt_row.EXPORTED
SELECTABLE = (
    "finish_reason", "outcome", "stage", "round", "model", "returned_model", "problem", "key",
)  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """A stored response: its HTTP status, its raw body, and the model that the server named."""

    key: str
    status: int
    body: bytes


@dataclass(frozen=True)
class Intent:
    """A call that is about to be made: for whom, and the most that it can cost."""

    key: str
    request: str
    stage: str
    round: str
    problem: str
    model: str
    prompt_tokens: int
    completion_tokens: int
    nano: int | None


@dataclass(frozen=True)
class Result:
    """How the attempt *id* ended; tokens and money are what the budget is to count for it."""

    id: int
    key: str
    outcome: str
    status: int
    body: bytes
    detail: str
    finish_reason: str | None
    returned_model: str | None
    prompt_tokens: int
    completion_tokens: int
    nano: int | None
    measured: bool
    seconds: float

    @property
    def amount(self) -> Amount:
        """What the attempt is counted at."""
        return Amount(1, self.prompt_tokens + self.completion_tokens, self.nano)


def path() -> Path:
    """Find the store: the file that REDISTILL_STORE names, else `.redistill/store.sqlite`."""
    return Path(os.environ.get(VARIABLE) or PATH)


class Store:
    """
    A store opened for reading; `writing` opens it for writing.

    What it hands out was written whole: each body is held against its checksum. Raises
    RefusedError (65) for a file that is damaged or no store.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        with _told(file):
            self.connection = _connect(file)

    def close(self) -> None:
        """Let go of the file."""
        self.connection.close()

    def answers(self, keys: Iterable[str]) -> dict[str, Answer]:
        """Read the stored answers to those of the requests *keys* that have one."""
        wanted = list(dict.fromkeys(keys))
        found: dict[str, Answer] = {}
        for start in range(0, len(wanted), CHUNK):
            part = wanted[start : start + CHUNK]
            rows = self.rows(
                "select id, key, status, outcome, body, checksum from attempts "
                f"where key in ({_marks(part)}) and state = 'done' and retired = 0 "
                f"and outcome in ({_marks(FINAL)}) order by id",
                [*part, *FINAL],
            )
            for number, key, status, outcome, body, checksum in rows:
                right = isinstance(body, bytes) and attempt_row.checksum(key, outcome, status, body)
                if right != checksum:
                    raise RefusedError(
                        f"{self.file}: attempt {number}: its body is not what was written; "
                        f"restore the file, or have it asked again with "
                        f"redistill retry --where key={key}"
                    )
                found.setdefault(key, Answer(key, status, body))
        return found

    def of_problems(self, round: str) -> list[tuple[str, str, Answer]]:
        """Read problem, model and answer of every call that was made for *round*, in order."""
        rows = self.rows(
            "select problem, model, key from attempts where round = ? "
            f"and state = 'done' and retired = 0 and outcome in ({_marks(FINAL)}) "
            "order by id",
            [round, *FINAL],
        )
        stored = self.answers(key for _, _, key in rows)
        return [(problem, model, stored[key]) for problem, model, key in rows]

    def bodies(self, model: str) -> Iterator[bytes]:
        """Read the raw bodies of all final answers of *model*, also of those that were retired."""
        rows = self._each(
            "select body from attempts where model = ? and state = 'done' "
            f"and outcome in ({_marks(FINAL)}) and typeof(body) = 'blob'",
            [model, *FINAL],
        )
        return (body for (body,) in rows)

    def committed(self) -> Amount:
        """Add up what all attempts together have spent or reserved."""
        row = self.rows(
            "select count(*), coalesce(sum(prompt_tokens + completion_tokens), 0), "
            "coalesce(sum(nano), 0), coalesce(sum(nano is null), 0) from attempts",
            [],
        )[0]
        return Amount(row[0], row[1], None if row[3] else row[2])

    def ledger(self) -> list[dict[str, Any]]:
        """
        Count the attempts by stage, round, model and outcome, with tokens and money.

        None is an unknown amount, *batched* how many of the calls went by batch.
        """
        rows = self.rows(
            "select stage, round, model, "
            "coalesce(outcome, case state when 'batched' then 'in_batch' else 'open' end), "
            "count(*), sum(prompt_tokens), sum(completion_tokens), sum(nano), sum(nano is null), "
            "sum(measured), count(b.attempt) from attempts a left join batched b "
            "on b.attempt = a.id group by 1, 2, 3, 4 order by 1, 2, 3, 4",
            [],
        )
        return [
            {
                "stage": row[0],
                "round": row[1],
                "model": row[2],
                "outcome": row[3],
                "calls": row[4],
                "prompt_tokens": row[5],
                "completion_tokens": row[6],
                "nano": None if row[8] else row[7],
                "measured": row[9],
                "batched": row[10],
            }
            for row in rows
        ]

    def export(self) -> Iterator[dict[str, Any]]:
        """
        Read every attempt with its request, sorted by key and time, as JSON objects.

        One that was put into a batch has that *batch* with it, and the identity of its *line*.
        """
        rows = self.rows(
            f"select {', '.join('a.' + c for c in COLUMNS)}, r.request, l.identity, "
            f"{', '.join('b.' + c for c in batch_row.COLUMNS)} from attempts a "
            "join requests r using (key) left join lines l on l.attempt = a.id "
            "left join batched i on i.attempt = a.id left join batches b on b.token = i.batch "
            "order by a.key, a.started, a.uid",
            [],
        )
        own = (*COLUMNS, "request", "line")
        for row in rows:
            content = dict(zip(own, row[: len(own)], strict=True))
            content["body"], content["encoding"] = attempt_row.as_text(content["body"])
            yield content | {"batch": batch_row.written(row[len(own) :])}

    def damaged(self) -> Iterator[str]:
        """
        Find what in the file is not what was written: pages, requests, and bodies of final answers.

        A row has no hash over its other columns (times, counts, names).
        """
        for (fault,) in self.rows("pragma integrity_check", []):
            if fault != "ok":
                yield str(fault).replace("\n", " ")
        for key, text in self._each("select key, request from requests order by key", []):
            if not isinstance(text, str) or key_of(text) != key:
                yield f"request {key!r}: its text is not what was written"
        rows = self._each(
            "select id, key, outcome, status, body, checksum from attempts "
            f"where state = 'done' and outcome in ({_marks(FINAL)}) order by id",
            FINAL,
        )
        for number, key, outcome, status, body, checksum in rows:
            right = isinstance(body, bytes) and attempt_row.checksum(key, outcome, status, body)
            if right != checksum:
                yield f"attempt {number}: its body is not what was written"

    def select(self, where: dict[str, str]) -> list[tuple[int, str, str, str]]:
        """Find id, stage, round and key of the answers that match *where* and count at present."""
        unknown = [name for name in where if name not in SELECTABLE]
        if unknown or not where:
            raise RefusedError(
                f"--where: {unknown[0] if unknown else 'nothing'}: "
                f"known are {', '.join(SELECTABLE)}",
                code=2,
            )
        conditions = " and ".join(f"{name} = ?" for name in where)
        return self.rows(
            "select id, stage, round, key from attempts where state = 'done' and retired = 0 "
            f"and (outcome in ({_marks(FINAL)}) or (outcome in ({_marks(STANDING)}) "
            f"and id in (select attempt from batched))) and {conditions} order by id",
            [*FINAL, *STANDING, *where.values()],
        )

    def _each(self, statement: str, values: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
        with _told(self.file):
            yield from self.connection.execute(statement, values)

    def rows(self, statement: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        """Read the rows that *statement* selects; raises RefusedError as opening the file does."""
        with _told(self.file):
            return self.connection.execute(statement, values).fetchall()


class Writer(Store):
    """
    The one writer of a store.

    Attempts that a run before left open may have been billed: they become ``lost`` and stay
    counted at their reservation. Raises RefusedError: 75 where another process holds the store,
    74 where the disk has too little room.
    """

    def __init__(self, file: Path) -> None:
        with _told(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(file)
        try:
            free = shutil.disk_usage(file.parent).free
            if free < MIN_FREE:
                raise RefusedError(
                    f"{file}: {free} bytes are free and {MIN_FREE} are needed before anything "
                    "is asked and paid for; make room, then run dvc repro",
                    code=IO,
                )
            with _told(file):
                os.close(os.open(file, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
            super().__init__(file)
            with self.transaction() as connection:
                connection.execute(
                    "update attempts set state = 'done', outcome = 'lost', "
                    "detail = 'the run ended before an answer came' where state = 'open'"
                )
        except BaseException:
            os.close(self._lock)
            raise

    def close(self) -> None:
        """Let go of the file and the lock."""
        super().close()
        os.close(self._lock)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Open a transaction that is on disk when the block ends, or has no effect at all."""
        with _told(self.file):
            self.connection.execute("begin immediate")
            try:
                yield self.connection
                self.connection.execute("commit")
            except BaseException:
                if self.connection.in_transaction:
                    self.connection.execute("rollback")
                raise

    def intend(
        self, connection: sqlite3.Connection, intent: Intent, batch: str | None = None
    ) -> int:
        """
        Note a call that is about to be made, and return the number of the attempt.

        One in the batch of the token *batch* stays open, whatever becomes of this run.
        """
        connection.execute(
            "insert or ignore into requests values (?, ?)", (intent.key, intent.request)
        )
        cursor = connection.execute(
            "insert into attempts (uid, key, stage, round, problem, model, started, state, "
            "prompt_tokens, completion_tokens, nano) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                uuid.uuid4().hex, intent.key, intent.stage, intent.round, intent.problem,
                intent.model, time.time(), "batched" if batch else "open", intent.prompt_tokens,
                intent.completion_tokens, intent.nano,
            ),
        )  # fmt: skip
        number = int(cursor.lastrowid or 0)
        if batch:
            connection.execute("insert into batched values (?, ?)", (number, batch))
        return number

    def receive(
        self, connection: sqlite3.Connection, number: int, status: int, body: bytes
    ) -> None:
        """Note the raw answer to the attempt *number*, before anyone has read it."""
        connection.execute(
            "update attempts set state = 'received', status = ?, body = ? where id = ?",
            (status, body, number),
        )

    def received(self) -> list[tuple[int, Request, int, bytes]]:
        """Read number, request, status and body of attempts that were answered, but not read."""
        rows = self.rows(
            "select a.id, r.request, a.problem, a.status, a.body from attempts a "
            "join requests r using (key) where a.state = 'received' order by a.id",
            [],
        )
        return [
            (number, of_canonical(request, problem), status, body)
            for number, request, problem, status, body in rows
        ]

    def settle(self, connection: sqlite3.Connection, result: Result) -> None:
        """Note how an attempt ended, with the raw body as it came."""
        connection.execute(
            "update attempts set state = 'done', outcome = ?, checksum = ?, detail = ?, "
            "finish_reason = ?, returned_model = ?, prompt_tokens = ?, "
            "completion_tokens = ?, nano = ?, measured = ?, seconds = ? where id = ?",
            (
                result.outcome,
                attempt_row.checksum(result.key, result.outcome, result.status, result.body),
                result.detail, result.finish_reason, result.returned_model, result.prompt_tokens,
                result.completion_tokens, result.nano, int(result.measured),
                round(result.seconds, 3), result.id,
            ),
        )  # fmt: skip

    def priced(self, model: str, prices: Prices) -> None:
        """Give the attempts of *model* whose price was unknown the price that is known now."""
        for own, which in ((prices, "not in"), (batch_prices(prices), "in")):
            if own.input is None or own.output is None:
                continue
            with self.transaction() as connection:
                connection.execute(
                    "update attempts set nano = cast("
                    "1000 * (prompt_tokens * ? + completion_tokens * ?) + 1 as integer) "
                    f"where nano is null and model = ? and id {which} "
                    "(select attempt from batched)",
                    (own.input, own.output, model),
                )

    def retire(self, where: dict[str, str]) -> list[tuple[int, str, str, str]]:
        """Let the answers that match *where* count no longer, so that they are asked again."""
        chosen = self.select(where)
        with self.transaction() as connection:
            connection.executemany(
                "update attempts set retired = 1 where id = ?", [(row[0],) for row in chosen]
            )
        return chosen

    def reconcile(self) -> int:
        """Release what attempts without an answer have reserved; returns how many there were."""
        with self.transaction() as connection:
            cursor = connection.execute(
                "update attempts set prompt_tokens = 0, completion_tokens = 0, nano = 0 "
                f"where measured = 0 and outcome in ({_marks(MAYBE_BILLED)})",
                MAYBE_BILLED,
            )
        return int(cursor.rowcount)

    def merge(self, rows: Iterable[dict[str, Any]]) -> tuple[int, int]:
        """
        Add exported attempts that are not here yet: those that have ended or wait in a batch.

        One that waits here and has ended there has ended; one of a batch that is at work there and
        has ended here is left alone. Returns how many were added, and how many left out because
        they were under way. Raises RefusedError for one that no store of ours has written, and adds
        none then.
        """
        added = under_way = 0
        with self.transaction() as connection:
            for number, row in enumerate(rows, 1):
                if row["state"] != "done" and (row["state"] != "batched" or not row["batch"]):
                    under_way += 1
                    continue
                values, batch = attempt_row.imported(number, row)
                added += self._merged(connection, row, values, batch)
        return added, under_way

    def _merged(
        self,
        connection: sqlite3.Connection,
        row: dict[str, Any],
        values: Sequence[Any],
        batch: Sequence[Any] | None,
    ) -> int:
        """Add one attempt with its *batch*; returns whether it was not here."""
        if batch:
            insert = f"insert or ignore into batches ({', '.join(batch_row.COLUMNS)})"
            connection.execute(f"{insert} values ({_marks(batch)})", batch)
            state = "select state from batches where token = ?"
            ((known,),) = connection.execute(state, batch[:1])
            if row["state"] == "batched" and known not in batch_row.AT_WORK:
                return 0
        connection.execute(
            "insert or ignore into requests values (?, ?)", (row["key"], row["request"])
        )
        changed = ", ".join(f"{name} = excluded.{name}" for name in COLUMNS)
        cursor = connection.execute(
            f"insert into attempts ({', '.join(COLUMNS)}) values ({_marks(COLUMNS)}) "
            f"on conflict (uid) do update set {changed} "
            "where attempts.state = 'batched' and excluded.state = 'done' returning id",
            values,
        )
        for (attempt,) in (found := cursor.fetchall()):
            if batch:
                connection.execute(
                    "insert or ignore into batched values (?, ?)", (attempt, batch[0])
                )
            if row["line"]:
                connection.execute("insert into lines values (?, ?)", (attempt, row["line"]))
        return len(found)


@contextmanager
def writing(file: Path) -> Iterator[Writer]:
    """Open the store *file*, created where it is not there, as its one writer."""
    writer = Writer(file)
    try:
        yield writer
    finally:
        writer.close()


@contextmanager
def reading(file: Path) -> Iterator[Store]:
    """Open the store *file* for reading; an empty one where there is none."""
    store = Store(file if file.exists() else Path(":memory:"))
    try:
        yield store
    finally:
        store.close()


def _connect(file: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(file, timeout=30, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("pragma journal_mode = wal")
        connection.execute("pragma synchronous = full")
        connection.execute("pragma cell_size_check = on")
        connection.executescript(SCHEMA)
    except BaseException:
        connection.close()
        raise
    return connection


def _locked(file: Path) -> int:
    lock = os.open(f"{file}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = os.read(lock, 200).decode("ascii", "replace").strip() or "another process"
        os.close(lock)
        raise RefusedError(
            f"{file}: is being written by {holder}; wait for it to end, or end it",
            code=TRY_AGAIN,
        ) from None
    os.ftruncate(lock, 0)
    started = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
    os.pwrite(lock, f"pid {os.getpid()}, started {started} UTC".encode("ascii"), 0)
    return lock


@contextmanager
def _told(file: Path) -> Iterator[None]:
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


def _marks(values: Sequence[Any]) -> str:
    return ", ".join("?" * len(values))
