"""Whether what was refined for one student serves others: the transfer table."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from redistill.analysis import statistics
from redistill.analysis.ladder import compare
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

Table = Mapping[str, Any]
Tests = Mapping[str, Sequence[Prediction]]


def transfer(
    branches: Mapping[str, Branch],
    rounds: Sequence[str],
    chosen: str | None,
    control: str,
    tests: Tests,
    alpha: float,
) -> dict[str, Any]:
    """
    Every cell among *branches* against its kin on the *tests*, and against the source's own gain.

    Kin are the cells of one chain: from the same first student of the same target. A pair of
    versions, such as refined over first, is a family of tests over all targets for Holm's
    correction. *chosen* is the round that is best on dev of the *rounds*, None where this run has
    none; then there is no source whose gain could be shared. Cells that were passed through are
    named and left out.
    """
    cells = {name: cell for name, cell in branches.items() if isinstance(cell, Cell)}
    own = {"matched": control, "refined": None if chosen == FIRST else chosen}
    rows = [
        row
        for name, cell in cells.items()
        if tests[name]
        for row in _rows(name, cell, branches, tests, own)
    ]
    for row in rows:
        row["chosen"] = row["rationales"] == chosen if row["rationales"] in rounds else None
    _corrected(rows, ("version", "against_version"))
    return {
        "alpha": alpha,
        "source": _source(chosen, rounds, control, tests),
        "cells": {name: _cell(cell, tests[name]) for name, cell in cells.items()},
        "rows": [_shared(row, branches, tests) for row in rows],
        "passed_through": [name for name in cells if not tests[name]],
    }


def kept(
    source: tuple[Sequence[Prediction], Sequence[Prediction]],
    target: tuple[Sequence[Prediction], Sequence[Prediction]],
) -> dict[str, Any]:
    """
    The transfer ratio: the gain of the *target* over that of the *source*, each (before, after).

    Both gains are on the same problems, so a resample of the bootstrap draws problems with what
    both students gain on them. There is no ratio where the source gains nothing, and no interval
    where it gains nothing in more than one resample of 40: ``because`` says so.
    """
    ours, theirs = _gains(*source), _gains(*target)
    if ours.keys() != theirs.keys():
        raise RefusedError("the source and a target were not tested on the same problems")
    pairs = [(ours[problem], theirs[problem]) for problem in ours]
    gain, won = sum(a for a, _ in pairs), sum(b for _, b in pairs)
    nothing = {"ratio": None, "ratio_low": None, "ratio_high": None}
    if gain <= 0:
        return nothing | {"because": "the source gains nothing"}
    kinds = sorted(set(pairs))
    shares = np.array([pairs.count(kind) for kind in kinds]) / len(pairs)
    chance = np.random.default_rng(statistics.SEED)
    counts = chance.multinomial(len(pairs), shares, size=statistics.DRAWS)
    drawn, answered = (counts @ np.array([kind[place] for kind in kinds]) for place in (0, 1))
    found = {"ratio": round(won / gain, 4), "ratio_low": None, "ratio_high": None}
    tail = (1 - statistics.LEVEL) / 2
    if float((drawn <= 0).mean()) > tail:
        return found | {"because": "the source's gain is not sure enough for an interval"}
    sure = drawn > 0
    low, high = np.quantile(answered[sure] / drawn[sure], [tail, 1 - tail])
    return found | {
        "ratio_low": round(float(low), 4), "ratio_high": round(float(high), 4), "because": None,
    }  # fmt: skip


def table(found: Table) -> list[dict[str, Any]]:
    """All rows for CSV and DVC's plots, those of the source first."""
    rows = [*_of_source(found), *found["rows"]]
    return [{column: ({"label": _label(row)} | row)[column] for column in COLUMNS} for row in rows]


def forest(found: Table) -> dict[str, Any]:
    """The gains over what was not refined, by target, in the shape of a ladder to be drawn."""
    drawn: dict[str, list[dict[str, Any]]] = {}
    for row in [*_of_source(found), *found["rows"]]:
        if row["version"] != "matched" and row["against_version"] == "first":
            told = {**row, "rung": f"{row['version']} ({row['rationales']})"}
            drawn.setdefault(row["target"], []).append(told)
    return {"alpha": found["alpha"], "rounds": drawn}


def lines(found: Table) -> list[tuple[str, ...]]:
    """The table for people, its header first."""
    return [
        HEAD,
        *(
            (
                row["target"],
                f"{row['version']} ({row['rationales']})",
                f"{row['against_version']} ({row['against']})",
                f"{row['k']}, {row['k_against']}",
                f"{row['fixed']}, {row['broken']}",
                f"{row['gain_points']:+.1f}, {row['low_points']:+.1f} to {row['high_points']:+.1f}",
                _p(row["p"]),
                "" if row["p_holm"] is None else _p(row["p_holm"]),
                _ratio(row),
            )
            for row in [*_of_source(found), *found["rows"]]
        ),
    ]


