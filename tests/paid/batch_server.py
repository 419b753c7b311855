"""A server on this machine that speaks files and batches, and counts what it bills."""

import email
import email.policy
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.paid.run import solution
from tests.paid.server import Quiet, content

Line = dict[str, Any]


def right(line: Line) -> Line:
    """The line of an output that answers *line* as the problem wants it."""
    body = content(solution(line["body"]["messages"][-1]["content"]))
    response = {"status_code": 200, "request_id": "req_1", "body": body}
    return {
        "id": "batch_req_1",
        "custom_id": line["custom_id"],
        "response": response,
        "error": None,
    }


def wrong(line: Line, status: int, message: str = "no") -> Line:
    """The line of an error file for a request that was answered with *status*."""
    response = {"status_code": status, "request_id": "r", "body": {"error": {"message": message}}}
    return {
        "id": "batch_req_2",
        "custom_id": line["custom_id"],
        "response": response,
        "error": None,
    }


def unserved(line: Line) -> Line:
    """The line of an error file for a request that the batch did not get to."""
    error = {"code": "batch_expired", "message": "could not be executed in time"}
    return {"id": "batch_req_3", "custom_id": line["custom_id"], "response": None, "error": error}


@dataclass
class Ending:
    """How a batch ends: its status, its lines with answers and with errors."""

    output: list[Line] = field(default_factory=list)
    errors: list[Line] = field(default_factory=list)
    status: str = "completed"
    fault: str = ""


Script = Callable[[int, list[Line]], Ending]


def all_right(number: int, lines: list[Line]) -> Ending:
    return Ending([right(line) for line in lines])


