"""Pictures of rounds, ladder, gaps and costs, as SVG: in every run the same byte for byte."""

import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from redistill.analysis.comparison import Bar
from redistill.analysis.costs import Cost
from redistill.analysis.scores import Score
from redistill.analysis.summary import Gap, Measured

ROUND, AGAINST = "#1f4e79", "#b3541e"  # what the figures say for a round, and against it
DEV = "#7f9fbf"
POINTS: dict[str, Any] = {"linestyle": "none", "marker": "o", "capsize": 3}
COSTS = {  # of the columns of `costs.COLUMNS`: what they are on an axis, and per what
    "answer_tokens": ("tokens of an answer, mean", 1),
    "training_tokens": ("tokens trained on so far, millions", 1e6),
    "calls": ("calls to the teacher so far", 1),
    "teacher_tokens": ("tokens of the teacher so far, thousands", 1e3),
    "cost": ("cost of the teacher so far", 1),
}


T = TypeVar("T")
K = TypeVar("K")


def curve(rounds: Sequence[str], control: str, metrics: Mapping[str, Measured], title: str) -> str:
    """Draw the accuracy of the *rounds* on dev and test with 95 % intervals, as SVG."""
    names = [name for name in rounds if name in metrics]
    with _sheet(7.2, 4.2, size=11) as (axes, out):
        shown = (
            ("dev", [metrics[name].dev for name in names], DEV, -0.04),
            ("test", [metrics[name].test for name in names], ROUND, 0.04),
        )
        for split, found, colour, shift in shown:
            middle, reach = _accuracies(found)
            places = [place + shift for place in range(len(names))]
            label = f"rounds, {split}"
            axes.errorbar(places, middle, reach, marker="o", capsize=3, color=colour, label=label)
        held = metrics[control].test
        axes.axhline(100 * held.accuracy, color=AGAINST, linestyle="--", label=f"{control}, test")
        axes.axhspan(100 * held.low, 100 * held.high, color=AGAINST, alpha=0.12)
        axes.set_xticks(range(len(names)), names)
        axes.set_ylim(0, 100)
        axes.set_ylabel("problems solved, %")
        axes.set_title(title)
        axes.legend(loc="lower right", frameon=False)
        axes.grid(axis="y", alpha=0.25)
    return "\n".join(line.rstrip() for line in out.getvalue().split("\n"))


def likelihood(names: Sequence[str], metrics: Mapping[str, Measured], title: str) -> str:
    """
    Draw how far each student of *names* was from the rationales that it was taught, as SVG.

    Above, the NLL of a token before training on them; below, the loss at the end of the training.
    """
    found = [name for name in names if metrics[name].nll_before is not None]
    with _sheet(7.2, 3.4) as (axes, out):
        before = [metrics[name].nll_before for name in found]
        after = [metrics[name].training.loss_last for name in found]
        places = range(len(found))
        axes.vlines(places, after, before, color="#999999", linewidth=1)
        axes.plot(places, before, "o", color=ROUND, label="before training on them")
        axes.plot(places, after, "o", color=AGAINST, label="loss at the end of training")
        axes.set_xticks(places, found)
        axes.margins(x=0.12)
        axes.set_ylim(bottom=0)
        axes.set_ylabel("NLL of a token, nats")
        axes.set_title(title)
        axes.grid(axis="y", alpha=0.25)
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    return out.getvalue()


def costs(rows: Sequence[Cost], title: str) -> str:
    """
    Draw accuracy on test, with its interval, against what it cost to get there, as SVG.

    *rows* are those of `costs.table`; there is a panel for each cost that is known of every
    row, and the calls only where the teacher's tokens are not.
    """
    known = {key: [getattr(row, key) for row in rows] for key in COSTS}
    drawn = [key for key in COSTS if rows and None not in known[key]]
    drawn = [key for key in drawn if key != "calls" or "teacher_tokens" not in drawn]
    with _sheet(3.5 * max(1, len(drawn)), 3.4, panels=max(1, len(drawn))) as (panels, out):
        for axes, key in zip(_each(panels), drawn, strict=False):
            label, unit = COSTS[key]
            placed = [(row, value / unit) for row, value in zip(rows, known[key], strict=True)]
            for row, place in placed:
                at = {"xytext": (6, 5), "textcoords": "offset points"}
                axes.annotate(row.round, (place, 100 * row.accuracy), **at)
            for colour, some in _grouped(placed, lambda one: _kind(one[0])).items():
                middle, reach = _accuracies([row for row, _ in some])
                places = [place for _, place in some]
                axes.errorbar(places, middle, reach, **POINTS, color=colour)
            axes.set_xlabel(label)
            axes.margins(x=0.3)
            axes.set_xlim(left=0)
            axes.set_ylim(0, 100)
            axes.grid(alpha=0.25)
        _each(panels)[0].set_ylabel("test problems solved, %")
        _each(panels)[0].set_title(title, loc="left")
    return out.getvalue()


