"""Causes that lie in the measurement: too little left to gain, too few problems to see it by."""

import math

from redistill.analysis import statistics
from redistill.analysis.ladder import Row
from redistill.causes.evidence import Absent, Evidence
from redistill.causes.line import NAMED, Look, least, solved


def ceiling(seen: Evidence) -> Look:
    """Look whether what the round is held against leaves less than a tenth of test to gain."""
    score = seen.score(seen.control, "test")
    told = f"{seen.control} solves {solved(score)} of test without any rewriting"
    change = "prepare.task: harder problems, or prepare.outside"
    share = least(score.k, score.n)
    file = seen.where("rounds", seen.control)
    return Look(share if score.n - score.k < NAMED * score.n else 0.0, told, file, change)


def too_few(seen: Evidence) -> Look:
    """
    Look how likely it is that a gain worth having is there, and the test set did not show it.

    0 where the gain is told apart from none, or the test set shows such a gain in 4 cases of 5.
    Else the chance that the true gain is at least that sought, by a normal distribution around the
    one observed; its variance is that over items (Miller 2024, arXiv 2411.00640), with one item
    more fixed and one more broken, so that no change at all is not certainty. 1 of so few problems
    that all of them fixed and none broken would not be told apart from nothing.
    """
    row, file = seen.row(), (seen.metrics / "ladder.json").as_posix()
    change = f"{seen.tests}: more, or prepare.outside"
    if row is None:
        rounds = f"unknown: no row of {seen.name} against {seen.control} there"
        raise Absent(file, "dvc repro report; it has rounds, and no arms", rounds)
    smallest = row.smallest_points
    shown = "no gain at all" if smallest is None else f"a gain of {smallest:.1f} points"
    told = f"{row.n:,} test problems show {shown} in 4 cases of 5, {seen.sought:g} are sought"
    if direction(row) or (smallest is not None and smallest <= seen.sought):
        return Look(0.0, told, file, change)
    if statistics.critical([row.n])[0] < 0:
        return Look(1.0, f"{told}; not even {row.n} fixed and none broken would", file, change)
    chance = missed(row, seen.sought)
    told += f"; the chance that so large a gain is there is {100 * chance:.0f} %"
    return Look(chance, told, file, change)


def direction(row: Row) -> int:
    """
    Say which way *row* is told apart from nothing: 1 for a gain, -1 for a loss, else 0.

    The whole 95 % interval and the exact McNemar test have to say so: of few problems the bootstrap
    makes the interval too narrow.
    """
    if row.p >= statistics.ALPHA:
        return 0
    return (row.low_points > 0) - (row.high_points < 0)


def missed(row: Row, sought: float) -> float:
    """Return the chance that the true gain of *row* is at least *sought* points, as above."""
    variance = statistics.item_variance(row.fixed + 1, row.broken + 1, row.n + 2)
    error = math.sqrt(variance / (row.n + 2))
    above = (row.gain_points - sought) / 100 / error
    return 0.5 * math.erfc(-above / math.sqrt(2))
