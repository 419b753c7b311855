"""Batches as Anthropic's interface has them: requests in the order itself, found by their ids."""

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from redistill.console.exceptions import CONFIG, TRY_AGAIN, RefusedError
from redistill.llm import anthropic_messages, batch_service, connection
from redistill.llm.batch_records import Batch
from redistill.llm.batch_service import TRANSFERS, State, object_of, rows_of, whole
from redistill.llm.endpoint import Raw
from redistill.llm.request import Request

PATH = "/v1/messages/batches"
SAMPLING = {"temperature", "top_p"}  # what the interface has no more, but had in the version of
SAMPLED = "2023-06-01"
SPOKEN = "2026-10-21"  # the version that all else is said in
PAGE, PAGES = 100, 1000  # batches on a page of the server's list, and pages looked at
NONE = "1970-01-01T00:00:00+00:00"  # noted where the server had no batch before an order
APART = timedelta(minutes=1)  # by which the clocks of the servers may differ from each other
COUNTS = ("processing", "succeeded", "errored", "canceled", "expired")


class Connection(connection.Connection):
    """The same through the anthropic SDK, which is an extra; raises RefusedError without it."""

    spoken: Mapping[str, str] = {"anthropic-version": SPOKEN}

    def _open(self, address: str) -> None:
        import httpx2

        try:
            import anthropic
        except ImportError as problem:
            raise RefusedError(
                f"Anthropic's batches need its SDK ({problem}): pip install "
                "'redistill[anthropic]', or unset REDISTILL_BATCH to ask call by call",
                code=CONFIG,
            ) from None
        self._sdk = anthropic
        self._raw = httpx2.Response
        base = address.removesuffix("/v1")
        self._client = anthropic.AsyncAnthropic(base_url=base, api_key="none", **self._manner())

    async def post(self, path: str, content: Mapping[str, Any]) -> Raw:
        """Send the order *content*, in a version of the interface that knows all that is in it."""
        sampled = any(SAMPLING & set(line["params"]) for line in content["requests"])
        options = {"headers": {"anthropic-version": SAMPLED if sampled else SPOKEN}}
        call = self._client.post(path, body=content, options=options, cast_to=self._raw)
        return await self._raw_of(call)


