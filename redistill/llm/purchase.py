"""How answers are bought from here: call by call, or in batches; no part of what is asked."""

import os
from dataclasses import dataclass
from typing import Literal, cast, get_args
from urllib.parse import urlsplit

from redistill.console.exceptions import CONFIG, RefusedError
from redistill.llm import budget
from redistill.llm.endpoint import number

MODE, WAIT = "REDISTILL_BATCH", "REDISTILL_BATCH_WAIT"
LINES, BYTES = "REDISTILL_BATCH_LINES", "REDISTILL_BATCH_BYTES"
SETTLED = "REDISTILL_BATCH_SETTLED"
Manner = Literal["api", "anthropic", "files"]
ANTHROPIC = "api.anthropic.com"  # the host whose batches are of its own kind


@dataclass(frozen=True)
class Terms:
    """
    Terms of buying in batches.

    A batch has at most *lines* requests in *size* bytes, as the server takes them. *wait* is the
    seconds between two looks at a batch at work, None where the run does not wait. After *settled*
    seconds a batch that was ordered is in the server's list, if the order has reached it.
    """

    lines: int
    size: int
    wait: float | None
    settled: float


def manner() -> Manner | None:
    """Read REDISTILL_BATCH: a manner, or unset for single calls; raises RefusedError (78)."""
    text = os.environ.get(MODE)
    if not text:
        return None
    if text not in get_args(Manner):
        raise RefusedError(
            f"{MODE}: expected api, anthropic or files, got {text!r}; unset it to ask call by call",
            code=CONFIG,
        )
    return cast(Manner, text)


def manner_at(address: str) -> Manner | None:
    """Say how answers are bought of the service at *address*: ``api`` is its own interface."""
    found = manner()
    if found == "api" and urlsplit(address).hostname == ANTHROPIC:
        return "anthropic"
    return found


def terms(manner: Manner) -> Terms:
    """Read the terms that the environment sets; raises RefusedError (78) for what is no number."""
    lines, size = (100_000, 256_000_000) if manner == "anthropic" else (50_000, 200_000_000)
    wait = number(WAIT, 0.0)
    return Terms(
        lines=int(max(1, number(LINES, lines))),
        size=int(number(BYTES, size)),
        wait=wait or None,
        settled=number(SETTLED, 60.0),
    )


def spending(settings: budget.SpendingSettings) -> budget.SpendingSettings:
    """Return *settings* with the prices that hold for how answers are bought from here."""
    return budget.in_batch(settings) if manner() else settings
