"""What came back from a chat endpoint: its shape checked here, whatever the SDK makes of it."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from redistill.llm import usage
from redistill.llm.thought_tags import outside
from redistill.llm.usage import Usage

Outcome = Literal[
    "answered", "truncated", "refused", "filtered", "only_reasoning", "unwritable",
    "malformed", "upstream_error", "bad_request", "no_permission", "no_quota", "rate_limited",
    "server_error", "redirected", "timeout", "no_connection", "lost", "unserved",
]  # fmt: skip

GAVE_UP = (408, 504, 522, 524)  # somebody on the way stopped waiting; it may be billed
OUTCOMES = get_args(Outcome)
MAX_DEPTH = 5  # of errors within errors
SHORT = 500  # bytes of a text that is a message, and no page
SURROGATE = re.compile("[\ud800-\udfff]")  # half of a pair: no text that can be written
FINAL = (  # whole answers, paid for and kept: never asked again
    *("answered", "truncated", "refused", "filtered", "only_reasoning", "unwritable"),
)
THOUGHTS = (  # fields of a message that servers put thoughts into, as a text or in parts
    *("reasoning_content", "reasoning", "reasoning_text", "reasoning_details"),
    *("thinking", "thoughts"),
)
FATAL = ("no_permission", "no_quota", "redirected")  # cannot succeed for any other request either
RETRIED = (  # failures on the way: asked again, and no stage ends well with one
    *("rate_limited", "server_error", "timeout", "no_connection"),
    *("malformed", "upstream_error", "unserved"),
)
MAYBE_BILLED = (  # reserved cost stays counted
    *("malformed", "upstream_error", "timeout", "no_connection", "lost"),
)
STANDING = ("bad_request",)  # what more than one batch found stands for an answer
FINISHES = {  # what servers call the end of an answer that is not simply its end, in lower case
    **dict.fromkeys(("max_tokens", "model_length", "model_context_window_exceeded"), "length"),
    **dict.fromkeys(("content_filtered", "guardrail_intervened", "sensitive"), "content_filter"),
    **dict.fromkeys(("safety", "recitation", "blocklist", "spii"), "content_filter"),
    **dict.fromkeys(("prohibited_content", "refusal", "error_toxic"), "content_filter"),
    **dict.fromkeys(("abort", "aborted", "cancelled", "canceled", "failed", "timeout"), "error"),
    **dict.fromkeys(("insufficient_system_resource", "network_error", "server_error"), "error"),
    **dict.fromkeys(("error_limit", "internal_error", "overloaded", "malformed_response"), "error"),
}
FILTER = re.compile(  # codes, without all but letters, of an error that is about this one prompt
    "contentfilter|contentpolicy|contentmanagement|responsibleai|moderation|datainspection"
    "|invalidprompt|guardrail|safetyviolation|promptblocked|sensitiveword"
)
FILTERED = "content management policy"  # what Azure says where it names no code
ON_THE_WAY = (421, 423, 424, 425, 499)  # of a gateway: the request never came to be judged
TELLING = ("message", "detail", "error_msg", "msg", "errors", "error", "description", "title")


@dataclass(frozen=True)
class Reading:
    """
    A response as it was understood; *text* of a chat only where the outcome is ``answered``.

    The text is what stands outside thoughts; *thoughts* says where there were some (empty: none
    were seen). Tokens are as `usage.Usage` has them.
    """

    outcome: Outcome
    text: str = ""
    detail: str = ""
    finish_reason: str | None = None
    model: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    hidden_tokens: int = 0
    total_tokens: int | None = None
    counted_by: str = ""
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
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as problem:
        if succeeded(status):
            return Reading("malformed", detail=f"{_looks(body)} ({problem})")
        content = None
    if not succeeded(status):
        return _refused(status, body, content)
    if not isinstance(content, dict):
        return Reading("malformed", detail="not a JSON object")
    billed = _billed(content) | {
        "model": content["model"] if isinstance(content.get("model"), str) else None
    }
    if error := _error(content):
        return _failed(error, content, body, billed)
    choices = content.get("choices")
    if not isinstance(choices, list):
        return Reading("malformed", detail="no list of choices", **billed)
    if not choices:
        return Reading("upstream_error", detail="no choices", **billed)
    choice = choices[0]
    if not isinstance(choice, dict):
        return Reading("malformed", detail="the choice is no object", **billed)
    if choice.get("error"):
        return _failed(choice["error"], choice, json.dumps(choice).encode(), billed)
    return understood(choice, billed)


def succeeded(status: int) -> bool:
    """Say whether *status* is one of those that come with an answer."""
    return 200 <= status < 300


def _refused(status: int, body: bytes, content: object) -> Reading:
    """An answer with a *status* that is no success."""
    billed = _billed(content) if isinstance(content, dict) else {}
    outcome = outcome_of(status, body)
    told = f"HTTP {status}{message_of(body)}"
    if outcome in ("bad_request", "no_permission"):
        if _is_filter(content):
            outcome = "filtered"
        elif outcome == "bad_request" and (status in ON_THE_WAY or not _message(content)):
            outcome, told = "server_error", f"{told}, which is no error of the interface"
    return Reading(outcome, detail=told, **billed)


def _error(content: dict[str, Any]) -> object:
    """The error that an answer with a good status carries; something false where it has none."""
    if content.get("error"):
        return content["error"]
    bare = "choices" not in content and any(content.get(name) for name in TELLING)
    return content if bare or content.get("object") == "error" else None


def _failed(error: object, where: dict[str, Any], body: bytes, billed: dict[str, Any]) -> Reading:
    """What an *error* that stands *where* means: a failure on the way, or one that will stay."""
    told = f"error object{_behind_colon(_message(where))}"
    if _is_filter(error):
        return Reading("filtered", detail=told, **billed)
    code = error.get("code") if isinstance(error, dict) else None
    if isinstance(code, str) and code.isascii() and code.isdecimal():
        code = int(code[:3])
    outcome = outcome_of(code if type(code) is int and 400 <= code < 600 else 500, body)
    if b"insufficient_quota" in body[:65536]:
        outcome = "no_quota"
    return Reading(outcome if outcome in FATAL else "upstream_error", detail=told, **billed)


def _is_filter(error: object, depth: int = 0) -> bool:
    """Whether *error* says, at whatever depth, that a filter kept this prompt from an answer."""
    if isinstance(error, list):
        return any(_is_filter(inner, depth + 1) for inner in error[:10])
    if not isinstance(error, dict) or depth > MAX_DEPTH:
        return False
    codes = [error.get(name) for name in ("code", "type", "status", "reason")]
    if any(FILTER.search(re.sub("[^a-z]", "", c.lower())) for c in codes if isinstance(c, str)):
        return True
    message = error.get("message")
    if "flagged_input" in error or (isinstance(message, str) and FILTERED in message):
        return True
    inner = (value for name, value in error.items() if name not in ("usage", "choices"))
    return any(_is_filter(v, depth + 1) for v in inner if isinstance(v, dict | list))


def _looks(body: bytes) -> str:
    """What *body* is, which is no JSON, in words."""
    start = body.lstrip()[:9].lower()
    if not start:
        return "an empty body"
    if start.startswith((b"data:", b"event:")):
        return "a stream of events, which was not asked for"
    return "a page in place of an answer" if start.startswith(b"<") else "not JSON"


def _finish(choice: dict[str, Any]) -> str | None:
    """Why the answer ended, by the usual name where the server has another."""
    finish = choice.get("finish_reason")
    if not isinstance(finish, str):
        return None
    low = finish.lower()
    return FINISHES.get(low, "error" if low.startswith("error") else low)


def _completion(choice: dict[str, Any], billed: dict[str, Any]) -> Reading:
    text, finish = choice.get("text"), _finish(choice)
    if not isinstance(text, str):
        return Reading("malformed", detail="the choice has no text", **billed)
    if SURROGATE.search(text):
        return Reading("malformed", detail="half of a surrogate pair", **billed)
    if finish not in ("stop", "length"):
        told = f"finish_reason {choice.get('finish_reason')!r}"[:200]
        return Reading("malformed", detail=told, **billed)
    outcome: Outcome = "answered" if finish == "stop" else "truncated"
    return Reading(outcome, text=text, finish_reason=finish, **billed)


def _choice(choice: dict[str, Any], billed: dict[str, Any]) -> Reading:
    message, finish = choice.get("message"), _finish(choice)
    if finish == "error":
        told = f"finish_reason {choice['finish_reason']}"
        return Reading("upstream_error", detail=told, finish_reason=finish, **billed)
    if not isinstance(message, dict):
        return Reading("malformed", detail="the choice has no message", **billed)
    written = _written(message.get("content"))
    text = outside(written) if isinstance(written, str) else written
    thoughts = _thoughts(message, written, text)
    ended: dict[str, Any] = billed | {"finish_reason": finish, "thoughts": thoughts}
    if finish == "content_filter":
        return Reading("filtered", detail="content filter", **ended)
    if message.get("refusal"):
        return Reading("refused", detail=str(message["refusal"])[:200], **ended)
    if text is not None and not isinstance(text, str):
        return Reading("malformed", detail="the content is no text", **ended)
    if finish == "length":
        where = f", spent on thoughts in {thoughts}" if thoughts else ""
        return Reading("truncated", detail=f"output limit{where}", **ended)
    if not text or not text.strip():
        if thoughts:
            return Reading("only_reasoning", detail=f"there is text in {thoughts} only", **ended)
        if not billed["completion_tokens"]:
            return Reading("upstream_error", detail="no content, no output billed", **ended)
        return Reading("refused", detail="no content", **ended)
    if SURROGATE.search(text):
        return Reading("unwritable", detail="half of a surrogate pair in the text", **ended)
    return Reading("answered", text=text, **ended)


def _written(content: object) -> object:
    """The content of a message; of one in parts, the text of those that are text."""
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        return content
    kinds = ("text", "output_text", None)  # a part without a type is one of text
    texts = [p["text"] for p in content if p.get("type") in kinds and "text" in p]
    return "".join(texts) if all(isinstance(text, str) for text in texts) else content


def _thoughts(message: dict[str, Any], written: object, text: object) -> str:
    """Where *message* has thoughts, in words; empty where it has none."""
    for name in THOUGHTS:
        found = message.get(name)
        if found.strip() if isinstance(found, str) else isinstance(found, list | dict) and found:
            return name
    if isinstance(written, str) and written != text:
        return "marked thoughts of the content"
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
    """
    Read what *body* says of an error, after a colon; empty where it says nothing.

    It may be JSON of any of the usual shapes, or a short text.
    """
    try:
        told = _message(json.loads(body))
    except (ValueError, RecursionError):
        plain = body[:1] != b"<" and len(body) < SHORT
        told = body.decode("utf-8", "replace") if plain else ""
    return _behind_colon(told)


def _behind_colon(told: str) -> str:
    line = " ".join(told.split())[:200]
    return f": {line}" if line else ""


def _message(content: object, depth: int = 0) -> str:
    """The first message within *content*, which may be an error, or hold or list some."""
    if isinstance(content, str) or depth > MAX_DEPTH:
        return content if isinstance(content, str) else ""
    if isinstance(content, list):
        return next(filter(None, (_message(inner, depth + 1) for inner in content[:10])), "")
    if not isinstance(content, dict):
        return ""
    names = ("error", *TELLING) if depth == 0 else TELLING
    return next(filter(None, (_message(content.get(name), depth + 1) for name in names)), "")


def _billed(content: dict[str, Any]) -> dict[str, Any]:
    """The tokens that *content* is billed at, as fields of a reading."""
    found: Usage = usage.read(content)
    return {
        "prompt_tokens": found.prompt,
        "completion_tokens": found.completion,
        "hidden_tokens": found.hidden,
        "total_tokens": found.total,
        "counted_by": found.source,
    }


def _clean(text: str) -> str:
    """*text* as it can be written anywhere, and no longer than a line."""
    return SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text)[:300]
