"""Batches as the record store knows them: what is in each, and how far it has come."""

import sqlite3
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from redistill.console.exceptions import USAGE, RefusedError
from redistill.llm import batch_row, budget, settlement, thoughts
from redistill.llm.batch_file import Line
from redistill.llm.batch_row import AT_WORK
from redistill.llm.client import Occasion
from redistill.llm.endpoint import Raw
from redistill.llm.purchase import Manner
from redistill.llm.request import Request, of_canonical
from redistill.llm.response import FINAL, STANDING, Outcome, Reading
from redistill.llm.store import Writer
from redistill.llm.store_reader import CHUNK, Store

GIVEN_UP = 2  # batches that refused a request: it is not put into another
COLUMNS = ", ".join(batch_row.COLUMNS)


@dataclass(frozen=True)
class Batch:
    """
    A batch: whose it is, what a million of its tokens cost, and how far it has come.

    It is ``made`` before anyone is told of it, ``ordering`` from the moment at which a server may
    have heard of it (*file* is what was noted before), ``ordered`` once the server's name for it,
    *remote*, is known; then ``done``, ``withdrawn`` or ``abandoned``. One of files stays ``made``.
    *since* is when it came to its state, in seconds since 1970.
    """

    token: str
    kind: Manner
    endpoint: str
    stage: str
    round: str
    since: float
    state: str
    file: str | None
    remote: str | None
    prices: budget.Prices

    @property
    def name(self) -> str:
        """What the batch is called in messages: as the server does, where that is known."""
        return self.remote or self.token


@dataclass(frozen=True)
class Waiting:
    """The attempt *number* at *request*, which waits in a batch."""

    number: int
    request: Request


def make(
    writer: Writer,
    kind: Manner,
    requests: Sequence[Request],
    prices: budget.Prices,
    occasion: Occasion,
    overrun: int = 0,
) -> Batch:
    """Note a batch of *requests* with all their intents, at *prices*; see `budget.reservation`."""
    token, now = uuid.uuid4().hex, time.time()
    endpoint, stage, round = requests[0].endpoint, occasion.stage, occasion.round
    batch = Batch(token, kind, endpoint, stage, round, now, "made", None, None, prices)
    with writer.transaction() as connection:
        connection.execute(
            f"insert into batches ({COLUMNS}) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(token, kind, endpoint, stage, round, now, batch.state, None, None),
                *(prices.input, prices.output),
            ),
        )
        for request in requests:
            most = budget.reservation(request, prices, overrun)
            writer.intend(connection, settlement.intent(request, most, stage, round), token)
    return batch


def at_work(store: Store) -> list[Batch]:
    """Read the batches that have not ended, the oldest first."""
    return _batches(store, f"state in {AT_WORK} order by rowid", [])


def _batches(store: Store, condition: str, values: Sequence[Any]) -> list[Batch]:
    rows = store.rows(f"select {COLUMNS} from batches where {condition}", values)
    return [_batch(*row) for row in rows]


def _batch(*row: Any) -> Batch:
    own: list[Any] = list(row[:9])
    own.append(budget.Prices(input=row[9], output=row[10], batch=None))
    return Batch(*own)


def waiting(store: Store, token: str) -> dict[str, Waiting]:
    """Read the attempts that wait in the batch of *token*, by the keys of their requests."""
    rows = store.rows(
        "select a.id, a.key, r.request, a.problem from batched b join attempts a on a.id = "
        "b.attempt join requests r using (key) where b.batch = ? and a.state = 'batched' "
        "order by a.id",
        (token,),
    )
    return {key: Waiting(number, of_canonical(text, who)) for number, key, text, who in rows}


def keys(store: Store, token: str) -> set[str]:
    """Find the keys of all requests that the batch of *token* was made of."""
    rows = store.rows(
        "select a.key from batched b join attempts a on a.id = b.attempt where b.batch = ?",
        (token,),
    )
    return {key for (key,) in rows}


def remotes(store: Store) -> set[str]:
    """Find the names that servers gave to the batches of this store, ended or not."""
    rows = store.rows("select remote from batches where remote is not null", ())
    return {name for (name,) in rows}


def held(store: Store, keys: Iterable[str]) -> dict[str, str]:
    """Find those of *keys* that wait in a batch, each with the token of that."""
    rows = store.rows(
        "select a.key, b.batch from attempts a join batched b on b.attempt = a.id "
        "where a.state = 'batched'",
        (),
    )
    wanted = set(keys)
    return {key: token for key, token in rows if key in wanted}


