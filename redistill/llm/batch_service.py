"""What batches need of a server, whoever's interface it speaks, and how that is called."""

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from redistill.console.exceptions import CONFIG, PERMISSION, TRY_AGAIN, RefusedError
from redistill.llm import response
from redistill.llm.batch_records import Batch
from redistill.llm.connection import Connection
from redistill.llm.endpoint import Policy, Raw, wait
from redistill.llm.request import Request

RAN = ("completed", "ended")  # nothing was left out: each request has a line, or was lost
ENDED = (*RAN, "failed", "expired", "cancelled")
DAY = 86_400.0  # seconds by which the server's clock may be off
TRANSFERS = 30  # times the deadline of a call that a file may take


@dataclass(frozen=True)
class State:
    """What a server says of a batch: its *files* are those with answers and with errors."""

    status: str
    done: int = 0
    total: int = 0
    files: Sequence[str] = ()
    fault: str = ""

    @property
    def ended(self) -> bool:
        """Whether nothing further will come of the batch."""
        return self.status in ENDED

    @property
    def ran(self) -> bool:
        """Whether the batch came to each of its requests, so that one without a line is lost."""
        return self.status in RAN


class Service(ABC):
    """A batch interface behind *connection*; once *stopped*, nothing is tried again."""

    def __init__(self, connection: Connection, policy: Policy, stopped: asyncio.Event) -> None:
        self._connection = connection
        self._policy = policy
        self._stopped = stopped

    @abstractmethod
    def check(self, requests: Iterable[Request]) -> None:
        """Raise RefusedError (78) for one of *requests* that the interface has no words for."""

    @abstractmethod
    async def prepare(self, batch: Batch, requests: Sequence[Request]) -> str:
        """
        Do what an order of *batch* needs beforehand, which costs nothing.

        Returns what is noted of it: `order` and `find` have it as the batch's *file*.
        """

    @abstractmethod
    async def order(self, batch: Batch, requests: Sequence[Request]) -> str | None:
        """
        Order the prepared *batch*, once, and return the server's name for it.

        None says that nobody can tell whether the order has arrived: `find` can. Raises
        RefusedError where the server has refused it.
        """

    @abstractmethod
    async def find(
        self, batch: Batch, keys: Collection[str], others: Collection[str]
    ) -> str | State | None:
        """
        Find the server's name for *batch*, a batch of the requests *keys*; None: it has none.

        *others* are the names of batches that are known to be others. A state says, in its status,
        what it is that nobody can tell yet.
        """

    @abstractmethod
    async def look(self, batch: Batch) -> State:
        """Ask how far *batch* has come."""

    @abstractmethod
    async def lines(self, file: str) -> Iterable[bytes]:
        """Fetch the lines of a *file* of a batch that has ended, as `batch_file` reads them."""

    async def close(self) -> None:
        """Let go of the connections."""
        await self._connection.close()

    async def pause(self, seconds: float) -> bool:
        """Wait *seconds*, or until the run is to stop; returns whether it was the whole time."""
        try:
            await asyncio.wait_for(self._stopped.wait(), seconds)
        except TimeoutError:
            return True
        return False

    async def _tried(self, call: Callable[[], Awaitable[Raw]], what: str, times: int = 1) -> Raw:
        """The good answer to *call*, tried as often as the policy says."""
        for attempt in range(self._policy.attempts):
            raw = await self._once(call, times)
            told, after = (raw, None) if isinstance(raw, str) else (_told(raw), raw.retry_after)
            if not isinstance(raw, str):
                if 200 <= raw.status < 300:
                    return raw
                if response.outcome_of(raw.status, raw.body) not in response.RETRIED:
                    raise _refused(raw, what)
            if attempt + 1 < self._policy.attempts and not self._stopped.is_set():
                await self.pause(wait(after, attempt, self._policy))
        raise RefusedError(f"{what}: {told}; dvc repro goes on from there", code=TRY_AGAIN)

    async def _ordered(self, call: Callable[[], Awaitable[Raw]], times: int = 1) -> str | None:
        """The name of the batch that *call* orders, once; None where nobody can tell."""
        raw = await self._once(call, times)
        if isinstance(raw, str) or raw.status >= 500 or raw.status in (409, *response.GAVE_UP):
            return None
        if not 200 <= raw.status < 300:
            raise _refused(raw, "ordering a batch")
        try:
            return id_of(raw, "ordering a batch")
        except RefusedError:
            return None  # some answer, but perhaps an order

    async def _once(self, call: Callable[[], Awaitable[Raw]], times: int) -> Raw | str:
        """The answer to *call*, or in words why there is none."""
        try:
            async with asyncio.timeout(self._policy.deadline * times):
                return await call()
        except TimeoutError:
            return f"no answer within {self._policy.deadline * times:g} s"
        except OSError as problem:
            return f"{type(problem).__name__}: {problem}"[:200]


def _refused(raw: Raw, what: str) -> RefusedError:
    outcome = response.outcome_of(raw.status, raw.body)
    lost = raw.status in (404, 405)
    way = (
        "; the server has no such batch or file, or no batches: see its address and key, unset "
        "REDISTILL_BATCH, or let go of a batch with redistill store abandon"
    )
    fatal = outcome in response.FATAL and not lost
    code = PERMISSION if fatal else TRY_AGAIN if outcome == "rate_limited" else CONFIG
    return RefusedError(f"{what}: {_told(raw)}{way if lost else ''}", code=code)


def _told(raw: Raw) -> str:
    return f"HTTP {raw.status}{response.message_of(raw.body)}"


def object_of(raw: Raw) -> dict[str, Any]:
    """Read the object in the answer *raw*; raises RefusedError (75) where it holds none."""
    try:
        content = json.loads(raw.body)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise RefusedError("the server's batch interface answers with no object", code=TRY_AGAIN)
    return content


def id_of(raw: Raw, what: str) -> str:
    """Read the id in the answer *raw* to *what*; raises RefusedError (75) where it holds none."""
    found = object_of(raw).get("id")
    if not isinstance(found, str) or not found.replace("-", "").replace("_", "").isalnum():
        raise RefusedError(f"{what}: the answer has no id", code=TRY_AGAIN)
    return found


def rows_of(page: dict[str, Any]) -> list[dict[str, Any]]:
    """Read the batches on a *page* of a server's list; raises RefusedError (75) for no list."""
    rows = page.get("data")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise RefusedError(
            "the server's list of batches cannot be read: its data is no list of batches; dvc "
            "repro looks again, and redistill store abandon lets go of a batch",
            code=TRY_AGAIN,
        )
    return rows


def whole(value: object) -> int:
    """Read a count; 0 for what is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
