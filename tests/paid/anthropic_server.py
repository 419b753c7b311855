"""A server on this machine that speaks Anthropic's message batches, and counts what it bills."""

import json
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.paid.batch_server import BatchServer, Line
from tests.paid.run import solution

ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
KNOWN = {"model", "max_tokens", "messages", "system", "stop_sequences", "thinking"}
OLDER = {"temperature", "top_p"}  # what an older version knows besides
VERSIONS = {"2023-06-01": KNOWN | OLDER, "2026-10-21": KNOWN}
ELSEWHERE = "https://elsewhere.invalid/v1/messages/batches"  # how the server calls itself
Results = Callable[[int, list[Line]], list[Line]]


def message(text: str, **fields: Any) -> dict[str, Any]:
    """A message of an assistant, as the interface has it."""
    return {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "m",
        "content": [{"type": "text", "text": text}], "stop_reason": "end_turn",
        "stop_sequence": None, "usage": {"input_tokens": 10, "output_tokens": 5}, **fields,
    }  # fmt: skip


def succeeded(line: Line, **fields: Any) -> Line:
    """The result that answers *line* as the problem wants it."""
    text = solution(line["params"]["messages"][-1]["content"])
    result = {"type": "succeeded", "message": message(text, **fields)}
    return {"custom_id": line["custom_id"], "result": result}


def errored(line: Line, kind: str = "api_error", told: str = "no") -> Line:
    """The result of a request that failed."""
    error = {"type": "error", "error": {"type": kind, "message": told}, "request_id": "req_1"}
    return {"custom_id": line["custom_id"], "result": {"type": "errored", "error": error}}


def unserved(line: Line, kind: str = "expired") -> Line:
    """The result of a request that the batch did not get to."""
    return {"custom_id": line["custom_id"], "result": {"type": kind}}


def all_right(number: int, lines: list[Line]) -> list[Line]:
    return [succeeded(line) for line in lines]


class MessageServer(BatchServer):
    """
    Serves /v1/messages/batches: ``script(number, lines)`` says what results a batch ends with.

    Results can be read once a batch has ended. *seen* holds the headers of the orders.
    """

    def __init__(self, script: Results = all_right, takes: float = 0.0, delay: float = 0.0) -> None:
        self.results, self.seen = script, []
        self.archived: set[str] = set()  # batches whose results are gone
        super().__init__(takes=takes, delay=delay)

    def foreign(self, count: int, takes: float) -> str:
        """Have somebody else order a batch of *count* requests."""
        lines = [{"custom_id": f"other-{n}", "params": {}} for n in range(count)]
        return self._add(lines, takes, lambda number, lines: [unserved(x) for x in lines])

    def cancel(self, name: str) -> None:
        """Have a batch end with no request answered."""
        self.batches[name]["script"] = lambda number, lines: [
            unserved(x, "canceled") for x in lines
        ]
        self.batches[name]["ready"] = 0.0

    def _answer(
        self, call: str, handler: BaseHTTPRequestHandler, body: bytes, query: dict[str, list[str]]
    ) -> tuple[int, Any]:
        verb, _, path = call.partition(" ")
        _, messages, batches, *rest = path.split("/")
        assert (messages, batches) == ("messages", "batches")
        known = VERSIONS[handler.headers["anthropic-version"]]
        if verb == "POST" and not rest:
            self.seen.append(dict(handler.headers))
            return self._ordered(json.loads(body)["requests"], known)
        if verb == "GET" and not rest:
            return 200, self._list(query)
        if rest[0] not in self.batches:
            return 404, _fault("not_found_error", "unknown")
        if verb == "POST" and rest[1:] == ["cancel"]:
            self.cancel(rest[0])
            return 200, self._batch(rest[0]) | {"processing_status": "canceling"}
        if rest[1:] == ["results"]:
            if self._batch(rest[0])["processing_status"] != "ended":
                return 404, _fault("not_found_error", "not ended")
            lines = self.batches[rest[0]]["output"]
            return 200, b"".join(json.dumps(line).encode() + b"\n" for line in lines)
        return 200, self._batch(rest[0])

    def _ordered(self, lines: list[Line], known: set[str]) -> tuple[int, Any]:
        ids = {line["custom_id"] for line in lines}
        if len(ids) < len(lines) or not all(ID.fullmatch(x) for x in ids):
            return 400, _fault("invalid_request_error", "custom_id")
        for line in lines:
            params = line["params"]
            roles = {turn["role"] for turn in params["messages"]}
            if not set(params) <= known or "max_tokens" not in params or "system" in roles:
                return 400, _fault("invalid_request_error", "params")
        return 200, self._batch(self._add(lines, self.takes, self.results))

    def _add(self, lines: list[Line], takes: float, script: Results) -> str:
        name = f"msgbatch_{len(self.batches)}"
        self.batches[name] = {
            "id": name, "status": "in_progress", "created": datetime.now(UTC), "lines": lines,
            "ready": time.monotonic() + takes, "script": script, "output": [],
        }  # fmt: skip
        return name

    def _list(self, query: dict[str, list[str]]) -> dict[str, Any]:
        names = list(reversed(self.batches))
        if "after_id" in query:
            names = names[names.index(query["after_id"][0]) + 1 :]
        page = names[: min(int(query["limit"][0]), 7)]  # pages are shorter than was asked for
        return {
            "data": [self._batch(name) for name in page], "has_more": len(names) > len(page),
            "first_id": page[0] if page else None, "last_id": page[-1] if page else None,
        }  # fmt: skip

    def _batch(self, name: str) -> dict[str, Any]:
        batch = self.batches[name]
        if batch["status"] == "in_progress" and time.monotonic() >= batch["ready"]:
            self._end(batch)
        kinds = list({x["custom_id"]: x["result"]["type"] for x in batch["output"]}.values())
        names = ("succeeded", "errored", "canceled", "expired")
        at_work = 0 if batch["status"] == "ended" else len(batch["lines"])
        gone = at_work or name in self.archived
        return {
            "id": name, "type": "message_batch", "processing_status": batch["status"],
            "created_at": batch["created"].isoformat().replace("+00:00", "Z"),
            "request_counts": {n: kinds.count(n) for n in names} | {"processing": at_work},
            "results_url": None if gone else f"{ELSEWHERE}/{name}/results",
        }  # fmt: skip

    def _end(self, batch: dict[str, Any]) -> None:
        batch["output"] = batch["script"](int(batch["id"].partition("_")[2]), batch["lines"])
        batch["status"] = "ended"
        good = {x["custom_id"]: x for x in batch["output"] if x["result"]["type"] == "succeeded"}
        self.billed.update(list(good))
        for line in good.values():
            self.tokens += sum(line["result"]["message"]["usage"].values())


def _fault(kind: str, told: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": told}}
