"""One cause of a gain that did not come: what it can explain, its figure, and what changes it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from redistill.analysis.figures import Figures
from redistill.analysis.scores import Score, wilson
from redistill.causes.evidence import Absent, Evidence

NAMED = 0.1  # of what came to it: a cause that takes less is not named
State = Literal["found", "clear", "missing"]


@dataclass(frozen=True)
class Look:
    """
    What a look at the evidence gave.

    *share* is what the cause takes of all that came to its link of the chain, from 0 to 1; *told*
    is its figure in words, *file* where that was read, *change* the settings that change it.
    """

    share: float
    told: str
    file: str
    change: str


@dataclass(frozen=True)
class Cause:
    """A cause by its *name*, how to *look* for it, and whether it *needs_student* of the round."""

    name: str
    look: Callable[[Evidence], Look]
    needs_student: bool = True


class Line(Figures):
    """
    A cause as it is told: *found*, *clear* where it takes less than NAMED, or *missing* its data.

    *share* is None where data are missing; *change* then names what would bring them.
    """

    cause: str
    state: State
    share: float | None
    told: str
    file: str
    change: str


def line(cause: Cause, seen: Evidence) -> Line:
    """Look for *cause* in what was *seen*; evidence that is absent becomes a line that says so."""
    try:
        look = cause.look(seen)
    except Absent as absent:
        fields = {"told": absent.told, "file": absent.file, "change": absent.way}
        return Line(cause=cause.name, state="missing", share=None, **fields)
    share = round(min(1.0, max(0.0, look.share)), 4)
    return Line(
        cause=cause.name,
        state="found" if share >= NAMED else "clear",
        share=share,
        told=look.told,
        file=look.file,
        change=look.change,
    )


def least(k: int, n: int) -> float:
    """Return the low end of the 95 % interval of *k* of *n*, 0 where n is: that much at least."""
    return wilson(k, n)[0] if n else 0.0


def most(k: int, n: int) -> float:
    """Return the high end of the 95 % interval of *k* of *n*, 1 where n is 0."""
    return wilson(k, n)[1]


def lenient(score: Score) -> int:
    """Count the answers of *score* that are right wherever they stand."""
    return max(score.k, round(score.lenient * score.n))


def ended(score: Score) -> int:
    """Count the answers of *score* that ended by themselves."""
    return round(score.eos * score.n)


def percent(share: float) -> str:
    """Write *share* in percent."""
    return f"{100 * share:.1f} %"


def solved(score: Score) -> str:
    """Write the accuracy of *score* with its counts."""
    return f"{percent(score.accuracy)} ({score.k:,}/{score.n:,})"
