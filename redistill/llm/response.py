"""What came back from a chat endpoint: its shape checked here, whatever the SDK makes of it."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from redistill.llm.thought_tags import outside

Outcome = Literal[
    "answered", "truncated", "refused", "filtered", "only_reasoning", "malformed",
    "bad_request", "no_permission", "no_quota", "rate_limited", "server_error", "redirected",
    "timeout", "no_connection", "lost", "unserved",
]  # fmt: skip

GAVE_UP = (408, 504, 522, 524)  # somebody on the way stopped waiting; it may be billed
OUTCOMES = get_args(Outcome)
SURROGATE = re.compile("[\ud800-\udfff]")  # half of a pair: no text that can be written
MAX_COUNT = 10**9  # tokens; more in one answer are no count of anything
FINAL = (  # paid for and kept: never asked again
    *("answered", "truncated", "refused", "filtered", "only_reasoning"),
)
THOUGHTS = ("reasoning_content", "reasoning")  # fields of a message that servers put thoughts into
FATAL = ("no_permission", "no_quota", "redirected")  # cannot succeed for any other request either
RETRIED = ("rate_limited", "server_error", "timeout", "no_connection", "malformed", "unserved")
MAYBE_BILLED = ("malformed", "timeout", "no_connection", "lost")  # reserved cost stays counted
STANDING = ("bad_request", "malformed")  # what more than one batch found stands for an answer


@dataclass(frozen=True)
class Reading:
    """
    A response as it was understood; *text* of a chat only where the outcome is ``answered``.

    The text is what stands outside thoughts; *thoughts* says where there were some (empty: none
    were seen). *completion_tokens* has all that is billed as output; *hidden_tokens* of them stand
    beside what the server calls completion tokens, and so beyond the output limit.
    """

    outcome: Outcome
    text: str = ""
    detail: str = ""
    finish_reason: str | None = None
    model: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    hidden_tokens: int = 0
    thoughts: str = ""


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
        return Reading(outcome_of(status, body), detail=f"HTTP {status}{message_of(body)}")
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as problem:
        return Reading("malformed", detail=f"not JSON ({problem})")
    if not isinstance(content, dict):
        return Reading("malformed", detail="not a JSON object")
    if content.get("error"):
        return Reading("malformed", detail=f"error object{message_of(body)}")
    choices = content.get("choices")
    if not isinstance(choices, list):
        return Reading("malformed", detail="no list of choices")
    usage: dict[str, Any] = {
        "model": content["model"] if isinstance(content.get("model"), str) else None,
        "prompt_tokens": _count(content, "prompt_tokens"),
        **_completion_tokens(content),
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
    written = _written(message.get("content"))
    text = outside(written) if isinstance(written, str) else written
    usage["thoughts"] = thoughts = _thoughts(message, written, text)
    if finish == "content_filter":
        return Reading("filtered", detail="content filter", finish_reason=finish, **usage)
    if message.get("refusal"):
        told = str(message["refusal"])[:200]
        return Reading("refused", detail=told, finish_reason=finish, **usage)
    if text is not None and not isinstance(text, str):
        return Reading("malformed", detail="the content is no text", finish_reason=finish)
    if finish == "length":
        where = f", spent on thoughts in {thoughts}" if thoughts else ""
        return Reading("truncated", detail=f"output limit{where}", finish_reason=finish, **usage)
    if not text or not text.strip():
        if thoughts:
            told = f"there is text in {thoughts} only"
            return Reading("only_reasoning", detail=told, finish_reason=finish, **usage)
        return Reading("refused", detail="no content", finish_reason=finish, **usage)
    if SURROGATE.search(text):
        return Reading("malformed", detail="half of a surrogate pair", finish_reason=finish)
    return Reading("answered", text=text, finish_reason=finish, **usage)


def _written(content: object) -> object:
    """The content of a message; of one in parts, the text of those that are text."""
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        return content
    texts = [part.get("text") for part in content if part.get("type") == "text"]
    return "".join(texts) if all(isinstance(text, str) for text in texts) else content


def _thoughts(message: dict[str, Any], written: object, text: object) -> str:
    """Where *message* has thoughts, in words; empty where it has none."""
    for name in THOUGHTS:
        if isinstance(message.get(name), str) and message[name].strip():
            return name
    if isinstance(written, str) and written != text:
        return "<think> of the content"
    return "parts of the content" if isinstance(message.get("content"), list) and not text else ""


def outcome_of(status: int, body: bytes) -> Outcome:
    """Say what became of a call that was answered with *status*, not 200, and *body*."""
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


def message_of(body: bytes) -> str:
    """Read the message of the error object in *body*, after a colon; empty where there is none."""
    try:
        error = json.loads(body)["error"]
        told = error["message"] if isinstance(error, dict) else error
        return f": {' '.join(str(told).split())[:200]}"
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""


def _completion_tokens(content: dict[str, Any]) -> dict[str, int | None]:
    """
    The output that *content* says is billed, and how much of it is beside the completion tokens.

    Some servers count reasoning tokens within the completion tokens, others beside them: the larger
    of what the fields come to is taken.
    """
    visible, prompt = _count(content, "completion_tokens"), _count(content, "prompt_tokens")
    if visible is None or prompt is None:
        return {"completion_tokens": visible}
    usage = content["usage"]
    thought = _count({"usage": usage.get("completion_tokens_details")}, "reasoning_tokens") or 0
    total = _count(content, "total_tokens") or 0
    apart = visible + thought if thought > visible else visible
    whole = min(max(visible, apart, total - prompt), MAX_COUNT)
    return {"completion_tokens": whole, "hidden_tokens": whole - visible}


def _count(content: dict[str, Any], name: str) -> int | None:
    usage = content.get("usage")
    value = usage.get(name) if isinstance(usage, dict) else None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_COUNT:
        return None
    return value


def _clean(text: str) -> str:
    """*text* as it can be written anywhere, and no longer than a line."""
    return SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text)[:300]
