"""Batches as OpenAI's interface has them: files up and down, batches ordered by a file."""

from collections.abc import Collection, Iterable, Sequence
from functools import partial
from typing import Any

from redistill.llm import batch_file, batch_list, batch_service
from redistill.llm.batch_file import URL
from redistill.llm.batch_records import Batch
from redistill.llm.batch_service import DAY, TRANSFERS, State, id_of, object_of, whole
from redistill.llm.request import Request

TOKEN = "redistill"  # the key of a batch's metadata that holds our name for it


class Service(batch_service.Service):
    """The interface of ``/files`` and ``/batches``; a batch's *file* is the one uploaded for it."""

    def check(self, requests: Iterable[Request]) -> None:
        """Have every request: it is ordered as it would be sent live."""

    async def prepare(self, batch: Batch, requests: Sequence[Request]) -> str:
        """Upload the file of *requests*; returns its id."""
        content = b"".join(batch_file.line(request) for request in requests)
        name = f"redistill-{batch.token}.jsonl"
        raw = await self._tried(
            partial(self._connection.upload, "/files", name, content, purpose="batch"),
            "uploading a batch",
            TRANSFERS,
        )
        return id_of(raw, "uploading a batch")

    async def order(self, batch: Batch, requests: Sequence[Request]) -> str | None:
        """Order *batch* by its file, with its token as metadata."""
        content = {
            "input_file_id": batch.file,
            "endpoint": URL,
            "completion_window": "24h",
            "metadata": {TOKEN: batch.token},
        }
        return await self._ordered(partial(self._connection.post, "/batches", content))

    async def find(
        self, batch: Batch, keys: Collection[str], others: Collection[str]
    ) -> str | State | None:
        """
        Look for *batch* in the server's list, by its token or its file; None: not there.

        Raises RefusedError (75) for a list that cannot be read: see `batch_list.search`.
        """
        what = f"finding out whether the batch {batch.token} was ordered"

        async def fetched(path: str) -> dict[str, Any]:
            return object_of(await self._tried(partial(self._connection.get, path), what))

        def own(row: dict[str, Any]) -> bool:
            metadata = row.get("metadata")
            named = isinstance(metadata, dict) and metadata.get(TOKEN) == batch.token
            return named or (batch.file is not None and row.get("input_file_id") == batch.file)

        return await batch_list.search(fetched, own, batch.since - DAY, batch.token)

    async def look(self, batch: Batch) -> State:
        """Ask how far *batch* has come."""
        what = f"looking at the batch {batch.name}"
        row = object_of(
            await self._tried(partial(self._connection.get, f"/batches/{batch.remote}"), what)
        )
        counts = row.get("request_counts")
        counts = counts if isinstance(counts, dict) else {}
        done, failed, total = (whole(counts.get(n)) for n in ("completed", "failed", "total"))
        files = [row.get("output_file_id"), row.get("error_file_id")]
        status = str(row.get("status")).lower()
        named = [name for name in files if isinstance(name, str) and name]
        return State(status, done + failed, total, named, _fault(row.get("errors")))

    async def lines(self, file: str) -> Iterable[bytes]:
        """Fetch the lines of the server's *file*."""
        call = partial(self._connection.get, f"/files/{file}/content", file=True)
        raw = await self._tried(call, f"fetching the file {file}", TRANSFERS)
        return raw.body.split(b"\n")


def _fault(errors: object) -> str:
    """What a server says of a batch that failed as a whole."""
    rows = errors.get("data") if isinstance(errors, dict) else None
    told = [str(row.get("message")) for row in rows or [] if isinstance(row, dict)]
    return "; ".join(told)[:300]
