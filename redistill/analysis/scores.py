"""What a student scores: intervals, the exact paired test, and the choice of a round."""

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import SerializerFunctionWrapHandler, model_serializer

from redistill.analysis.figures import Figures
from redistill.records.types import Prediction

HELD_OUT = "held-out"  # train problems as students answered that were not taught them
BITS = 256  # of a binomial tail that count: a p-value has 53
Z95 = 1.959963984540054  # the 97.5 % point of the standard normal


def wilson(k: int, n: int, z: float = Z95) -> tuple[float, float]:
    """
    Compute the Wilson score interval for *k* successes of *n* (Wilson 1927); (0, 1) where n is 0.

    >>> [round(x, 4) for x in wilson(30, 100)]
    [0.2189, 0.3958]
    """
    if n == 0:
        return 0.0, 1.0
    share, z2 = k / n, z * z
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    reach = z / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return max(0.0, middle - reach), min(1.0, middle + reach)


def mcnemar(fixed: int, broken: int) -> float:
    """
    Compute the exact two-sided p-value of McNemar's test: a fair coin over the items that changed.

    >>> round(mcnemar(10, 2), 4), mcnemar(0, 0)
    (0.0386, 1.0)
    """
    n, few = fixed + broken, min(fixed, broken)
    if n == 0:
        return 1.0
    return min(1.0, 2 * _tail(n, few) / (1 << n))


def _tail(n: int, few: int) -> int:
    """The sum of the binomial coefficients of *n* up to *few*, to one part in 2**BITS."""
    term = total = math.comb(n, few)
    while term > total >> BITS:  # each follows from the one after it, and the first count most
        term = term * few // (n - few + 1)
        total, few = total + term, few - 1
    return total


class Score(Figures):
    """
    The figures of one split: *k* of *n* with its Wilson interval, and how the completions ended.

    *accuracy* is strict: the answer in the task's format, the completion ended by EOS. The last
    three are of drawn completions and absent where none were drawn: the mean pass rate, how many
    were drawn, and problems by how many of them were correct.
    """

    k: int
    n: int
    accuracy: float
    low: float
    high: float
    strict: float
    lenient: float
    answered: float
    eos: float
    mean_tokens: float
    pass_rate: float | None = None
    samples: int | None = None
    problems_by_passes: tuple[int, ...] | None = None

    @model_serializer(mode="wrap")
    def _present(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in write(self).items() if value is not None}


def score(predictions: Iterable[Prediction]) -> Score:
    """Score the *predictions* of one split, each looked at once."""
    found: Counter[str] = Counter()
    rates, passes, samples = array("d"), Counter[int](), 0
    for p in predictions:
        found["n"] += 1
        found["k"] += p.verdict == "correct"
        found["strict"] += p.strict
        found["lenient"] += p.lenient
        found["answered"] += p.answer is not None
        found["eos"] += p.eos
        found["tokens"] += p.tokens
        if p.samples is not None and p.passes is not None:
            rates.append(p.passes / (p.samples or 1))
            passes[p.passes] += 1
            samples = max(samples, p.samples)
    k, n = found["k"], found["n"]
    low, high = wilson(k, n)
    drawn: dict[str, Any] = {}
    if rates:
        drawn["pass_rate"] = round(sum(rates) / len(rates), 6)
        drawn["samples"] = samples
        drawn["problems_by_passes"] = tuple(passes[number] for number in range(samples + 1))

    def share(name: str) -> float:
        return round(found[name] / n, 6) if n else 0.0

    return Score(
        k=k,
        n=n,
        accuracy=share("k"),
        low=round(low, 6),
        high=round(high, 6),
        strict=share("strict"),
        lenient=share("lenient"),
        answered=share("answered"),
        eos=share("eos"),
        mean_tokens=round(found["tokens"] / n, 2) if n else 0.0,
        **drawn,
    )


def memorised(train: tuple[int, int], dev: tuple[int, int]) -> bool:
    """
    Say whether errors on train are no diagnosis: *train* and *dev* are (correct, of how many).

    A student that has learnt its lessons by heart is right on the problems that it was taught, and
    as wrong as before on others. It counts as that where its share of errors on train is less than
    half of that on dev, by the far ends of both Wilson intervals: most of its errors do not show.
    """
    right, n = train
    solved, m = dev
    shown, hidden = wilson(n - right, n)[1], wilson(m - solved, m)[0]
    return bool(n and m) and shown < hidden / 2


def by_heart(train: tuple[int, int], dev: tuple[int, int]) -> str | None:
    """Say in words what `memorised` finds, and the way out; None where it finds nothing."""
    if not memorised(train, dev):
        return None
    right, solved = (100 * k / n if n else 0.0 for k, n in (train, dev))
    return (
        f"{right:.1f} % of the train problems are right and {solved:.1f} % of dev: lessons learnt "
        "by heart, so that errors on train are no diagnosis. Where rationales are refined by them, "
        "set mine.folds to 2: they then come from students that were not taught the problem"
    )


def best(rounds: Mapping[str, float]) -> str:
    """Choose the round with the highest accuracy in *rounds*; of equal ones the earliest."""
    return max(rounds, key=lambda name: (rounds[name], -list(rounds).index(name)))
