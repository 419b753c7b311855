"""What a difference between branches is worth: intervals, power, many tests, several seeds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, stdev
from typing import Any

import numpy as np
from numpy.typing import NDArray

ALPHA = 0.05  # below which p counts
POWER = 0.8  # how often the smallest detectable effect is to be detected
LEVEL = 0.95  # of every interval
DRAWS = 10_000  # resamples of the bootstrap
SEED = 0  # of the bootstrap: the same predictions give the same interval
MAX_CHANGED = 2000  # expected changed items up to which power is summed; the formula takes over

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def bootstrap(fixed: int, broken: int, n: int, *, draws: int = DRAWS, seed: int = SEED) -> tuple[
    float, float
]:  # fmt: skip
    """
    The 95 % percentile interval of the paired bootstrap for the gain (fixed - broken) / n.

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
    The variance over items of what an item gains (+1, 0 or -1).

    Over *n* it is the square of the standard error that the choice of the items gives the gain
    (Miller 2024, arXiv 2411.00640).
    """
    gain = (fixed - broken) / n if n else 0.0
    return (fixed + broken) / n - gain * gain if n else 0.0


def relative(k: int, against: int) -> float | None:
    """The gain from *against* to *k* items in percent of *against*; None where that is 0."""
    return 100 * (k - against) / against if against else None


def holm(p_values: Sequence[float]) -> list[float]:
    """
    The p-values corrected by Holm's step-down procedure (1979), in the order they came.

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
    For each number of *changed* items, the most of the rarer kind with which p is below *alpha*.

    p is that of the exact McNemar test; -1 where even changes that all go one way are not enough
    (up to 5 of them at 0.05).
    """
    m = np.asarray(changed, dtype=np.int64)
    tails = np.cumsum(_binomial(m, int(m.max(initial=0)) // 2, 0.5), axis=1)
    return np.asarray((2 * tails < alpha).sum(axis=1) - 1, dtype=np.int64)


def power(n: int, share: float, effect: float, alpha: float = ALPHA) -> float:
    """
    How often the exact McNemar test has p < *alpha* on *n* items of which *share* change.

    *effect* is the true gain as a share of the items. The number of changed items is binomial, and
    so, given it, is that of the fixed ones: the sum over both (Duffy 1984, Biometrics 40, 1005).
    At an effect of 0 it is the size of the test, which is below *alpha*.
    """
    if n == 0 or share <= 0:
        return 0.0
    spread = 6 * math.sqrt(n * share * (1 - share)) + 6
    m = np.arange(max(0, int(n * share - spread)), min(n, int(n * share + spread)) + 1)
    weight = np.exp(_log_choose(n, m) + _log_odds(m, n - m, share))
    few = critical(m, alpha)
    k = np.arange(max(0, int(few.max())) + 1)
    reached = k[None, :] <= few[:, None]
    tails = np.zeros(len(m))
    for towards in (0.5 + effect / (2 * share), 0.5 - effect / (2 * share)):
        tails += (_binomial(m, len(k) - 1, towards) * reached).sum(axis=1)
    return float(weight @ tails)


def smallest_effect(
    n: int, share: float, *, to: float = POWER, alpha: float = ALPHA
) -> float | None:
    """
    The smallest true gain that *n* items detect with a probability of *to*, as a share of them.

    *share* of the items is taken to change, as was observed, or as many as the gain itself needs.
    It is the effect at which `power` reaches *to*; for more than 2,000 expected changes the normal
    formula, which then agrees. None where even a gain of all items would be missed.
    """
    if n * share > MAX_CHANGED:
        return normal_effect(n, share, to=to, alpha=alpha)
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


def normal_effect(n: int, share: float, *, to: float = POWER, alpha: float = ALPHA) -> float:
    """
    The smallest detectable gain by the normal approximation, without a correction.

    The effect d that solves n d^2 = (z(1 - alpha/2) sqrt(share) + z(to) sqrt(share - d^2))^2
    (Miettinen 1968, Biometrics 24, 339; Connor 1987, Biometrics 43, 207). The exact test needs a
    little more.

    >>> round(normal_effect(600, 0.25), 4)
    0.0571
    """
    a, b = NormalDist().inv_cdf(1 - alpha / 2), NormalDist().inv_cdf(to)
    reach = a * math.sqrt(n) + b * math.sqrt(max(0.0, n + b * b - a * a))
    return math.sqrt(share) * reach / (n + b * b)


@dataclass(frozen=True)
class Mean:
    """The mean of *n* values with its 95 % interval; without a second value there is none."""

    n: int
    mean: float
    low: float | None
    high: float | None
    deviation: float | None

    def as_dict(self, digits: int = 4) -> dict[str, Any]:
        """The figures as JSON holds them."""
        return {
            name: value if value is None or name == "n" else round(value, digits)
            for name, value in vars(self).items()
        }


def mean(values: Sequence[float]) -> Mean:
    """The mean of *values*, one a seed, with Student's t interval on one degree less."""
    n, middle = len(values), fmean(values)
    if n < 2:
        return Mean(n, middle, None, None, None)
    deviation = stdev(values)
    reach = t_quantile((1 + LEVEL) / 2, n - 1) * deviation / math.sqrt(n)
    return Mean(n, middle, middle - reach, middle + reach, deviation)


def t_quantile(p: float, degrees: int) -> float:
    """
    The *p*-quantile (from one half on) of Student's t on a whole number of *degrees* of freedom.

    By bisection of the finite series in the angle atan(t / sqrt(degrees)) (Abramowitz and Stegun
    1964, 26.7.3 and 26.7.4).

    >>> round(t_quantile(0.975, 2), 4)
    4.3027
    """
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        angle = (low + high) / 2
        low, high = (angle, high) if _within(angle, degrees) < 2 * p - 1 else (low, angle)
    return math.sqrt(degrees) * math.tan(low)


def _within(angle: float, degrees: int) -> float:
    """The probability that t on *degrees* lies within plus and minus sqrt(degrees) tan(angle)."""
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = degrees % 2
    term, total = (cosine if odd else 1.0), 0.0
    for k in range(2 + odd, degrees + 1, 2):
        total += term
        term *= cosine * cosine * (k - 1) / k
    return 2 / math.pi * (angle + sine * total) if odd else sine * total


def _binomial(m: Integers, most: int, share: float) -> Floats:
    """The probabilities of 0 to *most* successes of *m* each, a row for each of *m*."""
    k = np.arange(most + 1)
    rest = m[:, None] - k[None, :]
    logs = _log_choose(m[:, None], k[None, :]) + _log_odds(k[None, :], rest, share)
    return np.where(rest >= 0, np.exp(np.where(rest >= 0, logs, 0.0)), 0.0)


def _log_choose(n: int | Integers, k: Integers) -> Floats:
    table = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, np.max(n) + 1)))])
    chosen: Floats = table[n] - table[k] - table[np.maximum(np.asarray(n) - k, 0)]
    return chosen


def _log_odds(hits: Integers, misses: Integers, share: float) -> Floats:
    share = min(max(share, 1e-300), 1 - 1e-16)
    return np.asarray(hits * math.log(share) + misses * math.log1p(-share))
