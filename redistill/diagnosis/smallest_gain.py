"""How large a gain a dev set can show: below it, a round cannot count as better."""

import math

from redistill.console.counted import counted
from redistill.diagnosis.settings import MineSettings

SMALL_DEV = 20  # problems: below that a gain of a quarter is what shows at the default


def needed(alpha: float) -> int:
    """
    Return how many problems have to be fixed, and none broken, for p below *alpha*.

    p is that of the exact McNemar test, 2 * 0.5 ** fixed, and 1 where one is fixed.

    >>> needed(0.1), needed(0.05), needed(1.0)
    (5, 6, 2)
    """
    return max(1, math.floor(1 - math.log2(alpha)) + 1)


def enough(dev: int, settings: MineSettings) -> bool:
    """Say whether a round can count as better on *dev* problems, and not by a gain of a quarter."""
    if settings.stop != "significant":
        return dev > 0
    return dev >= SMALL_DEV and needed(settings.alpha) <= dev


def told(dev: int, settings: MineSettings) -> str:
    """Say how large a gain *dev* problems can show, and what to do where that is too large."""
    problems = counted(dev, "problem")
    if settings.stop == "never":
        return f"{problems}, and no round stops the loop (mine.stop: never)"
    if settings.stop == "no_gain":
        return f"{problems}; any gain on them lets the loop go on (mine.stop: no_gain)"
    fixed = needed(settings.alpha)
    if fixed > dev:
        told = f"{problems} can show no gain at mine.alpha {settings.alpha:g}"
    else:
        share = f"{100 * fixed / dev:.1f} points"
        told = (
            f"{problems}; a round counts as better from {fixed} fixed and 0 broken, {share} "
            f"(mine.alpha {settings.alpha:g}), and more where some break; else the loop stops"
        )
    if enough(dev, settings):
        return told
    return f"too small: {told}; take a larger dev split, or set mine.stop to no_gain or never"
