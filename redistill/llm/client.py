"""Asking a paid endpoint: each request once, within the budget, and nothing lost on the way."""

import asyncio
import signal
import sqlite3
import sys
import time
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from redistill.console.exceptions import CONFIG, IO, PERMISSION, TRY_AGAIN, RefusedError
from redistill.console.progress import Progress
from redistill.console.safe_text import safe_text
from redistill.llm import (
    answers,
    budget,
    choices,
    interrupts,
    other_models,
    overrun,
    response,
    settlement,
    thoughts,
)
from redistill.llm.endpoint import Policy, Raw, wait
from redistill.llm.group_commit import Commits
from redistill.llm.inflation import BodyError
from redistill.llm.request import Request
from redistill.llm.response import FATAL, FINAL, RETRIED, Reading
from redistill.llm.store import Writer

WINDOW = 50  # calls that the breaker looks back on, once there are MIN_SEEN
MIN_SEEN = 20
MAX_BAD = 5  # requests in a row that the server calls malformed: the next will be, too
MAX_THOUGHTS = 5  # answers that are thoughts alone, and no other: the next will be, too
MAX_SHAPE = 2  # attempts at an answer of the wrong shape, each of which may be billed


@dataclass(frozen=True)
class Occasion:
    """
    For which stage and round calls are made, as the ledger lists them.

    *told* are the models that answered in place of others, of which it was said already.
    """

    stage: str
    round: str
    told: set[tuple[str, str]] = field(default_factory=set, compare=False)


class Sender(Protocol):
    """Carries requests to an endpoint, once each, without a look at the answer."""

    async def __call__(self, request: Request) -> Raw:
        """Send *request*; raises TimeoutError, or OSError where there is no connection."""
        ...

    async def close(self) -> None:
        """Let go of the connections."""
        ...


def ask(
    requests: Iterable[Request],
    send: Sender,
    writer: Writer,
    settings: budget.SpendingSettings,
    policy: Policy,
    occasion: Occasion,
    *,
    together: bool = False,
) -> dict[str, Reading]:
    """
    Have every request answered that the store has no answer to, and return readings by key.

    The intent is on disk before a call, its raw body before anyone reads it, in commits that many
    calls share. A request that the server calls malformed is a reading like any other; the next run
    asks again. Draws of one request are asked for *together* in one
    call with ``n``, where that is wanted. Raises RefusedError where the run must stop, after the
    calls in flight have been stored: 3 at the budget, 75 where calls failed that may work later,
    77 where the key is refused, 78 where the server refuses requests as malformed, 130 or 143 on
    SIGINT or SIGTERM.
    """
    unique = {request.key: request for request in requests}
    _recover(writer, {(r.endpoint, r.model) for r in unique.values()}, settings.prices)
    readings = answers.renewed(writer, unique)
    other_models.check(unique, readings, settings)
    missing = [request for key, request in unique.items() if key not in readings]
    if missing:
        run = _Run(send, writer, settings, policy, occasion, len(missing))
        run.overrun = overrun.most(writer, (request.model for request in missing))
        groups = choices.together(missing) if together else [[request] for request in missing]
        readings |= asyncio.run(run.all(groups))
    return readings


def _recover(writer: Writer, asked: set[tuple[str, str]], prices: budget.Prices) -> None:
    """
    Read the bodies that a killed run had stored, but not come to read.

    Only those of the endpoints and models that are *asked* now, whose *prices* these are: another
    model has its own, and is recovered when it is asked. Until then it counts as reserved.
    """
    received = [row for row in writer.received() if (row[1].endpoint, row[1].model) in asked]
    with writer.transaction() as connection:
        for number, request, status, body in received:
            raw = Raw(status, body)
            reading = response.read(status, body)
            writer.settle(connection, settlement.result(number, request, raw, reading, prices))