class BatchServer:
    """
    Serves /v1/files and /v1/batches: ``script(number, lines)`` says how a batch ends.

    A batch takes *takes* seconds. Every call waits up to *delay* seconds before it has its effect,
    and again before it is answered; *breaks* maps a path to what becomes of it instead. *spoils*
    makes of a file what is fetched of it, *lists* of a page of batches. *billed* counts the answers
    by the ``custom_id`` of their requests.
    """

    def __init__(self, script: Script = all_right, takes: float = 0.0, delay: float = 0.0) -> None:
        self.script, self.takes, self.delay = script, takes, delay
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.billed: Counter[str] = Counter()
        self.tokens = 0
        self.calls: list[str] = []
        self.breaks: dict[str, Callable[[], int | None]] = {}
        self.spoils: Callable[[bytes], bytes] = lambda content: content
        self.lists: Callable[[dict[str, Any]], dict[str, Any]] = lambda page: page
        self._lock = threading.Lock()
        self._chance = random.Random(1)
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                outer.serve(self, self.rfile.read(int(self.headers.get("content-length", 0))))

            def do_GET(self) -> None:
                outer.serve(self, b"")

            def log_message(self, *_: object) -> None:
                """Stay silent."""

        self._server = Quiet(("127.0.0.1", 0), Handler)
        self.url = self._server.begin()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def finish(self) -> None:
        """End, and bill, every batch that is at work, also one that nobody looks at any more."""
        with self._lock:
            for batch in self.batches.values():
                if batch["status"] == "in_progress":
                    self._end(batch)

    def serve(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        path = urlsplit(handler.path)
        call = f"{handler.command} {path.path.removeprefix('/v1')}"
        self.calls.append(call)
        time.sleep(self._chance.uniform(0, self.delay))
        broken = self.breaks.get(call, lambda: None)
        before = broken()
        if before is None:
            with self._lock:
                status, answer = self._answer(call, handler, body, parse_qs(path.query))
            after = self.breaks.get(f"after {call}", lambda: None)()
            status = after or status
        else:
            status, answer = before, {"error": {"message": "broken"}}
        time.sleep(self._chance.uniform(0, self.delay))
        raw = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        handler.send_response(status)
        handler.send_header("content-type", "application/json")
        handler.send_header("content-length", str(len(raw)))
        handler.end_headers()
        handler.wfile.write(raw)

    def _answer(
        self, call: str, handler: BaseHTTPRequestHandler, body: bytes, query: dict[str, list[str]]
    ) -> tuple[int, Any]:
        verb, _, path = call.partition(" ")
        parts = path.strip("/").split("/")
        if verb == "POST" and parts == ["files"]:
            return 200, self._upload(handler.headers["content-type"], body)
        if verb == "POST" and parts == ["batches"]:
            return 200, self._order(json.loads(body))
        if verb == "GET" and parts == ["batches"]:
            return 200, self.lists(self._list(query))
        if verb == "GET" and parts[0] == "batches" and parts[1] in self.batches:
            return 200, self._batch(parts[1])
        if verb == "GET" and parts[0] == "files" and parts[1] in self.files:
            return 200, self.spoils(self.files[parts[1]])
        return 404, {"error": {"message": "unknown"}}

    def _upload(self, kind: str, body: bytes) -> dict[str, Any]:
        message = email.message_from_bytes(
            b"Content-Type: " + kind.encode() + b"\r\n\r\n" + body, policy=email.policy.HTTP
        )
        fields = {
            p.get_param("name", header="content-disposition"): p for p in message.iter_parts()
        }
        assert fields["purpose"].get_content().strip() == "batch"
        name = f"file-{len(self.files)}"
        self.files[name] = fields["file"].get_payload(decode=True)
        return {"id": name, "object": "file", "purpose": "batch"}

    def _order(self, asked: dict[str, Any]) -> dict[str, Any]:
        assert asked["completion_window"] == "24h"
        assert asked["endpoint"] == "/v1/chat/completions"
        lines = [json.loads(line) for line in self.files[asked["input_file_id"]].splitlines()]
        assert len({line["custom_id"] for line in lines}) == len(lines)
        name = f"batch_{len(self.batches)}"
        self.batches[name] = {
            **asked, "id": name, "object": "batch", "status": "in_progress",
            "created_at": int(time.time()), "ready": time.monotonic() + self.takes, "lines": lines,
            "output_file_id": None, "error_file_id": None, "errors": None,
            "request_counts": {"total": len(lines), "completed": 0, "failed": 0},
        }  # fmt: skip
        return self._batch(name)

    def _list(self, query: dict[str, list[str]]) -> dict[str, Any]:
        names = list(reversed(self.batches))
        if "after" in query:
            names = names[names.index(query["after"][0]) + 1 :]
        page = names[: min(int(query["limit"][0]), 7)]  # pages are shorter than was asked for
        return {
            "object": "list", "data": [self._batch(name) for name in page],
            "has_more": len(names) > len(page),
        }  # fmt: skip

    def _batch(self, name: str) -> dict[str, Any]:
        batch = self.batches[name]
        if batch["status"] == "in_progress" and time.monotonic() >= batch["ready"]:
            self._end(batch)
        hidden = ("ready", "lines")
        return {k: v for k, v in batch.items() if k not in hidden}

    def _end(self, batch: dict[str, Any]) -> None:
        ending = self.script(int(batch["id"].partition("_")[2]), batch["lines"])
        batch["status"] = ending.status
        done = {"completed": ending.output, "failed": ending.errors}
        for name, found in done.items():
            batch["request_counts"][name] = len({line["custom_id"] for line in found})
        if ending.fault:
            batch["errors"] = {"object": "list", "data": [{"message": ending.fault}]}
        kept = (("output_file_id", ending.output), ("error_file_id", ending.errors))
        for key, lines in kept:
            if lines:
                batch[key] = f"{batch['id']}-{key}"
                self.files[batch[key]] = b"".join(json.dumps(x).encode() + b"\n" for x in lines)
        good = {
            x["custom_id"]: x for x in ending.output if (x["response"] or {})["status_code"] == 200
        }
        self.billed.update(list(good))
        for line in good.values():
            self.tokens += sum(line["response"]["body"]["usage"].values())
