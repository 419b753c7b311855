"""Measuring how long code takes, on machines that other work slows down for moments."""

import time
from collections.abc import Callable, Sequence
from itertools import pairwise

TURNS = 25
BOUND = 3  # times as long for twice the work: more than double, less than four times
Run = Callable[[], object]


def spent(run: Run, turns: int = 5) -> float:
    """The milliseconds of processor time that *run* takes, the best of *turns*."""
    return min(_once(run) for _ in range(turns))


def growth(runs: Sequence[Run], *, least: float) -> float:
    """
    The most times as long that one of *runs* takes as the one before it, measured in turn.

    No run counts as less than *least* milliseconds, below which it is the clock that is measured.
    It is the best of five turns each; where that is not below BOUND, other work may have come
    between, so there are up to 25.
    """
    best = [float("inf")] * len(runs)
    found = float("inf")
    for turn in range(TURNS):
        best = [min(known, _once(run)) for known, run in zip(best, runs, strict=True)]
        found = max(longer / max(least, shorter) for shorter, longer in pairwise(best))
        if turn >= 4 and found < BOUND:
            break
    return found


def _once(run: Run) -> float:
    begun = time.thread_time()
    run()
    return 1000 * (time.thread_time() - begun)
