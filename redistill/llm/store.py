"""The record store: every request to a teacher and what came back, on disk before it counts."""

import base64
import fcntl
import hashlib
import os
import re
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
from redistill.llm.budget import Amount, Prices, batch_prices
from redistill.llm.request import Request, key_of, of_canonical
from redistill.llm.response import FINAL, MAX_COUNT, MAYBE_BILLED, OUTCOMES, STANDING

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
COLUMNS = (
    "uid", "key", "stage", "round", "problem", "model", "started", "state", "outcome", "status",
    "detail", "finish_reason", "returned_model", "body", "checksum", "prompt_tokens",
    "completion_tokens", "nano", "measured", "seconds", "retired",
)  # fmt: skip
EXPORTED = (*COLUMNS, "encoding", "request")
SELECTABLE = (
    "finish_reason", "outcome", "stage", "round", "model", "returned_model", "problem", "key",
)  # fmt: skip
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


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
                right = isinstance(body, bytes) and _checksum(key, outcome, status, body)
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
        """Read every attempt with its request, sorted by key and time, as flat JSON objects."""
        rows = self.rows(
            f"select {', '.join('a.' + c for c in COLUMNS)}, r.request from attempts a "
            "join requests r using (key) order by a.key, a.started, a.uid",
            [],
        )
        for row in rows:
            content = dict(zip((*COLUMNS, "request"), row, strict=True))
            content["body"], content["encoding"] = _as_text(content["body"])
            yield content

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
            right = isinstance(body, bytes) and _checksum(key, outcome, status, body)
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
                _checksum(result.key, result.outcome, result.status, result.body), result.detail,
                result.finish_reason, result.returned_model, result.prompt_tokens,
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

    def merge(self, rows: Iterable[dict[str, Any]]) -> int:
        """
        Add exported attempts that have ended and are not here yet; returns how many there were.

        Raises RefusedError for one that no store of ours has written, and adds none then.
        """
        added = 0
        with self.transaction() as connection:
            for number, row in enumerate(rows, 1):
                if row["state"] != "done":
                    continue
                values = _imported(number, row)
                connection.execute(
                    "insert or ignore into requests values (?, ?)", (row["key"], row["request"])
                )
                cursor = connection.execute(
                    f"insert or ignore into attempts ({', '.join(COLUMNS)}) "
                    f"values ({_marks(COLUMNS)})",
                    values,
                )
                added += cursor.rowcount
        return added


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


def _checksum(key: str, outcome: str, status: int | None, body: bytes) -> str:
    whole = hashlib.sha256(f"{key} {outcome} {status} ".encode())
    whole.update(body)
    return whole.hexdigest()


def _marks(values: Sequence[Any]) -> str:
    return ", ".join("?" * len(values))


def _as_text(body: bytes | None) -> tuple[str | None, str]:
    """*body* as it stands in an export: itself where it is UTF-8, else in base 64."""
    if body is None:
        return None, "utf-8"
    try:
        return body.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        return base64.b64encode(body).decode("ascii"), "base64"


def _imported(number: int, row: dict[str, Any]) -> list[Any]:
    """The values of an exported *row* in the order of the columns, held to what a store writes."""
    try:
        raw = _as_bytes(row["body"], row["encoding"])
        texts = [str(row[name]) for name in ("uid", "key", "stage", "round", "request")]
        of_canonical(texts[4])
        known = NAME.fullmatch(texts[2]) and NAME.fullmatch(texts[3])
        if not known or row["outcome"] not in OUTCOMES or not 0 <= row["started"] < 1e11:
            raise ValueError("stage, round, outcome or time")
        found = _checksum(texts[1], row["outcome"], row["status"], raw or b"")
        if row["outcome"] in FINAL and found != row["checksum"]:
            raise ValueError("the checksum")
        for name in ("prompt_tokens", "completion_tokens", "measured", "retired"):
            if not isinstance(row[name], int) or not 0 <= row[name] <= MAX_COUNT:
                raise ValueError(name)
    except (ValueError, TypeError, KeyError, AttributeError) as problem:
        raise RefusedError(f"row {number} of the export: not of a store: {problem}") from None
    return [raw if name == "body" else row[name] for name in COLUMNS]


def _as_bytes(text: str | None, encoding: str) -> bytes | None:
    if text is None:
        return None
    return base64.b64decode(text) if encoding == "base64" else text.encode("utf-8")
