"""How answers are bought from here: call by call, or in batches; no part of what is asked."""

import os
from dataclasses import dataclass
from typing import Literal, cast

from redistill.console.exceptions import CONFIG, RefusedError
from redistill.llm import budget
from redistill.llm.endpoint import number

MODE, WAIT = "REDISTILL_BATCH", "REDISTILL_BATCH_WAIT"
LINES, BYTES = "REDISTILL_BATCH_LINES", "REDISTILL_BATCH_BYTES"
SETTLED = "REDISTILL_BATCH_SETTLED"
Manner = Literal["api", "files"]


@dataclass(frozen=True)
class Terms:
    """
    Terms of buying in batches.

    A batch has at most *lines* requests in *size* bytes, as OpenAI takes them. *wait* is the
    seconds between two looks at a batch at work, None where the run does not wait. After *settled*
    seconds a batch that was ordered is in the server's list, if the order has reached it.
    """

    lines: int = 50_000
    size: int = 200_000_000
    wait: float | None = None
    settled: float = 60.0


def manner() -> Manner | None:
    """Read REDISTILL_BATCH: ``api``, ``files``, or unset for single calls; raises RefusedError."""
    text = os.environ.get(MODE)
    if not text:
        return None
    if text not in ("api", "files"):
        raise RefusedError(
            f"{MODE}: expected api or files, got {text!r}; unset it to ask call by call",
            code=CONFIG,
        )
    return cast(Manner, text)


def terms() -> Terms:
    """Read the terms that the environment sets; raises RefusedError (78) for what is no number."""
    standard = Terms()
    wait = number(WAIT, 0.0)
    return Terms(
        lines=int(max(1, number(LINES, standard.lines))),
        size=int(number(BYTES, standard.size)),
        wait=wait or None,
        settled=number(SETTLED, standard.settled),
    )


def spending(settings: budget.SpendingSettings) -> budget.SpendingSettings:
    """Return *settings* with the prices that hold for how answers are bought from here."""
    return budget.in_batch(settings) if manner() else settings
