"""Pictures of the ladder and of the gaps, as SVG that is the same byte for byte in every run."""

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

ROUND, AGAINST = "#1f4e79", "#b3541e"  # what the figures say for a round, and against it


def forest(ladder: Mapping[str, Any], title: str) -> str:
    """
    The gain of every round over each of its opponents with its interval, as a forest plot.

    A grey tick is the smallest gain that the test set would show; a gain whose p is at least alpha
    after Holm's correction is drawn hollow.
    """
    found = [(name, row) for name, rows in ladder["rounds"].items() for row in rows]
    with _sheet(7.6, 1.5 + 0.36 * max(1, len(found))) as (axes, out):
        for place, (_, row) in enumerate(found):
            gain, clear = row["gain_points"], row["p_holm"] < ladder["alpha"]
            reach = [[gain - row["low_points"]], [row["high_points"] - gain]]
            colour = ROUND if gain >= 0 else AGAINST
            axes.errorbar(
                [gain], [place], xerr=reach, marker="o", capsize=3, color=colour,
                markerfacecolor=colour if clear else "white",
            )  # fmt: skip
            if row["smallest_points"] is not None:
                axes.plot([row["smallest_points"]], [place], marker="|", color="#777777", alpha=0.8)
        axes.axvline(0, color="#444444", linewidth=0.8)
        axes.set_yticks(range(len(found)), [f"{n} - {row['rung']}" for n, row in found])
        axes.set_ylim(len(found) - 0.5, -0.5)
        told = "hollow: not told apart; grey tick: what would show"
        axes.set_xlabel(f"gain on test, points, with 95 % intervals ({told})")
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


@contextmanager
def _sheet(width: float, height: float) -> Iterator[tuple[Any, io.StringIO]]:
    """Axes to draw on, in inches, and where their SVG is once the drawing is done."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    style = {"svg.hashsalt": "redistill", "font.size": 10, "text.parse_math": False}
    with matplotlib.rc_context(style):
        figure, axes = pyplot.subplots(figsize=(width, height))
        out = io.StringIO()
        try:
            yield axes, out
            axes.spines[["top", "right"]].set_visible(False)
            figure.tight_layout()
            figure.savefig(out, format="svg", metadata={"Date": None})
        finally:
            pyplot.close(figure)
