"""What came back from a chat endpoint: its shape checked here, whatever the SDK makes of it."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

Outcome = Literal[
    "answered", "truncated", "refused", "filtered", "malformed",
    "bad_request", "no_permission", "no_quota", "rate_limited", "server_error", "redirected",
    "timeout", "no_connection", "lost", "unserved",
]  # fmt: skip

GAVE_UP = (408, 504, 522, 524)  # somebody on the way stopped waiting; it may be billed
OUTCOMES = get_args(Outcome)
SURROGATE = re.compile("[\ud800-\udfff]")  # half of a pair: no text that can be written
MAX_COUNT = 10**9  # tokens; more in one answer are no count of anything
FINAL = ("answered", "truncated", "refused", "filtered")  # paid for and kept: never asked again
FATAL = ("no_permission", "no_quota", "redirected")  # cannot succeed for any other request either
RETRIED = ("rate_limited", "server_error", "timeout", "no_connection", "malformed")
MAYBE_BILLED = ("malformed", "timeout", "no_connection", "lost")  # reserved cost stays counted
STANDING = ("bad_request", "malformed")  # what more than one batch found stands for an answer


@dataclass(frozen=True)
class Reading:
    """A response as it was understood; *text* of a chat only where the outcome is ``answered``."""

    outcome: Outcome
    text: str = ""
    detail: str = ""
    finish_reason: str | None = None
    model: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


def read(status: int, body: bytes) -> Reading:
    """Understand the raw *body* of a chat answer with *status*; never raises."""
    return _cleaned(_read(status, body, _choice))


def read_completion(status: int, body: bytes) -> Reading:
    """
    Understand an answer of ``/completions``, as `read` does one of a chat.

    Here a *truncated* answer has its text, too.
    """
    return _cleaned(_read(status, body, _completion))


def _cleaned(found: Reading) -> Reading:
    return replace(
        found,
        detail=_clean(found.detail),
        finish_reason=found.finish_reason and _clean(found.finish_reason),
        model=found.model and _clean(found.model),
    )


def _read(
    status: int, body: bytes, understood: Callable[[dict[str, Any], dict[str, Any]], Reading]
) -> Reading:
    if status != 200:
        return Reading(_of_status(status, body), detail=f"HTTP {status}{_message(body)}")
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as problem:
        return Reading("malformed", detail=f"not JSON ({problem})")
    if not isinstance(content, dict):
        return Reading("malformed", detail="not a JSON object")
    if content.get("error"):
        return Reading("malformed", detail=f"error object{_message(body)}")
    choices = content.get("choices")
    if not isinstance(choices, list):
        return Reading("malformed", detail="no list of choices")
    usage: dict[str, Any] = {
        "model": content["model"] if isinstance(content.get("model"), str) else None,
        "prompt_tokens": _count(content, "prompt_tokens"),
        "completion_tokens": _count(content, "completion_tokens"),
    }
    if not choices:
        return Reading("refused", detail="no choices", **usage)
    choice = choices[0]
    if not isinstance(choice, dict):
        return Reading("malformed", detail="the choice is no object")
    return understood(choice, usage)


def _completion(choice: dict[str, Any], usage: dict[str, Any]) -> Reading:
    text, finish = choice.get("text"), choice.get("finish_reason")
    if not isinstance(text, str):
        return Reading("malformed", detail="the choice has no text")
    if SURROGATE.search(text):
        return Reading("malformed", detail="half of a surrogate pair")
    if finish not in ("stop", "length"):
        return Reading("malformed", detail=f"finish_reason {finish!r}"[:200])
    outcome: Outcome = "answered" if finish == "stop" else "truncated"
    return Reading(outcome, text=text, finish_reason=finish, **usage)


def _choice(choice: dict[str, Any], usage: dict[str, Any]) -> Reading:
    if not isinstance(choice.get("message"), dict):
        return Reading("malformed", detail="the choice has no message")
    message, finish = choice["message"], choice.get("finish_reason")
    finish = finish if isinstance(finish, str) else None
    text = message.get("content")
    if finish == "content_filter":
        return Reading("filtered", detail="content filter", finish_reason=finish, **usage)
    if message.get("refusal"):
        told = str(message["refusal"])[:200]
        return Reading("refused", detail=told, finish_reason=finish, **usage)
    if text is not None and not isinstance(text, str):
        return Reading("malformed", detail="the content is no text", finish_reason=finish)
    if finish == "length":
        return Reading("truncated", detail="output limit", finish_reason=finish, **usage)
    if not text or not text.strip():
        return Reading("refused", detail="no content", finish_reason=finish, **usage)
    if SURROGATE.search(text):
        return Reading("malformed", detail="half of a surrogate pair", finish_reason=finish)
    return Reading("answered", text=text, finish_reason=finish, **usage)


def _of_status(status: int, body: bytes) -> Outcome:
    if status in (401, 403, 404):
        return "no_permission"
    if status == 402 or (status == 429 and b"insufficient_quota" in body[:65536]):
        return "no_quota"
    if status in GAVE_UP:
        return "timeout"
    if status in (409, 429):
        return "rate_limited"
    if 300 <= status < 400:
        return "redirected"
    return "server_error" if status >= 500 else "bad_request"


def _message(body: bytes) -> str:
    try:
        error = json.loads(body)["error"]
        told = error["message"] if isinstance(error, dict) else error
        return f": {' '.join(str(told).split())[:200]}"
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""


def _count(content: dict[str, Any], name: str) -> int | None:
    usage = content.get("usage")
    value = usage.get(name) if isinstance(usage, dict) else None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_COUNT:
        return None
    return value


def _clean(text: str) -> str:
    """*text* as it can be written anywhere, and no longer than a line."""
    return SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text)[:300]
