"""Two students on the same problems: what the one solves and the other does not, and how sure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from redistill.analysis import statistics
from redistill.analysis.figures import Figures
from redistill.analysis.scores import mcnemar
from redistill.records.types import Prediction


@dataclass(frozen=True)
class Bar:
    """
    A gain in points with its interval, as a forest plot draws it.

    *told_apart* says whether the gain is told apart from none, *smallest* is the smallest gain
    that would show, None where that is not known.
    """

    label: str
    gain: float
    low: float
    high: float
    told_apart: bool
    smallest: float | None = None


class Paired(Figures):
    """
    Items *fixed* and *broken* out of *n*, the gain in percentage points, and the exact p.

    *p* is that of McNemar's test.
    """

    n: int
    fixed: int
    broken: int
    gain_points: float
    p: float

    def better(self, alpha: float) -> bool:
        """Say whether there is a gain whose p is below *alpha*."""
        return self.gain_points > 0 and self.p < alpha


class Comparison(Paired):
    """
    A paired comparison with all that says how sure it is.

    *k* problems are solved, *k_against* by what it is compared with. *low_points* and *high_points*
    are the 95 % interval of the gain, *relative_percent* is the gain in percent of *k_against*
    (None where that is 0). *smallest_points* is the true gain that so many problems, of which as
    many change as here, would show in 4 cases of 5 (None: not even a gain of all). *p_holm* is *p*
    corrected over a family of comparisons, None where it belongs to none.
    """

    k: int
    k_against: int
    unchanged: int
    low_points: float
    high_points: float
    relative_percent: float | None
    item_variance: float
    smallest_points: float | None
    p_holm: float | None = None

    def told_apart(self, alpha: float) -> bool:
        """Say whether p is below *alpha*, corrected where the comparison is one of a family."""
        return (self.p if self.p_holm is None else self.p_holm) < alpha

    def better(self, alpha: float) -> bool:
        """Say whether there is a gain that is told apart at *alpha*."""
        return self.gain_points > 0 and self.told_apart(alpha)

    def worse(self, alpha: float) -> bool:
        """Say whether there is a loss that is told apart at *alpha*."""
        return self.gain_points < 0 and self.told_apart(alpha)

    def bar(self, label: str, alpha: float) -> Bar:
        """Return the gain to be drawn under *label*."""
        return Bar(
            label,
            self.gain_points,
            self.low_points,
            self.high_points,
            told_apart=self.told_apart(alpha),
            smallest=self.smallest_points,
        )


C = TypeVar("C", bound=Comparison)


def paired(before: Iterable[Prediction], after: Iterable[Prediction]) -> Paired:
    """
    Compare two sets of predictions for the same problems.

    Raises ValueError where the problems are not the same.
    """
    then = {p.problem: p.verdict == "correct" for p in before}
    now = {p.problem: p.verdict == "correct" for p in after}
    if then.keys() != now.keys():
        raise ValueError("a paired test needs predictions for the same problems")
    fixed = sum(now[p] and not then[p] for p in now)
    broken = sum(then[p] and not now[p] for p in now)
    gain = round(100 * (fixed - broken) / len(now), 2) if now else 0.0
    return Paired(
        n=len(now), fixed=fixed, broken=broken, gain_points=gain, p=mcnemar(fixed, broken)
    )


def compare(before: Sequence[Prediction], after: Sequence[Prediction]) -> Comparison:
    """
    Compare two sets of predictions for the same problems, with interval and power.

    Raises ValueError where the problems are not the same.
    """
    found = paired(before, after)
    k, against = (sum(p.verdict == "correct" for p in rows) for rows in (after, before))
    low, high = statistics.bootstrap(found.fixed, found.broken, found.n)
    share = (found.fixed + found.broken) / found.n if found.n else 0.0
    relative = statistics.relative(k, against)
    smallest = statistics.smallest_effect(found.n, share)
    variance = statistics.item_variance(found.fixed, found.broken, found.n)
    return Comparison(
        **dict(found),
        k=k,
        k_against=against,
        unchanged=found.n - found.fixed - found.broken,
        low_points=round(100 * low, 2),
        high_points=round(100 * high, 2),
        relative_percent=None if relative is None else round(relative, 2),
        item_variance=round(variance, 6),
        smallest_points=None if smallest is None else round(100 * smallest, 2),
    )


def corrected(family: Sequence[C]) -> list[C]:
    """Return the *family* of comparisons with the p-values of all corrected by Holm."""
    p_values = statistics.holm([row.p for row in family])
    return [row.model_copy(update={"p_holm": p}) for row, p in zip(family, p_values, strict=True)]


def p_text(value: float, digits: int = 1) -> str:
    """Write a p-value with three decimals, below a thousandth with *digits* and an exponent."""
    return f"{value:.{digits}e}" if value < 0.001 else f"{value:.3f}"


def gain_text(row: Comparison) -> str:
    """Write a gain with its interval, in points."""
    return f"{row.gain_points:+.1f}, {row.low_points:+.1f} to {row.high_points:+.1f}"
