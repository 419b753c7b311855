"""Batches that a server answers: ordered once, looked at, and taken as far as they go."""

import asyncio
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from redistill.console.exceptions import BATCH, CONFIG, PERMISSION, TRY_AGAIN, RefusedError
from redistill.console.progress import Progress
from redistill.console.safe_text import safe_text
from redistill.llm import (
    anthropic_batches,
    batch_file,
    batch_records,
    batches,
    budget,
    client,
    interrupts,
    openai_batches,
    store,
    thoughts,
)
from redistill.llm.batch_file import Line
from redistill.llm.batch_records import Batch
from redistill.llm.batch_service import Service, State
from redistill.llm.batches import Order
from redistill.llm.client import Occasion
from redistill.llm.connection import Connection
from redistill.llm.endpoint import Policy
from redistill.llm.purchase import Manner, Terms
from redistill.llm.request import Request
from redistill.llm.response import FATAL, FINAL, Outcome, Reading
from redistill.llm.store import Writer

INTERFACES: Mapping[Manner, tuple[type[Connection], type[Service]]] = {
    "api": (Connection, openai_batches.Service),
    "anthropic": (anthropic_batches.Connection, anthropic_batches.Service),
}
ORDERED = State("ordered")
AtWork = tuple[Batch, State]


def ask(
    requests: Iterable[Request],
    kind: Manner,
    connect: Callable[[type[Connection]], Connection],
    settings: budget.SpendingSettings,
    policy: Policy,
    occasion: Occasion,
    file: Path,
) -> dict[str, Reading]:
    """
    Read the answers to *requests* from the store *file*, and have a server's batches bring
    the rest.

    The server is spoken to as *kind* wants it. Each batch is on disk before the server hears of it,
    and one whose order may have been lost on the way is looked for before another is made. Batches
    that ended are taken as far as they go, and what is missing goes into a next one. Raises
    RefusedError: 4 with the batches at work, where the run does not wait; 3 at the budget; else as
    `client.ask` does.
    """
    wanted = batches.order(requests, settings, occasion, kind)
    return asyncio.run(_Run(wanted, kind, policy, file).all(connect))


@dataclass
class _Look:
    """What one look at the store and the server found: readings, or batches at work."""

    readings: dict[str, Reading]
    held: int = 0
    at_work: list[AtWork] = field(default_factory=list)
    told: str | None = None


class _Run:
    """One stage's batches, from the first look to the last."""

    def __init__(self, wanted: Order, kind: Manner, policy: Policy, file: Path) -> None:
        self.wanted = wanted
        self.kind = kind
        self.policy = policy
        self.file = file
        self.endpoints = {request.endpoint for request in wanted.requests.values()}
        self.tried: Counter[str] = Counter()
        self.stop: RefusedError | None = None

    async def all(self, connect: Callable[[type[Connection]], Connection]) -> dict[str, Reading]:
        """Look, and wait for the next look, until everything is answered."""
        self.stopped = asyncio.Event()
        connection, service = INTERFACES[self.kind]
        self.service = service(connect(connection), self.policy, self.stopped)
        progress = Progress(f"batches {self.wanted.occasion.round}", len(self.wanted.requests))
        try:
            with interrupts.handled(self._signalled):
                while True:
                    found = await self._looked()
                    if not found.held:
                        return found.readings
                    if self.stop is None and self.wanted.terms.wait is None:
                        raise _at_work(found, self.wanted.occasion)
                    progress.to(len(found.readings))
                    await self.service.pause(self.wanted.terms.wait or 0.0)
                    if self.stop is not None:
                        raise self.stop
        finally:
            progress.close()
            await self.service.close()

    def _signalled(self, number: signal.Signals) -> None:
        self.stop = interrupts.refusal(number)
        self.stopped.set()

    async def _looked(self) -> _Look:
        try:
            return await self._look()
        except RefusedError as problem:
            if self.stop is not None:
                raise self.stop from problem
            raise

    async def _look(self) -> _Look:
        """Take what has ended, order what is missing; the store is free again afterwards."""
        with store.writing(self.file) as writer:
            desk = _Desk(writer, self.service, self.wanted.terms)
            found = [one for batch in self._own(writer) if (one := await desk.ordered(batch))]
            at_work = [one for known in found if (one := await desk.look(*known))]
            readings = batches.known(writer, self.wanted)
            missing = [key for key in self.wanted.requests if key not in readings]
            if not missing:
                return _Look(readings)
            batches.refuse_held(writer, missing, self.kind)
            self.service.check(self.wanted.requests[key] for key in missing)
            made, told = self._place(writer, readings, missing)
            for batch in made:
                if self.stop is not None:
                    raise self.stop
                if sent := await desk.send(batch):
                    at_work.append(sent)
            held = batch_records.held(writer, missing)
        if not held:
            if told and not made:
                raise budget.refusal(told)
            raise _nothing_ordered(len(missing))
        own = [(batch, state) for batch, state in at_work if batch.token in held.values()]
        return _Look(readings, len(held), own, told)

    def _own(self, writer: Writer) -> list[Batch]:
        found = batch_records.at_work(writer)
        return [b for b in found if b.kind == self.kind and b.endpoint in self.endpoints]

    def _place(
        self, writer: Writer, readings: Mapping[str, Reading], missing: Sequence[str]
    ) -> tuple[list[Batch], str | None]:
        """Batches of what is missing, unless this run has put it into as many as it may."""
        held = batch_records.held(writer, missing)
        most = dict.fromkeys(missing, self.policy.attempts)
        most |= dict.fromkeys(batch_records.misshapen(writer, missing), client.MAX_SHAPE)
        again = [key for key in missing if key not in held and self.tried[key] >= most[key]]
        if again:
            tried = max(self.tried[key] for key in again)
            raise RefusedError(
                f"{len(again)} requests have no answer after {tried} batches; what was answered is "
                "stored, and dvc repro asks for the rest",
                code=TRY_AGAIN,
            )
        made, told = batches.place(writer, self.kind, self.wanted, readings)
        self.tried.update(set(batch_records.held(writer, missing)) - set(held))
        return made, told