def given_up(store: Store, keys: Iterable[str]) -> dict[str, Reading]:
    """
    Read what stands for an answer to those of *keys* that batches have refused GIVEN_UP times.

    The server calls the request malformed; `redistill retry` has it asked again.
    """
    marks = ", ".join("?" * len(STANDING))
    rows = store.rows(
        "select a.key, a.outcome, a.detail, count(*), max(a.id) from attempts a join batched b "
        f"on b.attempt = a.id where a.outcome in ({marks}) and a.retired = 0 "
        "and a.state = 'done' group by a.key",
        STANDING,
    )
    wanted = set(keys)
    return {
        key: Reading(outcome, detail=detail or "")
        for key, outcome, detail, times, _ in rows
        if key in wanted and times >= GIVEN_UP
    }


def misshapen(store: Store, keys: Iterable[str]) -> set[str]:
    """Find those of *keys* to which the latest answer in a batch was of no answer's shape."""
    rows = store.rows(
        "select a.key, a.outcome, max(a.id) from attempts a join batched b on b.attempt = a.id "
        "where a.state = 'done' group by a.key",
        (),
    )
    wanted = set(keys)
    return {key for key, outcome, _ in rows if outcome == "malformed" and key in wanted}


def advance(writer: Writer, batch: Batch, state: str, **columns: str) -> Batch:
    """
    Note that *batch* has come to *state*, with *file* or *remote* where they become known.

    Returns the batch as it is now.
    """
    changed = replace(batch, state=state, since=time.time(), **columns)  # type: ignore[arg-type]
    names = ", ".join(f"{name} = ?" for name in ("state", "since", *columns))
    with writer.transaction() as connection:
        connection.execute(
            f"update batches set {names} where token = ?",
            (state, changed.since, *columns.values(), batch.token),
        )
    return changed


def withdraw(writer: Writer, batch: Batch) -> None:
    """Take back *batch*, which no server has: its requests were never made."""
    with writer.transaction() as connection:
        connection.execute(
            "delete from attempts where state = 'batched' and id in "
            "(select attempt from batched where batch = ?)",
            (batch.token,),
        )
        connection.execute("delete from batched where batch = ?", (batch.token,))
        connection.execute("update batches set state = 'withdrawn' where token = ?", (batch.token,))


def take(writer: Writer, batch: Batch, lines: Sequence[Line]) -> list[Reading]:
    """Note the answers among *lines* that *batch* still waits for, and return their readings."""
    open_ = waiting(writer, batch.token)
    fresh = [line for line in lines if line.key in open_]
    for start in range(0, len(fresh), CHUNK):
        with writer.transaction() as connection:
            for line in fresh[start : start + CHUNK]:
                _note(writer, connection, batch, open_[line.key], line)
    return [line.reading for line in fresh]


def _note(
    writer: Writer, connection: sqlite3.Connection, batch: Batch, place: Waiting, line: Line
) -> None:
    """Note *line* as how the attempt at *place* ended."""
    writer.receive(connection, place.number, line.raw.status, line.raw.body)
    writer.settle(
        connection,
        settlement.result(place.number, place.request, line.raw, line.reading, batch.prices),
    )
    if line.identity:
        connection.execute("insert into lines values (?, ?)", (place.number, line.identity))


def close(writer: Writer, batch: Batch, outcome: Outcome, detail: str, state: str = "done") -> int:
    """End *batch*: whatever waits in it ended with *outcome*; returns how many requests did."""
    left = waiting(writer, batch.token)
    reading = Reading(outcome, detail=detail)
    with writer.transaction() as connection:
        for place in left.values():
            told = settlement.result(
                place.number, place.request, Raw(0, b""), reading, batch.prices
            )
            writer.settle(connection, told)
        connection.execute("update batches set state = ? where token = ?", (state, batch.token))
    return len(left)


def abandon(writer: Writer, name: str) -> tuple[Batch, int]:
    """
    Let go of the batch that the server, or the store, calls *name*; returns it and its requests.

    They may have been billed, and stay counted at what was reserved. Raises RefusedError for a
    name that no batch has in which something waits, or could.
    """
    found = with_waiting(writer)
    chosen = next((batch for batch in found if name in (batch.token, batch.remote)), None)
    if chosen is None:
        known = ", ".join(batch.name for batch in found) or "none"
        raise RefusedError(f"no batch {name!r} is at work; at work: {known}", code=USAGE)
    return chosen, close(writer, chosen, "lost", "the batch was abandoned", "abandoned")


def with_waiting(store: Store) -> list[Batch]:
    """Read the batches at work, and those that have ended but in which something still waits."""
    held = "token in (select b.batch from attempts a join batched b on b.attempt = a.id "
    waits = f"{held} where a.state = 'batched')"
    return _batches(store, f"state in {AT_WORK} or {waits} order by rowid", [])