class _Run:
    """The calls of one batch, and what stops them."""

    def __init__(
        self,
        send: Sender,
        writer: Writer,
        settings: budget.SpendingSettings,
        policy: Policy,
        occasion: Occasion,
        total: int,
    ) -> None:
        self.send = send
        self.writer = writer
        self.settings = settings
        self.policy = policy
        self.occasion = occasion
        self.progress = Progress(f"asking {occasion.round}", total)
        self.committed = writer.committed()
        self.commits = Commits(writer)
        self.readings: dict[str, Reading] = {}
        self.window: deque[bool] = deque(maxlen=WINDOW)
        self.bad = self.overrun = 0
        self.thoughts: int | None = 0  # answers that were thoughts alone; None after another
        self.in_flight = 0
        self.refusal: RefusedError | None = None
        self.told: Counter[str] = Counter()
        self.notes: list[str] = []
        self.limiter: Any = None

    async def all(self, requests: Sequence[Sequence[Request]]) -> dict[str, Reading]:
        """Ask *requests*, in groups that a call each asks for; end in order whatever happens."""
        self.stopped = asyncio.Event()
        self.settled = asyncio.Condition()
        if self.policy.rate:
            from aiolimiter import AsyncLimiter

            self.limiter = AsyncLimiter(1, 60 / self.policy.rate)
        waiting = iter(requests)
        with interrupts.handled(self._signalled):
            workers = [
                asyncio.create_task(self._work(waiting))
                for _ in range(min(self.policy.concurrency, len(requests)))
            ]
            try:
                await self._finished(workers)
                await self.commits.done()
            except (sqlite3.Error, OverflowError, UnicodeError) as problem:
                raise RefusedError(
                    f"{self.writer.file}: cannot be written: {problem}; nothing more is asked. "
                    "Make room, then run dvc repro: what was answered is stored",
                    code=IO,
                ) from problem
            finally:
                await self.send.close()
        self.progress.close()
        counts = [f"{what}: {times}" for what, times in sorted(self.told.items())]
        for what in [*self.notes, *counts]:
            told = f"{self.occasion.stage} {self.occasion.round}: {what}"
            print(safe_text(told), file=sys.stderr)
        if self.refusal is not None:
            raise self.refusal
        self._complete()
        return self.readings

    def _complete(self) -> None:
        """Refuse to end as if all were answered where calls failed that may work later."""
        lost = [r for r in self.readings.values() if r.outcome in RETRIED]
        failed, last = Counter(r.outcome for r in lost), {r.outcome: r.detail for r in lost}
        if failed:
            reasons = ", ".join(
                f"{n} {outcome.replace('_', ' ')}: {last[outcome]}"
                for outcome, n in sorted(failed.items())
            )
            raise RefusedError(
                f"{failed.total()} requests have no answer yet ({reasons}); what was answered is "
                "stored, and dvc repro asks for the rest",
                code=TRY_AGAIN,
            )

    async def _finished(self, workers: Sequence[asyncio.Task[None]]) -> None:
        """Wait for *workers*; once the run is to stop, for *drain* seconds at most."""
        stop = asyncio.create_task(self.stopped.wait())
        left: set[asyncio.Task[Any]] = set(workers)
        try:
            while left and not stop.done():
                done, left = await asyncio.wait({*left, stop}, return_when=asyncio.FIRST_COMPLETED)
                left.discard(stop)
                for worker in done - {stop}:
                    worker.result()
            if left:
                done, left = await asyncio.wait(left, timeout=self.policy.drain)
                for worker in done:
                    worker.result()
        finally:
            for task in (stop, *left):
                task.cancel()
            await asyncio.gather(stop, *workers, return_exceptions=True)  # each was looked at

    async def _work(self, waiting: Iterable[Sequence[Request]]) -> None:
        for group in waiting:  # one iterator for all workers: each group goes to one of them
            if self.refusal is not None:
                return
            await self._answer(group)
            self.progress.to(len(self.readings))

    async def _answer(self, group: Sequence[Request]) -> None:
        """Ask for the draws of *group* until each has a reading, or as often as it is tried."""
        attempt = 0
        while attempt < self.policy.attempts:
            if self.limiter is not None and not await self._allowed():
                return
            reserved = await self._reserve(group)
            if reserved is None:
                return
            found, raw = await self._call(group, *reserved)
            self.readings |= found
            group = [r for r in group if found[r.key].outcome in RETRIED]
            if not group or self.refusal is not None:
                return
            if len(group) < len(found):
                continue  # some draws came: the call works, and the others are asked for
            attempt += 1
            if attempt >= MAX_SHAPE and all(r.outcome == "malformed" for r in found.values()):
                return
            if attempt < self.policy.attempts:
                delay = wait(raw.retry_after, attempt - 1, self.policy)
                try:
                    await asyncio.wait_for(self.stopped.wait(), delay)
                except TimeoutError:
                    continue
                return

    async def _allowed(self) -> bool:
        """Wait for the rate limit; False where the run stops meanwhile."""
        turn = asyncio.ensure_future(self.limiter.acquire())
        stop = asyncio.ensure_future(self.stopped.wait())
        await asyncio.wait({turn, stop}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        turn.cancel()
        return not self.stopped.is_set()

    async def _reserve(
        self, group: Sequence[Request]
    ) -> tuple[list[int], list[budget.Amount]] | None:
        """The numbers of attempts, and their costs, reserved on disk; None: the run stops."""
        prices, occasion = self.settings.prices, self.occasion
        mosts = [budget.reservation(request, prices, self.overrun) for request in group]
        together = sum(mosts, budget.Amount())
        async with self.settled:
            while told := budget.exceeded(self.settings.budget, self.committed, together):
                if not self.in_flight:
                    self._stop(budget.refusal(told))
                    return None
                await self.settled.wait()  # a call in flight may cost less than was reserved
            if self.refusal is not None:
                return None
            self.committed += together
            self.in_flight += 1
        intents = [
            settlement.intent(request, most, occasion.stage, occasion.round)
            for request, most in zip(group, mosts, strict=True)
        ]
        return await self.commits.do(lambda c: [self.writer.intend(c, i) for i in intents]), mosts

    async def _call(
        self, group: Sequence[Request], numbers: Sequence[int], mosts: Sequence[budget.Amount]
    ) -> tuple[dict[str, Reading], Raw]:
        """One call: its raw body is on disk before it is read, and read before it is judged."""
        started = time.monotonic()
        raw, failed = Raw(0, b""), None
        try:
            async with asyncio.timeout(self.policy.deadline):
                raw = await self.send(choices.as_one(group))
        except TimeoutError:
            failed = Reading("timeout", detail=f"no answer within {self.policy.deadline:g} s")
        except BodyError as problem:  # it came, and may be billed
            failed = Reading("malformed", detail=str(problem)[:200])
        except OSError as problem:
            failed = Reading("no_connection", detail=f"{type(problem).__name__}: {problem}"[:200])
        answers = [None] * len(group) if failed else choices.divided(raw, len(group))
        if not failed:
            await self.commits.do(lambda c: self._receive(c, numbers, answers))
        readings: dict[str, Reading] = {}
        for request, number, most, answer in zip(group, numbers, mosts, answers, strict=True):
            missing = failed or Reading("unserved", detail="the server gave fewer choices than n")
            reading = response.read(answer.status, answer.body) if answer else missing
            readings[request.key] = reading
            self._settle(request, number, most, answer, reading, time.monotonic() - started)
        async with self.settled:
            self.in_flight -= 1
            self.settled.notify_all()
        good = [reading for reading in readings.values() if reading.outcome in FINAL]
        for reading in good or list(readings.values())[:1]:  # a call that failed is judged once
            self._judge(group[0], reading)
        return readings, raw

    def _receive(
        self, connection: sqlite3.Connection, numbers: Sequence[int], answers: Sequence[Raw | None]
    ) -> None:
        for number, answer in zip(numbers, answers, strict=True):
            if answer is not None:
                self.writer.receive(connection, number, answer.status, answer.body)

    def _settle(
        self,
        request: Request,
        number: int,
        most: budget.Amount,
        answer: Raw | None,
        reading: Reading,
        seconds: float,
    ) -> None:
        """Note how an attempt ended, and let go of what was reserved beyond its cost."""
        raw, prices = answer or Raw(0, b""), self.settings.prices
        ended = settlement.result(number, request, raw, reading, prices)
        result = replace(ended, seconds=seconds)
        self.commits.later(lambda c: self.writer.settle(c, result))
        self.told.update(settlement.remarks(request, reading, ended))
        self.overrun = max(self.overrun, ended.overrun)
        self.committed += budget.difference(result.amount, most)

    def _judge(self, request: Request, reading: Reading) -> None:
        """Whether the run can go on after *reading*."""
        if reading.model is not None and reading.model != request.model:
            self.notes += other_models.noted(reading.model, request.model, self.occasion.told)
            if self.settings.strict_model:
                self._stop(other_models.refusal(request, reading))
        if reading.outcome in FATAL:
            self._stop(
                RefusedError(f"stopped: {reading.outcome}: {reading.detail}", code=PERMISSION)
            )
        self.bad = self.bad + 1 if reading.outcome == "bad_request" else 0
        if self.bad >= MAX_BAD:
            self._stop(
                RefusedError(
                    f"the server refused {self.bad} requests in a row as malformed "
                    f"({reading.detail}); mend the section of params.yaml that asks "
                    f"{request.model}",
                    code=CONFIG,
                )
            )
        self._weigh_thoughts(reading)
        self.window.append(reading.outcome in FINAL)
        failed = self.window.count(False)
        if len(self.window) >= MIN_SEEN and failed > len(self.window) / 2:
            self._stop(
                RefusedError(
                    f"{failed} of the last {len(self.window)} calls failed, the last one with "
                    f"{reading.outcome} ({reading.detail}); what was answered is stored, and dvc "
                    "repro goes on from there",
                    code=TRY_AGAIN,
                )
            )

    def _weigh_thoughts(self, reading: Reading) -> None:
        """Tell of output that went into thoughts, and stop where nothing else ever came."""
        spent = thoughts.spent(reading)
        if spent:
            self.told[spent] += 1
        if reading.outcome in FINAL and self.thoughts is not None:
            self.thoughts = self.thoughts + 1 if spent else None
        if self.thoughts == MAX_THOUGHTS:
            self._stop(
                RefusedError(
                    f"the first {MAX_THOUGHTS} answers are thoughts alone ({reading.detail}); "
                    f"{thoughts.WAY_OUT}",
                    code=CONFIG,
                )
            )

    def _signalled(self, number: signal.Signals) -> None:
        self._stop(interrupts.refusal(number))

    def _stop(self, refusal: RefusedError) -> None:
        self.refusal = self.refusal or refusal
        self.stopped.set()
