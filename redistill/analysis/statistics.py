"""What a difference between branches is worth: intervals, power, many tests, several seeds."""

import math
from collections.abc import Sequence
from functools import lru_cache
from statistics import fmean, stdev

import numpy as np
from numpy.typing import NDArray

from redistill.analysis.figures import Figures

ALPHA = 0.05  # below which p counts
POWER = 0.8  # how often the smallest detectable effect is to be detected
LEVEL = 0.95  # of every interval
DRAWS = 10_000  # resamples of the bootstrap
SEED = 0  # of the bootstrap: the same predictions give the same interval

Integers = NDArray[np.int64]


def bootstrap(fixed: int, broken: int, n: int, *, draws: int = DRAWS, seed: int = SEED) -> tuple[
    float, float
]:  # fmt: skip
    """
    Compute the 95 % percentile interval of the paired bootstrap for a gain (fixed - broken) / n.

    *n* items are drawn again with replacement, each with both of its verdicts (Efron and
    Tibshirani 1993, chapter 13). An item counts +1, -1 or 0, so a resample is a multinomial draw
    of how many items of each kind there are, and all *draws* are made at once. (0, 0) where no item
    changed or there is none.
    """
    if n == 0:
        return 0.0, 0.0
    shares = np.array([fixed, broken, n - fixed - broken]) / n
    counts = np.random.default_rng(seed).multinomial(n, shares, size=draws)
    gains = (counts[:, 0] - counts[:, 1]) / n
    low, high = np.quantile(gains, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def item_variance(fixed: int, broken: int, n: int) -> float:
    """
    Compute the variance over items of what an item gains (+1, 0 or -1).

    Over *n* it is the square of the standard error that the choice of the items gives the gain
    (Miller 2024, arXiv 2411.00640).
    """
    gain = (fixed - broken) / n if n else 0.0
    return (fixed + broken) / n - gain * gain if n else 0.0


def relative(k: int, against: int) -> float | None:
    """Return the gain from *against* to *k* items in percent of *against*; None where that is 0."""
    return 100 * (k - against) / against if against else None


def holm(p_values: Sequence[float]) -> list[float]:
    """
    Return the p-values corrected by Holm's step-down procedure (1979), in the order they came.

    Rejecting those below alpha errs on any true null with a probability of at most alpha, however
    the tests depend on each other.

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    m, highest = len(p_values), 0.0
    corrected = [0.0] * m
    for rank, place in enumerate(sorted(range(m), key=lambda place: p_values[place])):
        highest = max(highest, min(1.0, (m - rank) * p_values[place]))
        corrected[place] = highest
    return corrected


def critical(changed: Sequence[int] | Integers, alpha: float = ALPHA) -> Integers:
    """
    Find, for each number of *changed* items, the most of the rarer kind with which p < *alpha*.

    p is that of the exact McNemar test; -1 where even changes that all go one way are not enough
    (up to 5 of them at 0.05).
    """
    from scipy.special import bdtr, bdtrik

    counts = np.asarray(changed, dtype=np.int64)
    reached = np.ceil(np.where(counts > 0, bdtrik(alpha / 2, counts, 0.5), 0.0))
    over = (reached > 0) & (bdtr(reached - 1, counts, 0.5) >= alpha / 2)  # a whole number, rounded
    return np.asarray(reached - over - 1, dtype=np.int64)


def power(n: int, share: float, effect: float, alpha: float = ALPHA) -> float:
    """
    Compute how often the exact McNemar test has p < *alpha* on *n* items of which *share* change.

    *effect* is the true gain as a share of the items. The number of changed items is binomial, and
    so, given it, is that of the fixed ones: the sum over both (Duffy 1984, Biometrics 40, 1005).
    At an effect of 0 it is the size of the test, which is below *alpha*.
    """
    from scipy.special import bdtr

    if n == 0 or share <= 0:
        return 0.0
    spread = 6 * math.sqrt(n * share * (1 - share)) + 6
    m = np.arange(max(0, int(n * share - spread)), min(n, int(n * share + spread)) + 1)
    few = critical(m, alpha)
    towards = min(1.0, 0.5 + effect / (2 * share))
    most = np.maximum(few, 0)
    tails = np.where(few < 0, 0.0, bdtr(most, m, towards) + bdtr(most, m, 1 - towards))
    below = bdtr(m[0] - 1, n, share) if m[0] else 0.0
    return float(np.diff(bdtr(m, n, share), prepend=below) @ tails)


@lru_cache(maxsize=4096)
def smallest_effect(
    n: int, share: float, *, to: float = POWER, alpha: float = ALPHA
) -> float | None:
    """
    Find the smallest true gain that *n* items detect with probability *to*, as a share of them.

    *share* of the items is taken to change, as was observed, or as many as the gain itself needs.
    It is the effect at which `power` reaches *to*, to 1e-5. None where even a gain of all items
    would be missed.
    """
    low, high = 0.0, 1.0
    if power(n, 1.0, 1.0, alpha) < to:
        return None
    while high - low > 1e-5:
        middle = (low + high) / 2
        if power(n, max(share, middle), middle, alpha) < to:
            low = middle
        else:
            high = middle
    return high


class Mean(Figures):
    """The mean of *n* values with its 95 % interval; with one value there is no interval."""

    n: int
    mean: float
    low: float | None
    high: float | None
    deviation: float | None


def mean(values: Sequence[float]) -> Mean:
    """Average *values*, one a seed, with Student's t interval on one degree of freedom less."""
    from scipy.special import stdtrit

    n, middle = len(values), fmean(values)
    if n < 2:
        return Mean(n=n, mean=round(middle, 4), low=None, high=None, deviation=None)
    deviation = stdev(values)
    reach = float(stdtrit(n - 1, (1 + LEVEL) / 2)) * deviation / math.sqrt(n)
    return Mean(
        n=n,
        mean=round(middle, 4),
        low=round(middle - reach, 4),
        high=round(middle + reach, 4),
        deviation=round(deviation, 4),
    )