class _Desk:
    """What is done with single batches while the store is held."""

    def __init__(self, writer: Writer, service: Service, terms: Terms) -> None:
        self.writer = writer
        self.service = service
        self.terms = terms

    async def ordered(self, batch: Batch) -> AtWork | None:
        """*batch* as ordered, or what nobody can tell; None: no server has it; it is taken back."""
        if batch.state == "ordered":
            return batch, ORDERED
        found = await self._found(batch) if batch.state == "ordering" else None
        if isinstance(found, State):
            return batch, found
        if found is None:
            batch_records.withdraw(self.writer, batch)
            return None
        return batch_records.advance(self.writer, batch, "ordered", remote=found), ORDERED

    async def _found(self, batch: Batch) -> str | State | None:
        """The server's name for *batch*, looked for once more when an order must have arrived."""
        keys = batch_records.keys(self.writer, batch.token)
        others = batch_records.remotes(self.writer)
        found = await self.service.find(batch, keys, others)
        if found is None:
            if not await self.service.pause(self.terms.settled):
                raise RefusedError(
                    f"stopped before it was known whether the batch {batch.token} was ordered",
                    code=TRY_AGAIN,
                )
            found = await self.service.find(batch, keys, others)
        return found

    async def send(self, batch: Batch) -> AtWork | None:
        """Prepare and order *batch*; None where it did not come to that."""
        waiting = batch_records.waiting(self.writer, batch.token).values()
        requests = [place.request for place in waiting]
        try:
            file = await self.service.prepare(batch, requests)
            batch = batch_records.advance(self.writer, batch, "ordering", file=file)
            remote = await self.service.order(batch, requests)
        except RefusedError:
            batch_records.withdraw(self.writer, batch)
            raise
        if remote is None:
            return await self.ordered(batch)
        return batch_records.advance(self.writer, batch, "ordered", remote=remote), ORDERED

    async def look(self, batch: Batch, known: State) -> AtWork | None:
        """How far *batch* has come; None where it has ended, and is taken as far as it goes."""
        state = await self.service.look(batch) if known is ORDERED else known
        if not state.ended:
            return batch, state
        lines, faults = await self._fetched(batch, state)
        chosen, repeated = batch_file.first_good(lines)
        readings = batch_records.take(self.writer, batch, chosen)
        outcome: Outcome = "lost" if state.ran else "unserved"
        left = batch_records.close(
            self.writer, batch, outcome, f"the batch ended as {state.status}"
        )
        self._tell(batch, state, readings, faults, repeated, left)
        _judge(batch, readings)
        return None

    async def _fetched(self, batch: Batch, state: State) -> tuple[list[Line], list[str]]:
        """
        Read the lines of *batch*, which has ended, and what is no answer among them.

        Raises RefusedError (75) where they are not all there: what was answered would be lost, and
        bought again.
        """
        lines: list[Line] = []
        faults: list[str] = []
        for name in state.files:
            for number, line in batch_file.outputs(await self.service.lines(name)):
                if isinstance(line, batch_file.Unread):
                    raise _not_read(batch, f"{name}:{number}: {line}")
                if isinstance(line, Line):
                    lines.append(line)
                else:
                    faults.append(f"{name}:{number}: {line}")
        came = len({line.key for line in lines}) + len(faults)
        if came < state.done:
            where = ", ".join(state.files) or "no file"
            raise _not_read(batch, f"{where}: {came} lines, and the server counts {state.done}")
        return lines, faults

    def _tell(
        self,
        batch: Batch,
        state: State,
        readings: Sequence[Reading],
        faults: Sequence[str],
        repeated: int,
        left: int,
    ) -> None:
        told = Counter(filter(None, map(thoughts.spent, readings)))
        told.update({f"repeated answers of {batch.name}, counted once": repeated})
        told.update(
            {f"lines of {batch.name} that are no answer ({'; '.join(faults[:1])})": len(faults)}
        )
        ended = f"{state.status}{state.fault and ': '}{state.fault}"
        told.update({f"requests without a line in {batch.name}, which ended as {ended}": left})
        for what, times in sorted(told.items()):
            if times:
                print(safe_text(f"{batch.stage} {batch.round}: {what}: {times}"), file=sys.stderr)


