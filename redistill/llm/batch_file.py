"""The files of a batch: a request a line, and an answer a line, as OpenAI and vLLM have them."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from redistill.console.exceptions import CONFIG, RefusedError
from redistill.llm import response
from redistill.llm.endpoint import Raw
from redistill.llm.request import Request
from redistill.llm.response import FINAL, Reading

URL = "/v1/chat/completions"
NOT_RUN = ("batch_expired", "batch_cancelled")  # codes of requests that the batch did not get to


@dataclass(frozen=True)
class Line:
    """
    Line *number* of an output: what came back for the request *key*, raw and as it is read.

    *identity* tells it from every other line, of whatever batch: it is the SHA-256 of all that the
    line holds, and empty where that has no id of its own.
    """

    number: int
    key: str
    raw: Raw
    reading: Reading
    identity: str = ""


class Unread(str):
    """The fault of a line that does not even tell whose answer it is."""


def line(request: Request) -> bytes:
    """Write *request* as one line; its key is the ``custom_id`` that the answer comes back with."""
    content = {
        "custom_id": request.key,
        "method": "POST",
        "url": URL,
        "body": request.content,
    }
    return json.dumps(content, ensure_ascii=True, allow_nan=False).encode("ascii") + b"\n"


def split(requests: Sequence[Request], lines: int, size: int) -> list[list[Request]]:
    """
    Split *requests* into parts of at most *lines* lines and *size* bytes, in their order.

    Raises RefusedError (78) for one that alone is larger.
    """
    parts: list[list[Request]] = []
    room = 0
    for request in requests:
        needed = len(line(request))
        if needed > size:
            raise RefusedError(
                f"the request for {request.problem} takes {needed} bytes, and a batch {size}",
                code=CONFIG,
            )
        if not parts or len(parts[-1]) >= lines or needed > room:
            parts.append([])
            room = size
        parts[-1].append(request)
        room -= needed
    return parts


def is_output(first: bytes) -> bool:
    """Say whether *first*, the first line of a file, is that of a batch's output."""
    try:
        row = json.loads(first)
    except (ValueError, RecursionError):
        return False
    return isinstance(row, dict) and "custom_id" in row


def outputs(content: Iterable[bytes]) -> Iterator[tuple[int, Line | str]]:
    """
    Read an output line by line, with its number; what is no answer is the fault, in words.

    It is `Unread` where it is of no line of an output at all.
    """
    for number, text in enumerate(content, 1):
        if text.strip():
            yield number, _line(number, text)


def first_good(lines: Iterable[Line]) -> tuple[list[Line], int]:
    """
    Choose a line for each key: the first answer, else the first failure.

    Returns those lines, and how many further answers there were.
    """
    chosen: dict[str, Line] = {}
    repeated = 0
    for found in lines:
        before = chosen.get(found.key)
        good = found.reading.outcome in FINAL
        if before is None or (good and before.reading.outcome not in FINAL):
            chosen[found.key] = found
        else:
            repeated += good
    return list(chosen.values()), repeated


def _line(number: int, text: bytes) -> Line | str:
    try:
        row = json.loads(text)
    except (ValueError, RecursionError) as problem:
        return Unread(f"not JSON ({problem})")
    if not isinstance(row, dict) or not isinstance(row.get("custom_id"), str):
        return Unread("no custom_id")
    answer, error = row.get("response"), row.get("error")
    if answer is not None and not isinstance(answer, dict):
        return "the response is no object"
    if answer is None and not error:
        return "neither a response nor an error"
    try:
        found = _failure(answer, error) if error else _answer(answer or {})
        identity = _identity(row)
    except RecursionError:
        return "nested too deep"
    return found if isinstance(found, str) else Line(number, row["custom_id"], *found, identity)


def _identity(row: dict[str, Any]) -> str:
    ids = (row.get("id"), (row.get("response") or {}).get("request_id"))
    if not any(isinstance(name, str) and name for name in ids):
        return ""
    return hashlib.sha256(json.dumps(row, sort_keys=True).encode()).hexdigest()


def _failure(answer: dict[str, Any] | None, error: object) -> tuple[Raw, Reading]:
    """A line with an error: of a request that was refused, or that nobody came to run."""
    told = error
    while isinstance(told, dict) and isinstance(told.get("error"), dict):
        told = told["error"]  # vLLM has its error object within another
    code = told.get("code") if isinstance(told, dict) else None
    message = told.get("message") if isinstance(told, dict) else told
    status = (answer or {}).get("status_code")
    if type(status) is not int or not 300 <= status < 600:
        status = 500
    body = json.dumps({"error": {"code": code, "message": message}}).encode()
    if answer is None and code in NOT_RUN:
        return Raw(status, body), Reading("unserved", detail=str(code))
    return Raw(status, body), response.read(status, body)


def _answer(answer: dict[str, Any]) -> tuple[Raw, Reading] | str:
    status, body = answer.get("status_code", 200), answer.get("body")
    if body is None and "choices" in answer:  # the first versions of vllm run-batch
        body = answer
    if type(status) is not int or not 100 <= status < 600:
        return "status_code is no HTTP status"
    if response.succeeded(status) and not isinstance(body, dict):
        return "the body is no object"
    raw = Raw(status, json.dumps(body).encode())
    return raw, response.read(status, raw.body)
