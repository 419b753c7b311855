"""What holds over the same run with several seeds, whose results are files in a folder."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import Field

from redistill.analysis import statistics
from redistill.analysis.comparison import Bar
from redistill.analysis.figures import Figures
from redistill.console.exceptions import RefusedError
from redistill.records.json_file import read_json

NAMED = re.compile(r"(.*?)seed-?(\d+)")
OUTSIDE = ", out of domain"
HEAD = (
    "round", "against", "seeds", "gain, points", "95 % interval", "by seed",
    "sd over seeds, of items", "fixed, broken",
)  # fmt: skip


class Row(Figures):
    """What the results of one seed say of a round over the branch *against*, its *rung*."""

    rung: str
    against: str = ""
    n: int
    fixed: int
    broken: int


class Rows(Figures):
    """The rounds of one seed's ladder, and the one that dev *chose*."""

    chosen: str
    rounds: dict[str, tuple[Row, ...]]
    outside: dict[str, tuple[Row, ...]] = Field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """
    The results of one seed: the *chosen* round, its rows (*best*) and those of all rounds.

    *outside* has the rows of all rounds on the out-of-domain tests together.
    """

    seed: int
    chosen: str
    best: tuple[Row, ...]
    rounds: dict[str, tuple[Row, ...]]
    command: str | None
    outside: dict[str, tuple[Row, ...]] = field(default_factory=dict)


class Pooled(Figures):
    """
    One comparison over several seeds: the mean gain, and the items of all seeds put together.

    *items_deviation* is the deviation that the choice of the test items alone gives the gain of a
    seed; where that over seeds is much larger, training itself varies. *better_in* counts seeds.
    """

    gain_points: statistics.Mean
    by_seed: dict[str, float]
    items_deviation: float
    better_in: int
    n: int
    fixed: int
    broken: int
    unchanged: int


class Summary(Figures):
    """What several seeds have in common: by round, and the chosen ones, the gain over each rung."""

    seeds: tuple[int, ...]
    commands: dict[str, str | None]
    chosen: dict[str, str]
    comparisons: dict[str, dict[str, Pooled]]


def gather(folder: Path, seeds: Sequence[int] = ()) -> list[Run]:
    """
    Read the results of every seed in *folder*, or of *seeds*, by seed.

    A file is for a seed if its name ends in seedN.json; it holds what a sweep kept, a ladder.json
    or a best.json. Raises RefusedError where there is none, or two for a seed.
    """
    found: dict[int, Path] = {}
    for file in sorted(folder.glob("*.json")):
        named = NAMED.fullmatch(file.stem)
        if named is None or (seeds and int(named[2]) not in seeds):
            continue
        if int(named[2]) in found:
            raise RefusedError(f"{folder}: {found[int(named[2])].name} and {file.name}: one seed")
        found[int(named[2])] = file
    if not found:
        raise RefusedError(f"{folder}: there is no file of a seed, such as seed1.json")
    return [_run(seed, found[seed]) for seed in sorted(found)]


def summary(runs: Sequence[Run]) -> Summary:
    """
    Put *runs* together: for the chosen rounds, and for each round, the gain over each rung.

    Branches that are one rung (`ladder.rung`) are put together, whatever their names. Rounds have
    rows on the out-of-domain tests as well, where there are some.
    """
    rounds = dict.fromkeys(name for run in runs for name in run.rounds)
    abroad = dict.fromkeys(name for run in runs for name in run.outside)
    return Summary(
        seeds=tuple(run.seed for run in runs),
        commands={str(run.seed): run.command for run in runs},
        chosen={str(run.seed): run.chosen for run in runs},
        comparisons={
            "chosen": _over((run.seed, run.best) for run in runs),
            **{
                name: _over((run.seed, run.rounds[name]) for run in runs if name in run.rounds)
                for name in rounds
            },
            **{
                f"{name}{OUTSIDE}": _over(
                    (run.seed, run.outside[name]) for run in runs if name in run.outside
                )
                for name in abroad
            },
        },
    )


