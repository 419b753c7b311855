"""Pictures of rounds, ladder, gaps and costs, as SVG: in every run the same byte for byte."""

import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from redistill.analysis.summary import passed_through

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


def curve(
    rounds: Sequence[str], control: str, metrics: Mapping[str, Mapping[str, Any]], title: str
) -> str:
    """The learning curve over rounds on dev and test with 95 % intervals, as SVG."""
    names = [name for name in rounds if not passed_through(metrics[name])]
    with _sheet(7.2, 4.2, size=11) as (axes, out):
        for split, colour, shift in (("dev", DEV, -0.04), ("test", ROUND, 0.04)):
            middle, reach = _accuracies([metrics[name][split] for name in names])
            places = [place + shift for place in range(len(names))]
            label = f"rounds, {split}"
            axes.errorbar(places, middle, reach, marker="o", capsize=3, color=colour, label=label)
        held = metrics[control]["test"]
        axes.axhline(
            100 * held["accuracy"], color=AGAINST, linestyle="--", label=f"{control}, test"
        )
        axes.axhspan(100 * held["low"], 100 * held["high"], color=AGAINST, alpha=0.12)
        axes.set_xticks(range(len(names)), names)
        axes.set_ylim(0, 100)
        axes.set_ylabel("problems solved, %")
        axes.set_title(title)
        axes.legend(loc="lower right", frameon=False)
        axes.grid(axis="y", alpha=0.25)
    return "\n".join(line.rstrip() for line in out.getvalue().split("\n"))


def likelihood(names: Sequence[str], metrics: Mapping[str, Mapping[str, Any]], title: str) -> str:
    """
    How far each student of *names* was from the rationales that it was taught, as SVG.

    Above, the NLL of a token before training on them; below, the loss at the end of the training.
    """
    found = [name for name in names if metrics[name].get("nll_before") is not None]
    with _sheet(7.2, 3.4) as (axes, out):
        before = [metrics[name]["nll_before"] for name in found]
        after = [metrics[name]["training"]["loss_last"] for name in found]
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


def costs(rows: Sequence[Mapping[str, Any]], title: str) -> str:
    """
    Accuracy on test, with its interval, against what it cost to get there, as SVG.

    *rows* are those of `costs.table`; there is a panel for each cost that is known of every
    row, and the calls only where the teacher's tokens are not.
    """
    known = [key for key in COSTS if rows and all(row[key] is not None for row in rows)]
    shown = [key for key in known if key != "calls" or "teacher_tokens" not in known]
    with _sheet(3.5 * max(1, len(shown)), 3.4, panels=max(1, len(shown))) as (panels, out):
        for axes, key in zip(_each(panels), shown, strict=False):
            label, unit = COSTS[key]
            for row in rows:
                at = {"xytext": (6, 5), "textcoords": "offset points"}
                axes.annotate(row["round"], (row[key] / unit, 100 * row["accuracy"]), **at)
            for colour, some in _grouped(
                rows, lambda row: ROUND if row["kind"] == "round" else AGAINST
            ).items():
                middle, reach = _accuracies(some)
                places = [row[key] / unit for row in some]
                axes.errorbar(places, middle, reach, **POINTS, color=colour)
            axes.set_xlabel(label)
            axes.margins(x=0.3)
            axes.set_xlim(left=0)
            axes.set_ylim(0, 100)
            axes.grid(alpha=0.25)
        _each(panels)[0].set_ylabel("test problems solved, %")
        _each(panels)[0].set_title(title, loc="left")
    return out.getvalue()


def forest(ladder: Mapping[str, Any], title: str) -> str:
    """
    The gain of every round over each of its opponents with its interval, as a forest plot.

    A grey tick is the smallest gain that the test set would show; a gain whose p is at least alpha
    after Holm's correction is drawn hollow.
    """
    found = [(name, row) for name, rows in ladder["rounds"].items() for row in rows]
    with _sheet(7.6, 1.7 + 0.36 * max(1, len(found))) as (axes, out):
        placed = [(place, row) for place, (_, row) in enumerate(found)]
        for (colour, face), some in _grouped(
            placed, lambda one: _drawn(one[1], ladder["alpha"])
        ).items():
            gains = [row["gain_points"] for _, row in some]
            below = [row["gain_points"] - row["low_points"] for _, row in some]
            above = [row["high_points"] - row["gain_points"] for _, row in some]
            axes.errorbar(
                gains, [place for place, _ in some], xerr=[below, above], **POINTS, color=colour,
                markerfacecolor=face,
            )  # fmt: skip
        shown = [(row["smallest_points"], place) for place, row in placed]
        ticks = [(points, place) for points, place in shown if points is not None]
        if ticks:
            axes.plot(*zip(*ticks, strict=True), "|", color="#777777", alpha=0.8)
        axes.axvline(0, color="#444444", linewidth=0.8)
        axes.set_yticks(range(len(found)), [f"{n} - {row['rung']}" for n, row in found])
        axes.set_ylim(len(found) - 0.5, -0.5)
        told = "hollow: not told apart; grey tick: what would show"
        axes.set_xlabel(f"gain on test, points, with 95 % intervals\n({told})")
        axes.set_title(title)
        axes.grid(axis="x", alpha=0.25)
    return out.getvalue()


def stacked(rows: Sequence[Mapping[str, Any]], title: str) -> str:
    """The gaps of the dev errors by round as stacked bars, in percent of the dev problems."""
    names = list(dict.fromkeys(row["round"] for row in rows))
    share = {(row["round"], row["gap"]): 100 * row["share"] for row in rows}
    seen = dict.fromkeys(row["gap"] for row in rows if row["count"])
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


def _accuracies(rows: Sequence[Mapping[str, Any]]) -> tuple[list[float], list[list[float]]]:
    """The accuracies of *rows* in percent, and how far their intervals reach below and above."""
    below = [100 * (row["accuracy"] - row["low"]) for row in rows]
    above = [100 * (row["high"] - row["accuracy"]) for row in rows]
    return [100 * row["accuracy"] for row in rows], [below, above]


def _drawn(row: Mapping[str, Any], alpha: float) -> tuple[str, str]:
    """The colour of a gain, and that within its marker."""
    colour = ROUND if row["gain_points"] >= 0 else AGAINST
    return colour, colour if row["p_holm"] < alpha else "white"


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