def apart(store: Store, lines: Sequence[Line]) -> tuple[list[Line], int]:
    """
    Leave out those of *lines* that a former attempt has ended with: a failure, or one set aside.

    They are of an old output, and no answer to what waits now. A line is known by its identity; one
    that has none by its body, and so is an answer that was stored without. Returns the others, and
    how many were left out.
    """
    named: set[tuple[str, str]] = set()  # keys with what their attempts ended with
    bodies: set[tuple[str, bytes]] = set()
    unnamed: set[tuple[str, bytes]] = set()
    for key, identity, body, final in _ended_with(store, {line.key for line in lines}):
        named.add((key, identity))
        bodies.add((key, body))
        if final and not identity:
            unnamed.add((key, body))
    fresh = [
        line
        for line in lines
        if (line.key, line.identity) not in named
        and (line.key, line.raw.body) not in (unnamed if line.identity else bodies)
    ]
    return fresh, len(lines) - len(fresh)


def _ended_with(store: Store, keys: set[str]) -> Iterator[tuple[str, str, bytes, bool]]:
    """Key, identity, body, and whether it is an answer, of what failed or was set aside."""
    marks, wanted = ", ".join("?" * len(FINAL)), sorted(keys)
    for start in range(0, len(wanted), CHUNK):
        part = wanted[start : start + CHUNK]
        yield from store.rows(
            f"select a.key, l.identity, a.body, a.outcome in ({marks}) "
            "from attempts a left join lines l on l.attempt = a.id "
            f"where a.state = 'done' and (a.retired = 1 or a.outcome not in ({marks})) "
            f"and a.key in ({', '.join('?' * len(part))})",
            [*FINAL, *FINAL, *part],
        )


@dataclass(frozen=True)
class Imported:
    """
    What an imported output brought: answers, failures, and answers that were there already.

    *old* lines had ended a former attempt, and were left out. *spent* says how often, and how, the
    output of an answer went into thoughts.
    """

    answered: int
    failed: int
    repeated: int
    ended: Sequence[Batch]
    old: int = 0
    spent: Mapping[str, int] = field(default_factory=dict)


def bring_in(writer: Writer, lines: Sequence[Line]) -> Imported:
    """
    Note *lines*, of which each key has one, as answers to requests that batches were made of.

    An answer to a request that has one already is left out. The batches in which nothing waits any
    more are *ended*. All is noted, or nothing.
    """
    owners = _owners(writer, lines)
    stored = writer.answers(line.key for line in lines)
    open_ = held(writer, owners)
    fresh = [line for line in lines if line.key not in stored or line.key in open_]
    readings: list[Reading] = []
    with writer.transaction() as connection:
        for token in dict.fromkeys(owners[line.key].token for line in fresh):
            own = [line for line in fresh if owners[line.key].token == token]
            batch = owners[own[0].key]
            _reopen(writer, connection, batch, own)
            places = waiting(writer, token)
            for line in (line for line in own if line.key in places):
                _note(writer, connection, batch, places[line.key], line)
                readings.append(line.reading)
        ended = _ended(writer, connection, {batch.token for batch in owners.values()})
    answered = sum(reading.outcome in FINAL for reading in readings)
    spent = Counter(filter(None, map(thoughts.spent, readings)))
    repeated = len(lines) - len(fresh)
    return Imported(answered, len(readings) - answered, repeated, ended, spent=spent)


def _ended(writer: Writer, connection: sqlite3.Connection, touched: set[str]) -> list[Batch]:
    """Note that those *touched* batches are done in which nothing waits any more."""
    ended = [b for b in at_work(writer) if b.token in touched and not waiting(writer, b.token)]
    connection.executemany(
        "update batches set state = 'done', since = ? where token = ?",
        [(time.time(), batch.token) for batch in ended],
    )
    return ended


def _owners(writer: Writer, lines: Sequence[Line]) -> dict[str, Batch]:
    """The latest batch that each line's request was put into; without those in none."""
    known = {batch.token: batch for batch in _batches(writer, "1", ())}
    rows = writer.rows(
        "select a.key, b.batch from attempts a join batched b on b.attempt = a.id order by a.id",
        (),
    )
    latest = dict(rows)
    return {line.key: known[latest[line.key]] for line in lines if line.key in latest}


def known(writer: Writer) -> set[str]:
    """Find the keys of all requests that batches were ever made of."""
    rows = writer.rows(
        "select distinct a.key from attempts a join batched b on b.attempt = a.id", ()
    )
    return {key for (key,) in rows}


def _reopen(
    writer: Writer, connection: sqlite3.Connection, batch: Batch, lines: Sequence[Line]
) -> None:
    """Note a further attempt for each answer whose request had ended with a failure before."""
    open_ = waiting(writer, batch.token)
    late = [line for line in lines if line.key not in open_ and line.reading.outcome in FINAL]
    for line in late:
        text, who = writer.rows(
            "select r.request, a.problem from requests r join attempts a using (key) "
            "where r.key = ? order by a.id desc limit 1",
            (line.key,),
        )[0]
        request = of_canonical(text, who)
        most = budget.reservation(request, batch.prices)
        intent = settlement.intent(request, most, batch.stage, batch.round)
        writer.intend(connection, intent, batch.token)