def forest(bars: Sequence[Bar], title: str) -> str:
    """
    Draw gains with their intervals as a forest plot, as SVG.

    A grey tick is the smallest gain that would show; what is not told apart is drawn hollow.
    """
    with _sheet(7.6, 1.7 + 0.36 * max(1, len(bars))) as (axes, out):
        for (colour, face), some in _grouped(enumerate(bars), lambda one: _drawn(one[1])).items():
            gains = [bar.gain for _, bar in some]
            below = [bar.gain - bar.low for _, bar in some]
            above = [bar.high - bar.gain for _, bar in some]
            axes.errorbar(
                gains, [place for place, _ in some], xerr=[below, above], **POINTS, color=colour,
                markerfacecolor=face,
            )  # fmt: skip
        ticks = [(b.smallest, place) for place, b in enumerate(bars) if b.smallest is not None]
        if ticks:
            axes.plot(*zip(*ticks, strict=True), "|", color="#777777", alpha=0.8)
        axes.axvline(0, color="#444444", linewidth=0.8)
        axes.set_yticks(range(len(bars)), [bar.label for bar in bars])
        axes.set_ylim(len(bars) - 0.5, -0.5)
        told = "hollow: not told apart; grey tick: what would show"
        axes.set_xlabel(f"gain on test, points, with 95 % intervals\n({told})")
        axes.set_title(title)
        axes.grid(axis="x", alpha=0.25)
    return out.getvalue()


def stacked(rows: Sequence[Gap], title: str) -> str:
    """Draw the gaps of the dev errors by round as stacked bars, in percent of the dev problems."""
    names = list(dict.fromkeys(row.round for row in rows))
    share = {(row.round, row.gap): 100 * row.share for row in rows}
    seen = dict.fromkeys(row.gap for row in rows if row.count)
    with _sheet(7.2, 4.2) as (axes, out):
        from matplotlib import colormaps

        below = [0.0] * len(names)
        for number, gap in enumerate(seen):
            heights = [share[name, gap] for name in names]
            colour = colormaps["tab20"](number % 20)
            axes.bar(names, heights, bottom=below, label=gap.replace("_", " "), color=colour)
            below = [low + height for low, height in zip(below, heights, strict=True)]
        axes.set_ylabel("dev problems, %")
        axes.margins(y=0.08)
        axes.set_title(title)
        axes.grid(axis="y", alpha=0.25)
        if seen:
            axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    return out.getvalue()


def _accuracies(rows: Sequence[Score | Cost]) -> tuple[list[float], list[list[float]]]:
    """The accuracies of *rows* in percent, and how far their intervals reach below and above."""
    below = [100 * (row.accuracy - row.low) for row in rows]
    above = [100 * (row.high - row.accuracy) for row in rows]
    return [100 * row.accuracy for row in rows], [below, above]


def _drawn(bar: Bar) -> tuple[str, str]:
    """The colour of a gain, and that within its marker."""
    colour = ROUND if bar.gain >= 0 else AGAINST
    return colour, colour if bar.told_apart else "white"


def _kind(row: Cost) -> str:
    """The colour of a branch by its kind."""
    return ROUND if row.kind == "round" else AGAINST


def _grouped(rows: Iterable[T], by: Callable[[T], K]) -> dict[K, list[T]]:
    """*rows* by what *by* says of them: drawn at once, they take a fraction of the time."""
    groups: dict[K, list[T]] = {}
    for row in rows:
        groups.setdefault(by(row), []).append(row)
    return groups


def _each(panels: Any) -> list[Any]:
    return list(panels) if hasattr(panels, "__len__") else [panels]


@contextmanager
def _sheet(
    width: float, height: float, *, size: int = 10, panels: int = 1
) -> Iterator[tuple[Any, io.StringIO]]:
    """Axes to draw on, in inches, and where their SVG is once the drawing is done."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    style = {"svg.hashsalt": "redistill", "font.size": size, "text.parse_math": False}
    with matplotlib.rc_context(style):
        figure, axes = pyplot.subplots(1, panels, figsize=(width, height), sharey=True)
        out = io.StringIO()
        try:
            yield axes, out
            for one in _each(axes):
                one.spines[["top", "right"]].set_visible(False)
            figure.tight_layout()
            figure.set_layout_engine(None)  # else it is all drawn once more to be laid out
            figure.savefig(out, format="svg", metadata={"Date": None})
        finally:
            pyplot.close(figure)
