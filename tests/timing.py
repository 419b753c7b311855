"""Measuring how long code takes, on machines that other work slows down for moments."""

import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from statistics import median

TURNS = 5
PATIENCE = 5.0  # seconds in which a machine that is slowed down has to have a better moment
PAUSE = 0.02
BOUND = 3  # times as long for twice the work: more than double, less than four times
Run = Callable[[], object]


def spent(run: Run, *, below: float) -> float:
    """
    The milliseconds of processor time that *run* takes, the best of five turns.

    Where that is more than *below*, other work may have come between: then of all within PATIENCE.
    """
    best = float("inf")

    def turn() -> bool:
        nonlocal best
        best = min(best, once(run))
        return best <= below

    _repeat(turn)
    return best


def growth(runs: Sequence[Run], *, least: float) -> float:
    """
    The most times as long that one of *runs* takes as the one before it: the median of five turns.

    In a turn each runs once, so that a processor that changes its speed does so for all of them.
    No run counts as less than *least* milliseconds, below which it is the clock that is measured.
    Where the median is not below BOUND, other work may have come between: then it is that of all
    turns within PATIENCE.
    """
    ratios: list[list[float]] = [[] for _ in runs[1:]]

    def most() -> float:
        return max(median(known) for known in ratios)

    def turn() -> bool:
        times = [max(least, once(run)) for run in runs]
        for known, (shorter, longer) in zip(ratios, pairwise(times), strict=True):
            known.append(longer / shorter)
        return most() < BOUND

    _repeat(turn)
    return most()


def once(run: Run) -> float:
    """The milliseconds of processor time that *run* takes this time."""
    begun = time.thread_time()
    run()
    return 1000 * (time.thread_time() - begun)


def _repeat(turn: Callable[[], bool]) -> None:
    """Take five turns at once; then more with pauses, until one is true or PATIENCE is over."""
    until = time.monotonic() + PATIENCE
    good = [turn() for _ in range(TURNS)][-1]
    while not good and time.monotonic() < until:
        time.sleep(PAUSE)
        good = turn()
