"""The record store: every request to a teacher and what came back, on disk before it counts."""

import os
import shutil
import sqlite3
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from redistill.console.exceptions import IO, RefusedError
from redistill.llm import attempt_row, store_file, store_place
from redistill.llm.budget import Amount, Prices, batch_prices
from redistill.llm.request import Request, of_canonical
from redistill.llm.response import FINAL
from redistill.llm.store_reader import Store, marks

MIN_FREE = 32 * 1024 * 1024  # bytes that must be free before anything is asked
EXPORTED = attempt_row.EXPORTED
path = store_place.path


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
    overrun: int = 0  # of the tokens, those beyond what could be foreseen

    @property
    def amount(self) -> Amount:
        """What the attempt is counted at."""
        return Amount(1, self.prompt_tokens + self.completion_tokens, self.nano)


class Writer(Store):
    """
    The one writer of a store.

    Attempts that a run before left open may have been billed: they become ``lost`` and stay
    counted at their reservation. Raises RefusedError: 75 where another process holds the store,
    74 where the disk has too little room.
    """

    def __init__(self, file: Path) -> None:
        file = store_file.real(file)
        with store_file.told(file):
            self._lock = store_file.lock(file)
        try:
            with store_file.told(file):
                _room(file)
                super().__init__(file, store_file.for_writing(file))
            self._lose()
        except BaseException:
            os.close(self._lock)
            raise

    def close(self) -> None:
        """Let go of the file and the lock."""
        super().close()
        os.close(self._lock)

    def _lose(self) -> None:
        try:
            with self.transaction() as connection:
                connection.execute(
                    "update attempts set state = 'done', outcome = 'lost', "
                    "detail = 'the run ended before an answer came' where state = 'open'"
                )
        except BaseException:
            super().close()
            raise

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Open a transaction that is on disk when the block ends, or has no effect at all."""
        with store_file.told(self.file):
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
            "completion_tokens = ?, nano = ?, measured = ?, seconds = ?, overrun = ? where id = ?",
            (
                result.outcome,
                attempt_row.checksum(result.key, result.outcome, result.status, result.body),
                result.detail, result.finish_reason, result.returned_model, result.prompt_tokens,
                result.completion_tokens, result.nano, int(result.measured),
                round(result.seconds, 3), result.overrun, result.id,
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
        self.set_aside(row[0] for row in chosen)
        return chosen

    def set_aside(self, numbers: Iterable[int]) -> None:
        """Let the answers of the attempts *numbers* count no longer."""
        with self.transaction() as connection:
            connection.executemany(
                "update attempts set retired = 1 where id = ?", [(number,) for number in numbers]
            )

    def reconcile(self) -> int:
        """Release what attempts without an answer have reserved; returns how many there were."""
        with self.transaction() as connection:
            cursor = connection.execute(
                "update attempts set prompt_tokens = 0, completion_tokens = 0, nano = 0 "
                f"where measured = 0 and state = 'done' and outcome not in ({marks(FINAL)}) "
                "and (prompt_tokens + completion_tokens > 0 or nano is not 0)",
                FINAL,
            )
        return int(cursor.rowcount)


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
    """
    Open the store *file* for reading, so that nothing in it changes; empty where there is none.

    Raises RefusedError (65) for a file that is damaged, empty, or no store.
    """
    file = store_file.real(file)
    with store_file.told(file):
        store = Store(file, store_file.for_reading(file))
    try:
        yield store
    finally:
        store.close()


def _room(file: Path) -> None:
    free = shutil.disk_usage(file.parent).free
    if free < MIN_FREE:
        raise RefusedError(
            f"{file}: {free} bytes are free and {MIN_FREE} are needed before anything "
            "is asked and paid for; make room, then run dvc repro",
            code=IO,
        )
