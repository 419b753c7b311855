"""How far two raters agree beyond chance: Cohen's kappa of yes-or-no labels."""

import math
from collections import Counter
from collections.abc import Iterable

from redistill.analysis.figures import Figures
from redistill.analysis.scores import Z95


class Agreement(Figures):
    """
    Two raters on *n* items: how many they *agreed* on, and Cohen's kappa with its 95 % interval.

    *both* are the items that either calls right, *first* and *second* those that one alone does.
    Kappa is None where a rater, or both, gave every item one label: there is nothing to agree on.
    """

    n: int
    agreed: int
    both: int
    first: int
    second: int
    kappa: float | None
    low: float | None
    high: float | None

    def __str__(self) -> str:
        if self.kappa is None or self.low is None or self.high is None:
            return f"{self.agreed} of {self.n} agreed; kappa needs right and wrong ones of either"
        told = f"kappa {self.kappa:.2f} [{self.low:.2f}, {self.high:.2f}]"
        return f"{told}, {self.agreed} of {self.n} agreed"


def cohen(pairs: Iterable[tuple[bool, bool]]) -> Agreement:
    """
    Compute the agreement of two raters, whose labels of each item are a pair.

    Kappa is that of Cohen (1960): the agreement beyond chance over the most that there can be. Its
    standard error is the large-sample one of Fleiss, Cohen and Everitt (1969), which needs no
    assumption that the raters are independent; the interval is cut off at -1 and 1.

    >>> pairs = [(True, True)] * 20 + [(True, False)] * 5 + [(False, True)] * 10
    >>> str(cohen(pairs + [(False, False)] * 15))
    'kappa 0.40 [0.15, 0.65], 35 of 50 agreed'
    """
    counts = Counter(pairs)
    n = counts.total()
    agreed = counts[True, True] + counts[False, False]
    told = {
        "n": n,
        "agreed": agreed,
        "both": counts[True, True],
        "first": counts[True, False],
        "second": counts[False, True],
    }
    rows = {label: counts[label, True] + counts[label, False] for label in (True, False)}
    columns = {label: counts[True, label] + counts[False, label] for label in (True, False)}
    if not n or n in rows.values() or n in columns.values():
        return Agreement(**told, kappa=None, low=None, high=None)
    p = {pair: counts[pair] / n for pair in ((a, b) for a in rows for b in columns)}
    row, column = ({label: found[label] / n for label in found} for found in (rows, columns))
    chance = sum(row[label] * column[label] for label in row)
    kappa = (agreed / n - chance) / (1 - chance)
    same = sum(p[a, a] * (1 - (row[a] + column[a]) * (1 - kappa)) ** 2 for a in row)
    other = sum(p[a, b] * (column[a] + row[b]) ** 2 for a in row for b in row if a != b)
    spread = same + (1 - kappa) ** 2 * other - (kappa - chance * (1 - kappa)) ** 2
    half = Z95 * math.sqrt(max(spread, 0.0) / n) / (1 - chance)
    low, high = max(-1.0, kappa - half), min(1.0, kappa + half)
    return Agreement(**told, kappa=kappa, low=low, high=high)
