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
    **dict.fromkeys(("prohibited_content", "refusal"), "content_filter"),
    **dict.fromkeys(("abort", "aborted", "cancelled", "canceled"), "error"),
    **dict.fromkeys(("insufficient_system_resource", "network_error", "server_error"), "error"),
}
FILTERED = frozenset(  # codes of an error that says that this one prompt is not answered
    {"contentfilter", "contentpolicyviolation", "responsibleaipolicyviolation", "invalidprompt"}
    | {"moderationblocked", "datainspectionfailed", "contentfiltered", "inputmoderationfailed"}
)


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
        return _failed(error, body, billed)
    choices = content.get("choices")
    if not isinstance(choices, list):
        return Reading("malformed", detail="no list of choices", **billed)
    if not choices:
        return _empty("no choices", billed, None)
    choice = choices[0]
    if not isinstance(choice, dict):
        return Reading("malformed", detail="the choice is no object", **billed)
    if choice.get("error"):
        return _failed(choice["error"], json.dumps(choice).encode(), billed)
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
        error = content.get("error") if isinstance(content, dict) else None
        if _is_filter(error):
            outcome = "filtered"
        elif outcome == "bad_request" and body.lstrip()[:1] == b"<":
            outcome, told = "server_error", f"{told}, a page in place of an answer"
    return Reading(outcome, detail=told, **billed)


def _error(content: dict[str, Any]) -> object:
    """The error that an answer with a good status carries; something false where it has none."""
    if content.get("object") == "error":  # as vLLM has it
        return {"message": content.get("message"), "code": content.get("code")}
    return content.get("error")


def _failed(error: object, body: bytes, billed: dict[str, Any]) -> Reading:
    """What an *error* within a good answer means: a failure on the way, or one that will stay."""
    told = f"error object{message_of(body)}"
    if _is_filter(error):
        return Reading("filtered", detail=told, **billed)
    code = error.get("code") if isinstance(error, dict) else None
    if isinstance(code, str) and code.isascii() and code.isdecimal():
        code = int(code[:3])
    outcome = outcome_of(code if type(code) is int and 400 <= code < 600 else 500, body)
    if b"insufficient_quota" in body[:65536]:
        outcome = "no_quota"
    return Reading(outcome if outcome in FATAL else "upstream_error", detail=told, **billed)


def _is_filter(error: object) -> bool:
    """Whether *error* says that a filter kept this one prompt from being answered."""
    if not isinstance(error, dict):
        return False
    inner, metadata = error.get("innererror"), error.get("metadata")
    codes = [error.get("code"), error.get("type")]
    codes += [inner.get("code")] if isinstance(inner, dict) else []
    flagged = isinstance(metadata, dict) and "flagged_input" in metadata
    return flagged or any(_plain(code) in FILTERED for code in codes)


def _plain(code: object) -> str:
    return re.sub("[^a-z]", "", code.lower()) if isinstance(code, str) else ""


def _looks(body: bytes) -> str:
    """What *body* is, which is no JSON, in words."""
    start = body.lstrip()[:9].lower()
    if not start:
        return "an empty body"
    if start.startswith((b"data:", b"event:")):
        return "a stream of events, which was not asked for"
    return "a page in place of an answer" if start.startswith(b"<") else "not JSON"


def _empty(told: str, billed: dict[str, Any], finish: str | None) -> Reading:
    """An answer without a text: a failure where no output is billed, else what the model gave."""
    output = billed["completion_tokens"]
    if output == 0 or (output is None and finish is None):
        return Reading(
            "upstream_error", detail=f"{told}, no output billed", finish_reason=finish, **billed
        )
    return Reading("refused", detail=told, finish_reason=finish, **billed)


def _finish(choice: dict[str, Any]) -> str | None:
    """Why the answer ended, by the usual name where the server has another."""
    finish = choice.get("finish_reason")
    return FINISHES.get(finish.lower(), finish) if isinstance(finish, str) else None


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
        return _empty("no content", billed, finish)
    if SURROGATE.search(text):
        return Reading("unwritable", detail="half of a surrogate pair in the text", **ended)
    return Reading("answered", text=text, **ended)


def _written(content: object) -> object:
    """The content of a message; of one in parts, the text of those that are text."""
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        return content
    texts = [part.get("text") for part in content if part.get("type") in ("text", "output_text")]
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
    """Read the message of the error object in *body*, after a colon; empty where there is none."""
    try:
        error = json.loads(body)["error"]
        told = error["message"] if isinstance(error, dict) else error
        return f": {' '.join(str(told).split())[:200]}"
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""


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
