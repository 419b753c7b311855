"""Whether what was refined for one student serves others: the transfer table."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from redistill.analysis import statistics
from redistill.analysis.comparison import Bar, Comparison, compare, corrected, gain_text, p_text
from redistill.analysis.figures import Figures
from redistill.console.exceptions import RefusedError
from redistill.records.jsonl import by_problem
from redistill.records.types import Prediction
from redistill.rounds.branches import BASE, FIRST, Branch, Cell, origin, target_of

AGAINST = {  # what each version is held against, in this order
    "matched": ("first",),
    "refined": ("first", "matched", "self"),
    "self": ("first", "matched"),
    "joint": ("first", "matched", "refined"),
}
SHARE = ("refined", "joint")  # the versions that keep a share of a gain of the source
COLUMNS = (
    "label", "target", "version", "rationales", "against", "against_version", "n", "k",
    "k_against", "fixed", "broken", "gain_points", "low_points", "high_points",
    "relative_percent", "p", "p_holm", "ratio", "ratio_low", "ratio_high",
)  # fmt: skip
HEAD = (
    "target", "taught", "against", "solved, against it", "fixed, broken",
    "gain, points, 95 % interval", "p", "Holm", "share of the source's gain",
)  # fmt: skip

Tests = Mapping[str, Sequence[Prediction]]


class Share(Figures):
    """
    The transfer *ratio*: what a target gains for what the source gains, with its 95 % interval.

    Without a ratio, or without an interval, *because* says why, where there is something to say.
    """

    ratio: float | None = None
    ratio_low: float | None = None
    ratio_high: float | None = None
    because: str | None = None


class Row(Comparison, Share):
    """
    The branch *cell* compared with the branch *against* on the same student.

    *cell* is a cell of a *target* or, where that is "source", a round. *chosen* says whether its
    rationales are of the round that dev chose; None where they are of no round.
    """

    cell: str
    target: str
    version: str
    rationales: str
    against: str
    against_version: str
    chosen: bool | None = None


class SourceRow(Comparison):
    """A *round* of the source compared with its one-shot student or its control."""

    round: str
    against: str
    against_version: str


class Source(Figures):
    """The rounds of the source, that which dev *chosen* first."""

    chosen: str
    chosen_on: str = "dev"
    rows: tuple[SourceRow, ...]


class CellScore(Figures):
    """What a cell is, and how many test problems its student solves: *k* of *n*."""

    target: str
    version: str
    rationales: str
    times: int
    n: int
    k: int


class Table(Figures):
    """Every cell, held against its kin; *source* is None where this run has no rounds."""

    alpha: float
    source: Source | None
    cells: dict[str, CellScore]
    rows: tuple[Row, ...]
    passed_through: tuple[str, ...]

    def all_rows(self) -> list[Row]:
        """Return the rows of the source in the shape of those of the targets, then those."""
        own = () if self.source is None else self.source.rows
        first = [
            Row(
                **dict(row), cell=row.round, target="source", version="refined",
                rationales=row.round,
            )
            for row in own
        ]  # fmt: skip
        return [*first, *self.rows]

    def of(self, version: str, against: str) -> list[Row]:
        """Return the rows of the targets that hold *version* against the version *against*."""
        return [r for r in self.rows if (r.version, r.against_version) == (version, against)]


C = TypeVar("C", bound=Comparison)


def transfer(
    branches: Mapping[str, Branch],
    rounds: Sequence[str],
    chosen: str | None,
    control: str,
    tests: Tests,
    alpha: float,
) -> Table:
    """
    Hold every cell among *branches* against its kin on *tests*, and against the source's own gain.

    Kin are the cells of one chain: from the same first student of the same target. A pair of
    versions, such as refined over first, is a family of tests over all targets for Holm's
    correction. *chosen* is the round that is best on dev of the *rounds*, None where this run has
    none; then there is no source whose gain could be shared. Cells that were passed through are
    named and left out.
    """
    cells = {name: cell for name, cell in branches.items() if isinstance(cell, Cell)}
    own = {"matched": control, "refined": None if chosen == FIRST else chosen}
    rows = [
        row.model_copy(
            update={"chosen": row.rationales == chosen if row.rationales in rounds else None}
        )
        for name, cell in cells.items()
        if tests[name]
        for row in _rows(name, cell, branches, tests, own)
    ]
    rows = _by_family(rows, lambda row: (row.version, row.against_version))
    return Table(
        alpha=alpha,
        source=_source(chosen, rounds, control, tests),
        cells={name: _score(cell, tests[name]) for name, cell in cells.items()},
        rows=tuple(row.model_copy(update=dict(_share(row, branches, tests))) for row in rows),
        passed_through=tuple(name for name in cells if not tests[name]),
    )


def kept(
    source: tuple[Sequence[Prediction], Sequence[Prediction]],
    target: tuple[Sequence[Prediction], Sequence[Prediction]],
) -> Share:
    """
    Divide the gain of the *target* by that of the *source*, each given as (before, after).

    Both gains are on the same problems, so a resample of the bootstrap draws problems with what
    both students gain on them. There is no ratio where the source gains nothing, and no interval
    where it gains nothing in more than one resample of 40. Raises RefusedError where the two were
    not tested on the same problems.
    """
    ours, theirs = _gains(*source), _gains(*target)
    if ours.keys() != theirs.keys():
        raise RefusedError("the source and a target were not tested on the same problems")
    pairs = [(ours[problem], theirs[problem]) for problem in ours]
    gain, won = sum(a for a, _ in pairs), sum(b for _, b in pairs)
    if gain <= 0:
        return Share(because="the source gains nothing")
    kinds = sorted(set(pairs))
    shares = np.array([pairs.count(kind) for kind in kinds]) / len(pairs)
    chance = np.random.default_rng(statistics.SEED)
    counts = chance.multinomial(len(pairs), shares, size=statistics.DRAWS)
    drawn, answered = (counts @ np.array([kind[place] for kind in kinds]) for place in (0, 1))
    ratio, tail = round(won / gain, 4), (1 - statistics.LEVEL) / 2
    if float((drawn <= 0).mean()) > tail:
        unsure = "the source's gain is not sure enough for an interval"
        return Share(ratio=ratio, because=unsure)
    sure = drawn > 0
    low, high = np.quantile(answered[sure] / drawn[sure], [tail, 1 - tail])
    return Share(ratio=ratio, ratio_low=round(float(low), 4), ratio_high=round(float(high), 4))


def table(found: Table) -> list[dict[str, Any]]:
    """Write all rows for CSV and DVC's plots, those of the source first."""
    return [
        {column: ({"label": _label(row)} | dict(row))[column] for column in COLUMNS}
        for row in found.all_rows()
    ]


