"""A server's interface for batches: files up and down, batches ordered, found and looked at."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from redistill.console.exceptions import CONFIG, PERMISSION, TRY_AGAIN, RefusedError
from redistill.llm import batch_list, response
from redistill.llm.batch_file import URL
from redistill.llm.batch_records import Batch
from redistill.llm.endpoint import Connection, Policy, Raw, wait

ENDED = ("completed", "failed", "expired", "cancelled")
TOKEN = "redistill"  # the key of a batch's metadata that holds our name for it
DAY = 86_400.0  # seconds by which the server's clock may be off
TRANSFERS = 30  # times the deadline of a call that a file may take


@dataclass(frozen=True)
class State:
    """What a server says of a batch: its *files* are those with answers and with errors."""

    status: str
    done: int
    total: int
    files: Sequence[str]
    fault: str

    @property
    def ended(self) -> bool:
        """Whether nothing further will come of the batch."""
        return self.status in ENDED


class Service:
    """The batch interface behind *connection*; once *stopped*, nothing is tried again."""

    def __init__(self, connection: Connection, policy: Policy, stopped: asyncio.Event) -> None:
        self._connection = connection
        self._policy = policy
        self._stopped = stopped

    async def upload(self, name: str, content: bytes) -> str:
        """Upload *content* for a batch, which costs nothing yet; returns the file's id."""
        raw = await self._tried(
            partial(self._connection.upload, "/files", name, content, purpose="batch"),
            "uploading a batch",
            TRANSFERS,
        )
        return self._id(raw, "uploading a batch")

    async def order(self, batch: Batch) -> str | None:
        """
        Order the uploaded *batch*, once, and return the server's name for it.

        None says that nobody can tell whether the order has arrived: `find` can. Raises
        RefusedError where the server has refused it.
        """
        content = {
            "input_file_id": batch.file,
            "endpoint": URL,
            "completion_window": "24h",
            "metadata": {TOKEN: batch.token},
        }
        raw = await self._once(partial(self._connection.post, "/batches", content), 1)
        if isinstance(raw, str) or raw.status >= 500 or raw.status in (409, *response.GAVE_UP):
            return None
        if not 200 <= raw.status < 300:
            raise _refused(raw, "ordering a batch")
        try:
            return self._id(raw, "ordering a batch")
        except RefusedError:
            return None  # some answer, but perhaps an order

    async def find(self, batch: Batch) -> str | None:
        """
        Look for *batch* in the server's list, by its token or its file; None: not there.

        Raises RefusedError (75) for a list that cannot be read: see `batch_list.search`.
        """
        what = f"finding out whether the batch {batch.token} was ordered"

        async def fetched(path: str) -> dict[str, Any]:
            return _object(await self._tried(partial(self._connection.get, path), what))

        def own(row: dict[str, Any]) -> bool:
            metadata = row.get("metadata")
            named = isinstance(metadata, dict) and metadata.get(TOKEN) == batch.token
            return named or (batch.file is not None and row.get("input_file_id") == batch.file)

        return await batch_list.search(fetched, own, batch.since - DAY, batch.token)

    async def look(self, batch: Batch) -> State:
        """Ask how far *batch* has come."""
        what = f"looking at the batch {batch.name}"
        row = _object(
            await self._tried(partial(self._connection.get, f"/batches/{batch.remote}"), what)
        )
        counts = row.get("request_counts")
        counts = counts if isinstance(counts, dict) else {}
        done, failed, total = (_whole(counts.get(n)) for n in ("completed", "failed", "total"))
        files = [row.get("output_file_id"), row.get("error_file_id")]
        status = str(row.get("status")).lower()
        named = [name for name in files if isinstance(name, str) and name]
        return State(status, done + failed, total, named, _fault(row.get("errors")))

    async def content(self, file: str) -> bytes:
        """Fetch what is in the server's *file*."""
        what = f"fetching the file {file}"
        call = partial(self._connection.get, f"/files/{file}/content")
        return (await self._tried(call, what, TRANSFERS)).body

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

    async def pause(self, seconds: float) -> bool:
        """Wait *seconds*, or until the run is to stop; returns whether it was the whole time."""
        try:
            await asyncio.wait_for(self._stopped.wait(), seconds)
        except TimeoutError:
            return True
        return False

    async def _once(self, call: Callable[[], Awaitable[Raw]], times: int) -> Raw | str:
        """The answer to *call*, or in words why there is none."""
        try:
            async with asyncio.timeout(self._policy.deadline * times):
                return await call()
        except TimeoutError:
            return f"no answer within {self._policy.deadline * times:g} s"
        except OSError as problem:
            return f"{type(problem).__name__}: {problem}"[:200]

    def _id(self, raw: Raw, what: str) -> str:
        found = _object(raw).get("id")
        if not isinstance(found, str) or not found.replace("-", "").replace("_", "").isalnum():
            raise RefusedError(f"{what}: the answer has no id", code=TRY_AGAIN)
        return found


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


def _object(raw: Raw) -> dict[str, Any]:
    try:
        content = json.loads(raw.body)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise RefusedError("the server's batch interface answers with no object", code=TRY_AGAIN)
    return content


def _whole(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _fault(errors: object) -> str:
    """What a server says of a batch that failed as a whole."""
    rows = errors.get("data") if isinstance(errors, dict) else None
    told = [str(row.get("message")) for row in rows or [] if isinstance(row, dict)]
    return "; ".join(told)[:300]