def sentence(found: Table) -> str:
    """How often the refined data are better than the first ones, and how much is kept."""
    rows, alpha = _rows_of(found, "refined", "first"), found["alpha"]
    if not rows:
        return "No target was taught a refined version and a first one."
    won = [row for row in rows if row["gain_points"] > 0 and row["p_holm"] < alpha]
    parts = [
        f"Refined rationales are better than the first ones in {len(won)} of {len(rows)} "
        f"comparisons, with Holm's correction at {alpha}: {_gained(rows)}"
    ]
    if shares := [row for row in rows if row["ratio_low"] is not None]:
        told = ", ".join(f"{row['target']} {100 * row['ratio']:.0f} %" for row in shares)
        parts.append(f"of what the source gained by them they keep: {told}")
    if own := _rows_of(found, "refined", "self"):
        parts.append(f"against what was refined around their own errors: {_gained(own)}")
    if joint := _rows_of(found, "joint", "refined"):
        parts.append(f"one set for several students against the source's: {_gained(joint)}")
    if others := sorted({row["rationales"] for row in rows if row["chosen"] is False}):
        parts.append(f"dev chose {found['source']['chosen']}, they were taught {', '.join(others)}")
    return "; ".join(parts) + "."


def _gained(rows: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(f"{row['target']} {row['gain_points']:+.1f} points" for row in rows)


def _rows(
    name: str,
    cell: Cell,
    branches: Mapping[str, Branch],
    tests: Tests,
    source: Mapping[str, str | None],
) -> list[dict[str, Any]]:
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
        {
            "cell": name,
            "target": cell.target,
            "version": cell.version,
            "rationales": cell.rationales,
            "against": other,
            "against_version": version,
            **compare(tests[other], tests[name]),
        }
        for version in AGAINST.get(cell.version, ())
        for other in kin[version]
        if tests[other]
    ]


def _shared(row: dict[str, Any], branches: Mapping[str, Branch], tests: Tests) -> dict[str, Any]:
    """*row* with the share of the source's gain by the same rationales that the target keeps."""
    nothing = {"ratio": None, "ratio_low": None, "ratio_high": None, "because": None}
    if row["version"] not in SHARE or row["against_version"] != "first" or row["target"] == BASE:
        return row | nothing
    first, cell = branches[row["against"]], branches[row["cell"]]
    if any(made.start != row["target"] or made.times != 1 for made in (first, cell)):
        return row | nothing | {"because": "it was not trained once from its base, as the first is"}
    source = [
        name
        for name, branch in branches.items()
        if branch.rationales == row["rationales"] and _plain(name, branches) and tests[name]
    ]
    if first.rationales != FIRST or FIRST not in branches or not source or not tests[FIRST]:
        return (
            row
            | nothing
            | {"because": "no student of the source was taught both versions as it was"}
        )
    ours, theirs = (tests[FIRST], tests[source[0]]), (tests[row["against"]], tests[row["cell"]])
    return row | kept(ours, theirs)


def _plain(name: str, branches: Mapping[str, Branch]) -> bool:
    """Whether *name* is a student of the source that was trained once, from its base."""
    branch = branches[name]
    return target_of(name, branches) == BASE and branch.start == BASE and branch.times == 1


def _source(
    chosen: str | None, rounds: Sequence[str], control: str, tests: Tests
) -> dict[str, Any] | None:
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
        {
            "round": name,
            "against": other,
            "against_version": version,
            **compare(tests[other], tests[name]),
        }
        for name, other, version in pairs
    ]
    _corrected(rows, ("against_version",))
    return {"chosen": chosen, "chosen_on": "dev", "rows": rows}


def _corrected(rows: Sequence[dict[str, Any]], family: Sequence[str]) -> None:
    """Add Holm's p to each of *rows*, over those that agree in the keys of the *family*."""
    families: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        families.setdefault(tuple(row[key] for key in family), []).append(row)
    for found in families.values():
        for row, p in zip(found, statistics.holm([row["p"] for row in found]), strict=True):
            row["p_holm"] = p


def _cell(cell: Cell, test: Sequence[Prediction]) -> dict[str, Any]:
    return {
        "target": cell.target,
        "version": cell.version,
        "rationales": cell.rationales,
        "times": cell.times,
        "n": len(test),
        "k": sum(p.verdict == "correct" for p in test),
    }


def _rows_of(found: Table, version: str, against: str) -> list[Mapping[str, Any]]:
    return [
        row
        for row in found["rows"]
        if (row["version"], row["against_version"]) == (version, against)
    ]


def _of_source(found: Table) -> list[dict[str, Any]]:
    """The rows of the source in the shape of those of the targets."""
    if found["source"] is None:
        return []
    shared = {"ratio": None, "ratio_low": None, "ratio_high": None, "because": None}
    return [
        {**row, **shared, "target": "source", "version": "refined", "rationales": row["round"]}
        for row in found["source"]["rows"]
    ]


def _gains(before: Sequence[Prediction], after: Sequence[Prediction]) -> dict[str, int]:
    """What each problem gains: 1 where only *after* is correct, -1 where only *before* is."""
    old, new = by_problem(before, "before"), by_problem(after, "after")
    return {
        problem: (new[problem].verdict == "correct") - (old[problem].verdict == "correct")
        for problem in old
        if problem in new
    }


def _label(row: Mapping[str, Any]) -> str:
    return f"{row['target']}: {row['version']} over {row['against_version']}"


def _ratio(row: Mapping[str, Any]) -> str:
    if row["ratio"] is None:
        return row["because"] or ""
    if row["ratio_low"] is None:
        return f"{100 * row['ratio']:.0f} %, {row['because']}"
    low, high = 100 * row["ratio_low"], 100 * row["ratio_high"]
    return f"{100 * row['ratio']:.0f} %, {low:.0f} to {high:.0f}"


def _p(value: float) -> str:
    return f"{value:.0e}" if value < 0.001 else f"{value:.3f}"