def bars(found: Table) -> list[Bar]:
    """Return the gains over what was not refined, those of one target together, to be drawn."""
    drawn: dict[str, list[Bar]] = {}
    for row in found.all_rows():
        if row.version != "matched" and row.against_version == "first":
            label = f"{row.target} - {row.version} ({row.rationales})"
            drawn.setdefault(row.target, []).append(row.bar(label, found.alpha))
    return [bar for some in drawn.values() for bar in some]


def lines(found: Table) -> list[tuple[str, ...]]:
    """Write the table for people, its header first."""
    return [
        HEAD,
        *(
            (
                row.target,
                f"{row.version} ({row.rationales})",
                f"{row.against_version} ({row.against})",
                f"{row.k}, {row.k_against}",
                f"{row.fixed}, {row.broken}",
                gain_text(row),
                p_text(row.p, 0),
                "" if row.p_holm is None else p_text(row.p_holm, 0),
                _ratio(row),
            )
            for row in found.all_rows()
        ),
    ]


def sentence(found: Table) -> str:
    """Say how often the refined data are better than the first ones, and how much is kept."""
    rows = found.of("refined", "first")
    if not rows:
        return "No target was taught a refined version and a first one."
    won = [row for row in rows if row.better(found.alpha)]
    parts = [
        f"Refined rationales are better than the first ones in {len(won)} of {len(rows)} "
        f"comparisons, with Holm's correction at {found.alpha}: {_gained(rows)}"
    ]
    shares = [(row, row.ratio) for row in rows if row.ratio is not None]
    if sure := [(row, ratio) for row, ratio in shares if row.ratio_low is not None]:
        told = ", ".join(f"{row.target} {100 * ratio:.0f} %" for row, ratio in sure)
        parts.append(f"of what the source gained by them they keep: {told}")
    if own := found.of("refined", "self"):
        parts.append(f"against what was refined around their own errors: {_gained(own)}")
    if joint := found.of("joint", "refined"):
        parts.append(f"one set for several students against the source's: {_gained(joint)}")
    others = sorted({row.rationales for row in rows if row.chosen is False})
    if others and found.source is not None:
        parts.append(f"dev chose {found.source.chosen}, they were taught {', '.join(others)}")
    return "; ".join(parts) + "."


def _gained(rows: Sequence[Row]) -> str:
    return ", ".join(f"{row.target} {row.gain_points:+.1f} points" for row in rows)