class Service(batch_service.Service):
    """
    The interface of ``/v1/messages/batches``.

    A batch has no name of ours there, and what is in it is told once it has ended. So before an
    order the server's latest batches are noted, as the batch's *file*: a time by the server's
    clock, and those since. An order that may have been lost is another one since that time, with
    the ids of its requests; while it is at work, their number is all that is told.
    """

    def check(self, requests: Iterable[Request]) -> None:
        """Refuse what a message has no words for."""
        for request in requests:
            anthropic_messages.params(request)

    async def prepare(self, batch: Batch, requests: Sequence[Request]) -> str:
        """Read the server's latest batches: those of its last minute that had any."""
        what = "looking for the server's latest batches"
        call = partial(self._connection.get, f"{PATH}?limit={PAGE}")
        rows = rows_of(object_of(await self._tried(call, what)))
        if not rows:
            return NONE
        since = max(map(_made, rows)) - APART
        latest = [str(row.get("id")) for row in rows if _made(row) >= since]
        return " ".join([since.isoformat(), *latest])

    async def order(self, batch: Batch, requests: Sequence[Request]) -> str | None:
        """Order *requests*; a request's key is its ``custom_id``."""
        content = {
            "requests": [
                {"custom_id": request.key, "params": anthropic_messages.params(request)}
                for request in requests
            ]
        }
        return await self._ordered(partial(self._connection.post, PATH, content), TRANSFERS)

    async def find(
        self, batch: Batch, keys: Collection[str], others: Collection[str]
    ) -> str | State | None:
        """Look for *batch* among the server's batches since; one at work may be it, or not."""
        at_work, (since, earlier) = None, _noted(batch)
        async for row in self._since(since, f"finding out whether {batch.token} was ordered"):
            name = str(row.get("id"))
            if name in others or name in earlier:
                continue
            if row.get("processing_status") != "ended":
                like = _total(row) in (0, len(keys))
                at_work = at_work or (name if like else None)
            elif await self._keys(row) <= set(keys):
                return name
        return State(f"perhaps ordered: known once {at_work} has ended") if at_work else None

    async def look(self, batch: Batch) -> State:
        """Ask how far *batch* has come."""
        what = f"looking at the batch {batch.name}"
        call = partial(self._connection.get, f"{PATH}/{batch.remote}")
        row = object_of(await self._tried(call, what))
        status, total = str(row.get("processing_status")), _total(row)
        files = [_results(row)] if status == "ended" else []
        return State(status, total - _counted(row, "processing"), total, files)

    async def lines(self, file: str) -> Iterable[bytes]:
        """Fetch the results that lie at *file*, each said as a chat completion."""
        return map(anthropic_messages.line, await self._fetched(file))

    async def _fetched(self, file: str) -> list[bytes]:
        call = partial(self._connection.get, file, file=True)
        raw = await self._tried(call, f"fetching {file}", TRANSFERS)
        return raw.body.split(b"\n")

    async def _keys(self, row: dict[str, Any]) -> set[str]:
        """The ids of the requests in the batch of *row*, which has ended."""
        lines = await self._fetched(_results(row))
        found = {key for text in lines if (key := anthropic_messages.key(text))}
        if not found:
            raise _untold(row, "its results name no request")
        return found

    async def _since(self, since: datetime, what: str) -> AsyncIterator[dict[str, Any]]:
        """The server's batches that were made *since* then."""
        after = ""
        for _ in range(PAGES):
            path = f"{PATH}?limit={PAGE}{after and '&after_id='}{after}"
            page = object_of(await self._tried(partial(self._connection.get, path), what))
            rows = rows_of(page)
            later = [row for row in rows if _made(row) >= since]
            for row in later:
                yield row
            if not later or page.get("has_more") is False:
                return  # the list has the latest first
            if page.get("has_more") is not True:
                raise RefusedError(f"{what}: the list does not say if it goes on", code=TRY_AGAIN)
            after = str(rows[-1].get("id"))
        raise RefusedError(f"{what}: the server's list has no end", code=TRY_AGAIN)


def _noted(batch: Batch) -> tuple[datetime, Collection[str]]:
    """Since when *batch* may have been ordered, and what had been by then."""
    since, *earlier = (batch.file or NONE).split(" ")
    return datetime.fromisoformat(since), earlier


def _made(row: dict[str, Any]) -> datetime:
    """When the batch of *row* was made; raises RefusedError (75) where that cannot be read."""
    try:
        made = datetime.fromisoformat(str(row.get("created_at")))
    except ValueError:
        raise _untold(row, "it has no time") from None
    return made if made.tzinfo else made.replace(tzinfo=UTC)


def _results(row: dict[str, Any]) -> str:
    """Where the results of the batch of *row* lie, at the address that is ours to call."""
    address = row.get("results_url")
    parts = urlsplit(address) if isinstance(address, str) else None
    if parts is None or not parts.path:
        raise _untold(row, "its results are not there, or no longer")
    return parts.path + (parts.query and f"?{parts.query}")


def _untold(row: dict[str, Any], why: str) -> RefusedError:
    return RefusedError(
        f"the server's batch {str(row.get('id'))[:80]}: {why}; dvc repro tries again, and "
        "redistill store abandon lets go of a batch",
        code=TRY_AGAIN,
    )


def _total(row: dict[str, Any]) -> int:
    return sum(_counted(row, name) for name in COUNTS)


def _counted(row: dict[str, Any], name: str) -> int:
    counts = row.get("request_counts")
    return whole(counts.get(name)) if isinstance(counts, dict) else 0
