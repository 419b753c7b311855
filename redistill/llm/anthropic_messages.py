"""A chat completion in the words of Anthropic's messages, and what came back in ours again."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from redistill.console.exceptions import CONFIG, RefusedError
from redistill.llm.request import LIMITS, Request

ORIGINAL = "anthropic"  # the field of a stored answer that holds it as it came
REDACTED = "[redacted]"  # stands for thoughts that the server does not show
SYSTEM = ("system", "developer")
SAME = ("top_p", "thinking")  # parameters that both interfaces at this host have by one name
FINISHES = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "pause_turn": "length",  # the answer is not whole
    "refusal": "content_filter",
    "tool_use": "tool_calls",
}
STATUSES = {  # of the answer that the live call would have had
    "invalid_request_error": 400,
    "request_too_large": 413,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "rate_limit_error": 429,
    "overloaded_error": 529,
}
NOT_RUN = {"expired": "batch_expired", "canceled": "batch_cancelled"}
PROMPT = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")


def params(request: Request) -> dict[str, Any]:
    """
    Say *request* as the parameters of a message.

    System turns, joined by line feeds, are the system prompt, as they are for the live call.
    Raises RefusedError (78) with the name of what a message cannot say: nothing is left out.
    """
    body = {name: value for name, value in request.body.items() if value is not None}
    content: dict[str, Any] = {
        "model": request.model,
        "max_tokens": _limit(body),
        **_turns(request.messages),
    }
    for name, value in body.items():
        if name in SAME:
            content[name] = value
        elif name == "temperature":
            content[name] = _temperature(value)
        elif name == "stop":
            content["stop_sequences"] = _stops(value)
        elif name not in LIMITS:
            _refuse(name, "a message has no such parameter")
    return content


def _limit(body: Mapping[str, Any]) -> int:
    found = {body[name] for name in LIMITS if name in body}
    if not found:
        _refuse(LIMITS[1], f"a message needs it (or {LIMITS[0]}), and the body has neither")
    if len(found) > 1:
        _refuse(LIMITS[1], f"it is not the same as {LIMITS[0]}, and a message has one limit")
    limit = found.pop()
    if type(limit) is not int:
        _refuse(LIMITS[1], f"{limit!r} is no whole number")
    return limit


def _turns(messages: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    for message in messages:
        unknown = sorted(set(message) - {"role", "content"})
        if unknown:
            _refuse(f"messages: {unknown[0]}", "a turn has a role and a content")
        if message["role"] not in (*SYSTEM, "user", "assistant"):
            _refuse(f"messages: the role {message['role']}", "a message has no such turn")
    system = [message["content"] for message in messages if message["role"] in SYSTEM]
    turns = [dict(message) for message in messages if message["role"] not in SYSTEM]
    return {"messages": turns} | ({"system": "\n".join(system)} if system else {})


def _temperature(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        _refuse("temperature", f"a message takes 0 to 1, not {value!r}")
    return value


def _stops(value: Any) -> list[str]:
    stops = value if isinstance(value, list) else [value]
    if not all(isinstance(stop, str) for stop in stops):
        _refuse("stop", f"{value!r} is no text, nor a list of texts")
    return stops


def _refuse(name: str, why: str) -> NoReturn:
    raise RefusedError(
        f"{name}: cannot be asked for in a batch of Anthropic's: {why}; change the teacher's "
        "section in params.yaml, or unset REDISTILL_BATCH to ask call by call",
        code=CONFIG,
    )


def key(text: bytes) -> str | None:
    """Read the ``custom_id`` of *text*, a line of a batch's results; None where it has none."""
    try:
        row = json.loads(text)
    except (ValueError, RecursionError):
        return None
    found = row.get("custom_id") if isinstance(row, dict) else None
    return found if isinstance(found, str) else None


def line(text: bytes) -> bytes:
    """
    Say *text*, a line of a batch's results, as `batch_file` reads an output.

    What has another shape is returned as it is: no answer is found in it.
    """
    try:
        row = json.loads(text)
        said = _said(row) if isinstance(row, dict) else None
        return text if said is None else json.dumps(said).encode()
    except (ValueError, RecursionError):
        return text


def _said(row: dict[str, Any]) -> dict[str, Any] | None:
    result = row.get("result")
    kind = result.get("type") if isinstance(result, dict) else None
    if not isinstance(result, dict) or not isinstance(kind, str):
        return None
    said = {"custom_id": row.get("custom_id"), "response": None, "error": None}
    if kind in NOT_RUN:
        return said | {"error": {"code": NOT_RUN[kind], "message": kind}}
    if kind == "errored":
        return said | {"response": _error(result)}
    body = completion(result.get("message")) if kind == "succeeded" else None
    return None if body is None else said | {"response": {"status_code": 200, "body": body}}


def _error(result: dict[str, Any]) -> dict[str, Any]:
    """The answer to a request that failed, which is not billed; a timeout, too, is an error."""
    told: Any = result
    while isinstance(told, dict) and isinstance(told.get("error"), dict):
        told = told["error"]  # one error stands within another
    kind = str(told.get("type")) if told is not result else "api_error"
    message = told.get("message") if told is not result else None
    error = {"type": kind, "message": f"{kind}: {message}"}
    return {"status_code": STATUSES.get(kind, 500), "body": {"error": error, ORIGINAL: result}}


def completion(message: object) -> dict[str, Any] | None:
    """
    Say *message*, an answer, as a chat completion that has it in a field of its own.

    The text is that of its text blocks; what it thought is ``reasoning_content``. None for what is
    no message.
    """
    blocks = message.get("content") if isinstance(message, dict) else None
    if not isinstance(message, dict) or not isinstance(blocks, list):
        return None
    if not all(isinstance(block, dict) for block in blocks):
        return None
    texts = [block.get("text") for block in blocks if block.get("type") == "text"]
    if not all(isinstance(text, str) for text in texts):
        return None
    said: dict[str, Any] = {"role": "assistant", "content": "".join(texts) if texts else None}
    if thoughts := [_thought(block) for block in blocks if "thinking" in str(block.get("type"))]:
        said["reasoning_content"] = "\n\n".join(thoughts)
    reason = message.get("stop_reason")
    choice = {"index": 0, "message": said, "finish_reason": FINISHES.get(str(reason), reason)}
    return {
        "id": message.get("id"),
        "object": "chat.completion",
        "model": message.get("model"),
        "choices": [choice],
        "usage": _usage(message.get("usage")),
        ORIGINAL: message,
    }


def _thought(block: dict[str, Any]) -> str:
    thought = block.get("thinking")
    return thought if isinstance(thought, str) and thought.strip() else REDACTED


def _usage(usage: object) -> dict[str, Any] | None:
    """The tokens as a completion has them: a cache's are part of the prompt."""
    if not isinstance(usage, dict):
        return None
    prompts = [usage[name] for name in PROMPT if usage.get(name) is not None]
    output, details = usage.get("output_tokens"), usage.get("output_tokens_details")
    if not all(type(count) is int for count in [*prompts, output]) or not prompts:
        return None
    said: dict[str, Any] = {"prompt_tokens": sum(prompts), "completion_tokens": output}
    thought = details.get("thinking_tokens") if isinstance(details, dict) else None
    if type(thought) is int:
        said["completion_tokens_details"] = {"reasoning_tokens": thought}
    return said
