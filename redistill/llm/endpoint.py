"""How calls are made: their pace, their deadline, and how much of an answer is read."""

import email.utils
import math
import os
import random
import time
from dataclasses import dataclass

from redistill.console.exceptions import CONFIG, RefusedError

BODY, FILE = "REDISTILL_MAX_BODY", "REDISTILL_MAX_FILE"  # bytes


@dataclass(frozen=True)
class Policy:
    """
    How calls are made; it decides nothing about what is asked.

    *rate* is in calls a minute, *deadline* the seconds that one call may take in all, *attempts*
    how often it is tried, *backoff* the first wait in seconds, doubled each time up to *cap*,
    which holds for a server's Retry-After as well.
    """

    concurrency: int = 8
    rate: float | None = None
    deadline: float = 120.0
    attempts: int = 5
    backoff: float = 0.5
    cap: float = 60.0

    @property
    def drain(self) -> float:
        """Seconds that a stopped run waits for the calls in flight: each ends by its deadline."""
        return self.deadline + 5.0


@dataclass(frozen=True)
class Raw:
    """An HTTP answer as it came."""

    status: int
    body: bytes
    retry_after: str | None = None


def policy() -> Policy:
    """Read the policy that the environment asks for, see README; raises RefusedError (78)."""
    standard = Policy()
    rate = number("REDISTILL_RATE", 0.0)
    return Policy(
        concurrency=max(1, int(number("REDISTILL_CONCURRENCY", standard.concurrency))),
        rate=rate or None,
        deadline=number("REDISTILL_DEADLINE", standard.deadline),
        attempts=max(1, int(number("REDISTILL_ATTEMPTS", standard.attempts))),
        backoff=number("REDISTILL_BACKOFF", standard.backoff),
    )


def most_of_a_body() -> int:
    """Read how many bytes of an answer are read, and inflated, at most; raises as `number` does."""
    return int(number(BODY, 16_000_000))


def most_of_a_file() -> int:
    """Read how many bytes of a batch's output are read at most; raises as `number` does."""
    return int(number(FILE, 1_000_000_000, most=1e12))


def wait(retry_after: str | None, attempt: int, policy: Policy) -> float:
    """
    Choose the seconds until the next attempt.

    They are what the server asks for, else a jittered back-off.
    """
    wait = _seconds(retry_after) if retry_after else None
    if wait is not None:
        return min(wait, policy.cap)
    most = min(policy.cap, policy.backoff * 2**attempt)
    return random.uniform(most / 2, most)  # noqa: S311 - a wait, no secret


def _seconds(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        parsed = email.utils.parsedate_tz(text)
        if parsed is None:
            return None
        try:
            value = email.utils.mktime_tz(parsed) - time.time()
        except (ValueError, OverflowError):
            return None
    return value if math.isfinite(value) and value >= 0 else None


def number(name: str, otherwise: float, most: float = 1e9) -> float:
    """
    Read the number above 0 and below *most* in the environment variable *name*.

    Raises RefusedError (78) for other text.
    """
    text = os.environ.get(name)
    if not text:
        return otherwise
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < most:
        raise RefusedError(f"{name}: expected a number above 0, got {text!r}", code=CONFIG)
    return value
