"""Measuring how long code takes, on machines that other work slows down for moments."""

import time
from collections.abc import Callable, Sequence

TURNS = 25
Run = Callable[[], object]


def spent(run: Run, turns: int = 5) -> float:
    """The milliseconds of processor time that *run* takes, the best of *turns*."""
    return min(_once(run) for _ in range(turns))


def in_turn(runs: Sequence[Run], done: Callable[[list[float]], bool]) -> list[float]:
    """
    The milliseconds of each of *runs*, measured in turn: the best of five turns.

    Where *done* does not hold of them, other work may have come between, so there are up to 25.
    """
    best = [float("inf")] * len(runs)
    for turn in range(TURNS):
        best = [min(least, _once(run)) for least, run in zip(best, runs, strict=True)]
        if turn >= 4 and done(best):
            break
    return best


def _once(run: Run) -> float:
    begun = time.thread_time()
    run()
    return 1000 * (time.thread_time() - begun)