def _rows(
    name: str,
    cell: Cell,
    branches: Mapping[str, Branch],
    tests: Tests,
    source: Mapping[str, str | None],
) -> list[Row]:
    """
    The cell *name* against each of its kin that `AGAINST` names, in that order.

    Among the kin of the source's own student is what the *source* has of each version.
    """
    first = origin(name, branches)
    kin: dict[str, list[str]] = {"first": [first], "matched": [], "refined": [], "self": []}
    for version, own in source.items():
        if first == FIRST and own is not None:
            kin[version].append(own)
    for other, found in branches.items():
        if not isinstance(found, Cell) or other in (name, first) or found.version not in kin:
            continue
        if found.target == cell.target and origin(other, branches) == first:
            kin[found.version].append(other)
    return [
        Row(
            **dict(compare(tests[other], tests[name])),
            cell=name,
            target=cell.target,
            version=cell.version,
            rationales=cell.rationales,
            against=other,
            against_version=version,
        )
        for version in AGAINST.get(cell.version, ())
        for other in kin[version]
        if tests[other]
    ]


def _share(row: Row, branches: Mapping[str, Branch], tests: Tests) -> Share:
    """The share of the source's gain by the same rationales that the target of *row* keeps."""
    if row.version not in SHARE or row.against_version != "first" or row.target == BASE:
        return Share()
    first, cell = branches[row.against], branches[row.cell]
    if any(made.start != row.target or made.times != 1 for made in (first, cell)):
        return Share(because="it was not trained once from its base, as the first is")
    source = [
        name
        for name, branch in branches.items()
        if branch.rationales == row.rationales and _plain(name, branches) and tests[name]
    ]
    if first.rationales != FIRST or FIRST not in branches or not source or not tests[FIRST]:
        return Share(because="no student of the source was taught both versions as it was")
    return kept((tests[FIRST], tests[source[0]]), (tests[row.against], tests[row.cell]))


def _plain(name: str, branches: Mapping[str, Branch]) -> bool:
    """Whether *name* is a student of the source that was trained once, from its base."""
    branch = branches[name]
    return target_of(name, branches) == BASE and branch.start == BASE and branch.times == 1


def _source(chosen: str | None, rounds: Sequence[str], control: str, tests: Tests) -> Source | None:
    """The rounds of the source over its one-shot student and its control; None without rounds."""
    if chosen is None or not tests[FIRST]:
        return None
    pairs = [
        (name, other, version)
        for name in rounds
        if name != FIRST and tests[name]
        for other, version in ((FIRST, "first"), (control, "matched"))
        if tests.get(other)
    ]
    pairs.sort(key=lambda pair: pair[0] != chosen)
    rows = [
        SourceRow(
            **dict(compare(tests[other], tests[name])),
            round=name,
            against=other,
            against_version=version,
        )
        for name, other, version in pairs
    ]
    return Source(chosen=chosen, rows=tuple(_by_family(rows, lambda row: row.against_version)))


def _by_family(rows: Sequence[C], family: Callable[[C], Hashable]) -> list[C]:
    """*rows* in their order with Holm's p, over those that are of one *family*."""
    families: dict[Hashable, list[int]] = {}
    for place, row in enumerate(rows):
        families.setdefault(family(row), []).append(place)
    done = list(rows)
    for places in families.values():
        for place, row in zip(places, corrected([rows[p] for p in places]), strict=True):
            done[place] = row
    return done


def _score(cell: Cell, test: Sequence[Prediction]) -> CellScore:
    return CellScore(
        target=cell.target,
        version=cell.version,
        rationales=cell.rationales,
        times=cell.times,
        n=len(test),
        k=sum(p.verdict == "correct" for p in test),
    )


def _gains(before: Sequence[Prediction], after: Sequence[Prediction]) -> dict[str, int]:
    """What each problem gains: 1 where only *after* is correct, -1 where only *before* is."""
    old, new = by_problem(before, "before"), by_problem(after, "after")
    return {
        problem: (new[problem].verdict == "correct") - (old[problem].verdict == "correct")
        for problem in old
        if problem in new
    }


def _label(row: Row) -> str:
    return f"{row.target}: {row.version} over {row.against_version}"


def _ratio(share: Share) -> str:
    if share.ratio is None:
        return share.because or ""
    if share.ratio_low is None or share.ratio_high is None:
        return f"{100 * share.ratio:.0f} %, {share.because}"
    low, high = 100 * share.ratio_low, 100 * share.ratio_high
    return f"{100 * share.ratio:.0f} %, {low:.0f} to {high:.0f}"
