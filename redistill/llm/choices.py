"""Several draws of one request in one call: ``n`` choices, each stored as an answer of its own."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from redistill.llm import response, usage
from redistill.llm.endpoint import Raw
from redistill.llm.request import Request
from redistill.llm.response import Reading


def together(requests: Iterable[Request]) -> list[list[Request]]:
    """Group the *requests* that differ in nothing but the draw, in the order of their firsts."""
    groups: dict[tuple[str, str], list[Request]] = {}
    for request in requests:
        groups.setdefault((replace(request, draw=0).key, request.problem), []).append(request)
    return list(groups.values())


def as_one(group: Sequence[Request]) -> Request:
    """Return the call that asks for all draws of *group*: with ``n`` where there are several."""
    if len(group) == 1:
        return group[0]
    return replace(group[0], body={**group[0].body, "n": len(group)})


def divided(raw: Raw, count: int) -> list[Raw | None]:
    """
    Divide the answer to a call for *count* draws into an answer for each; None: it has too few.

    The prompt's tokens, which are billed once, go to the first draw; the output's are shared
    evenly, since no server says how many each choice took. What is no answer is the same for all.
    """
    content = _content(raw)
    if count == 1 or content is None:
        return [raw] * count
    whole = response.read(raw.status, raw.body)
    choices = content["choices"][:count]
    answers: list[Raw | None] = []
    for place, choice in enumerate(choices):
        usage = _share(whole, place, len(choices))
        body = _text(content | {"choices": [choice], "usage": usage})
        answers.append(Raw(raw.status, body, raw.retry_after))
    return answers + [None] * (count - len(choices))


def _text(content: dict[str, Any]) -> bytes:
    """*content* as JSON; nothing, which is no answer, where it nests too deep to be written."""
    try:
        return json.dumps(content).encode()
    except RecursionError:
        return b""


def _content(raw: Raw) -> dict[str, Any] | None:
    """The completion in *raw*; None where it is none."""
    try:
        content = json.loads(raw.body)
    except (ValueError, RecursionError):
        return None
    if not response.succeeded(raw.status) or not isinstance(content, dict):
        return None
    if content.get("error"):
        return None
    choices = content.get("choices")
    return content if isinstance(choices, list) and choices else None


def _share(whole: Reading, place: int, parts: int) -> dict[str, int | bool] | None:
    """The tokens of the choice at *place* among *parts*, which add up to those of *whole*."""
    if whole.total_tokens is not None:
        return {"total_tokens": _part(whole.total_tokens, place, parts)}
    told: dict[str, int | bool] = {}
    if whole.prompt_tokens is not None:
        told = {"prompt_tokens": 0, usage.SHARED: True} if place else {}
        told = told or {"prompt_tokens": whole.prompt_tokens}
    if whole.completion_tokens is not None:
        output = _part(whole.completion_tokens, place, parts)
        told["completion_tokens"] = _part(
            whole.completion_tokens - whole.hidden_tokens, place, parts
        )
        if whole.prompt_tokens is not None:
            told["total_tokens"] = int(told["prompt_tokens"]) + output
    return told or None


def _part(total: int, place: int, parts: int) -> int:
    return total // parts + (place < total % parts)