def _judge(batch: Batch, readings: Sequence[Reading]) -> None:
    """Refuse to go on where a next batch would fare no better."""
    fatal = next((reading for reading in readings if reading.outcome in FATAL), None)
    if fatal is not None:
        raise RefusedError(
            f"stopped: the batch {batch.name}: {fatal.outcome}: {fatal.detail}", code=PERMISSION
        )
    bad = [reading for reading in readings if reading.outcome == "bad_request"]
    if len(bad) >= client.MAX_BAD and len(bad) == len(readings):
        raise RefusedError(
            f"the server refused all {len(bad)} requests of the batch {batch.name} as malformed "
            f"({bad[-1].detail}); mend the section of params.yaml that asks {batch.endpoint}",
            code=CONFIG,
        )
    final = [reading for reading in readings if reading.outcome in FINAL]
    if len(final) >= client.MAX_THOUGHTS and all(map(thoughts.spent, final)):
        raise RefusedError(
            f"all {len(final)} answers of the batch {batch.name} are thoughts alone "
            f"({final[-1].detail}); {thoughts.WAY_OUT}",
            code=CONFIG,
        )


def _not_read(batch: Batch, fault: str) -> RefusedError:
    return RefusedError(
        f"the output of the batch {batch.name} cannot be read: {fault}; dvc repro fetches it again "
        "later. If that stays so, bring in what you have of it with redistill store import FILE, "
        f"then let go of the rest with redistill store abandon {batch.name}",
        code=TRY_AGAIN,
    )


def _nothing_ordered(missing: int) -> RefusedError:
    return RefusedError(
        f"{missing} requests have no answer, and no batch of them reached the server; dvc repro "
        "tries again",
        code=TRY_AGAIN,
    )


def _at_work(found: _Look, occasion: Occasion) -> RefusedError:
    """One line: which batches are at work, how far they are, and what to do."""
    names = ", ".join(
        f"{batch.name} ({state.status}"
        + (f", {state.done} of {state.total})" if state.total else ")")
        for batch, state in found.at_work
    )
    told = (
        f"{occasion.round}: {found.held} requests wait in batches at work: {names}; run dvc repro "
        "again to fetch the answers, or set REDISTILL_BATCH_WAIT to the seconds between two looks, "
        "to wait for them"
    )
    if found.told:
        return budget.refusal(found.told, also=told)
    return RefusedError(told, code=BATCH)