def pooled(seeds: Sequence[int], rows: Sequence[Row]) -> Pooled:
    """Put one comparison over *seeds* together, with Student's t interval of the mean gain."""
    n, fixed, broken = (sum(getattr(row, key) for row in rows) for key in ("n", "fixed", "broken"))
    gains = [100 * (row.fixed - row.broken) / row.n for row in rows]
    spread = [statistics.item_variance(row.fixed, row.broken, row.n) / row.n for row in rows]
    return Pooled(
        gain_points=statistics.mean(gains),
        by_seed={str(s): round(g, 2) for s, g in zip(seeds, gains, strict=True)},
        items_deviation=round(100 * (sum(spread) / len(spread)) ** 0.5, 4),
        better_in=sum(gain > 0 for gain in gains),
        n=n,
        fixed=fixed,
        broken=broken,
        unchanged=n - fixed - broken,
    )


def lines(summary: Summary) -> list[tuple[str, ...]]:
    """Write the table of a sweep for people, its header first."""
    rows: list[tuple[str, ...]] = [HEAD]
    for round, found in summary.comparisons.items():
        for name, row in found.items():
            gain = row.gain_points
            deviation = "unknown" if gain.deviation is None else f"{gain.deviation:.1f}"
            rows.append(
                (
                    round,
                    name,
                    str(gain.n),
                    f"{gain.mean:+.1f}",
                    _interval(gain),
                    ", ".join(f"{value:+.1f}" for value in row.by_seed.values()),
                    f"{deviation}, {row.items_deviation:.1f}",
                    f"{row.fixed}, {row.broken}",
                )
            )
    return rows


def bars(summary: Summary) -> list[Bar]:
    """
    Return the mean gains of *summary* that have an interval, to be drawn.

    Told apart is what Student's t interval over the seeds sets apart from nothing; with one seed
    there is no interval, and nothing is.
    """
    return [
        Bar(
            f"{round} - {name}",
            gain.mean,
            gain.low,
            gain.high,
            told_apart=gain.low > 0 or gain.high < 0,
        )
        for round, found in summary.comparisons.items()
        for name, gain in ((name, row.gain_points) for name, row in found.items())
        if gain.low is not None and gain.high is not None
    ]


def _over(found: Iterable[tuple[int, Sequence[Row]]]) -> dict[str, Pooled]:
    """The rows of each seed put together by rung; by branch where two of a seed are one rung."""
    by_rung: dict[str, list[tuple[int, Row]]] = {}
    for seed, rows in found:
        times = Counter(row.rung for row in rows)
        for row in rows:
            name = row.rung if times[row.rung] == 1 else row.against
            by_rung.setdefault(name, []).append((seed, row))
    return {
        name: pooled([seed for seed, _ in pairs], [row for _, row in pairs])
        for name, pairs in by_rung.items()
    }


def _run(seed: int, file: Path) -> Run:
    content = read_json(file)
    ladder = content if "rounds" in content else content.get("ladder")
    where = f"{file}: not the results of a run"
    if ladder is not None:
        found = Rows.held(ladder, where)
        if found.chosen not in found.rounds:
            raise RefusedError(f"{where}: rounds: no {found.chosen}, which is the chosen one")
        best = found.rounds[found.chosen]
        command = content.get("command")
        return Run(seed, found.chosen, best, found.rounds, command, found.outside)
    rows = tuple(
        Row.held({"rung": name} | content.get(key, {}), f"{where}: {key}")
        for name, key in (
            ("one-shot", "against_first"),
            ("one-shot, step-matched", "against_control"),
        )
    )
    return Run(seed, str(content.get("round")), rows, {}, None)


def _interval(gain: statistics.Mean) -> str:
    if gain.low is None or gain.high is None:
        return "one seed"
    return f"{gain.low:+.1f} to {gain.high:+.1f}"
