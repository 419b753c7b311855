"""What the record store holds: answers, what was spent, and what is not as it was written."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from redistill.console.exceptions import RefusedError
from redistill.llm import attempt_row, batch_row, store_file
from redistill.llm.budget import Amount
from redistill.llm.request import key_of
from redistill.llm.response import FINAL, STANDING

CHUNK = 500
COLUMNS = attempt_row.COLUMNS
SELECTABLE = (
    "finish_reason", "outcome", "stage", "round", "model", "returned_model", "problem", "key",
)  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """A stored response: its HTTP status, its raw body, and the model that the server named."""

    key: str
    status: int
    body: bytes


class Store:
    """
    What is in the store *file*, read by way of *connection*.

    What it hands out was written whole: each body is held against its checksum. Raises
    RefusedError (65) for a file that is damaged.
    """

    def __init__(self, file: Path, connection: sqlite3.Connection) -> None:
        self.file = file
        self.connection = connection

    def close(self) -> None:
        """Let go of the file."""
        self.connection.close()

    def answers(self, keys: Iterable[str]) -> dict[str, Answer]:
        """Read the stored answers to those of the requests *keys* that have one."""
        found: dict[str, Answer] = {}
        for _, answer in self.each_answer(keys):
            found.setdefault(answer.key, answer)
        return found

    def each_answer(self, keys: Iterable[str]) -> Iterator[tuple[int, Answer]]:
        """Read every stored answer to the requests *keys*, with the number of its attempt."""
        wanted = list(dict.fromkeys(keys))
        for start in range(0, len(wanted), CHUNK):
            part = wanted[start : start + CHUNK]
            rows = self._each(
                "select id, key, status, outcome, body, checksum from attempts "
                f"where key in ({marks(part)}) and state = 'done' and retired = 0 "
                f"and outcome in ({marks(FINAL)}) order by id",
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
                yield number, Answer(key, status, body)

    def of_problems(self, round: str) -> Iterator[tuple[str, str, Answer]]:
        """Read problem, model and answer of every call that was made for *round*, in order."""
        rows = self._each(
            "select problem, model, key from attempts where round = ? "
            f"and state = 'done' and retired = 0 and outcome in ({marks(FINAL)}) "
            "order by id",
            [round, *FINAL],
        )
        while part := list(islice(rows, CHUNK)):
            stored = self.answers(key for _, _, key in part)
            yield from ((problem, model, stored[key]) for problem, model, key in part)

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
        rows = self._each(
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

    def under_way(self) -> int:
        """Count the attempts that have been made, and have no answer yet."""
        return int(self.rows("select count(*) from attempts where state = 'open'", [])[0][0])

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
            f"where state = 'done' and outcome in ({marks(FINAL)}) order by id",
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
            f"and (outcome in ({marks(FINAL)}) or (outcome in ({marks(STANDING)}) "
            f"and id in (select attempt from batched))) and {conditions} order by id",
            [*FINAL, *STANDING, *where.values()],
        )

    def _each(self, statement: str, values: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
        with store_file.told(self.file):
            found = self.connection.execute(statement, values)
            yield from iter(found.fetchone, None)  # a reader that ends early closes nothing here

    def rows(self, statement: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        """Read the rows that *statement* selects; raises RefusedError as opening the file does."""
        with store_file.told(self.file):
            return self.connection.execute(statement, values).fetchall()


def marks(values: Sequence[Any]) -> str:
    """Write as many question marks for a statement as there are *values*."""
    return ", ".join("?" * len(values))
