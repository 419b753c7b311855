"""The ladder: a round held against one-shot and against every control, on the same problems."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redistill.analysis import statistics
from redistill.analysis.scores import paired
from redistill.console.exceptions import RefusedError
from redistill.records.json_file import read_json
from redistill.records.types import Prediction
from redistill.rounds.branches import FIRST, Arm, Branch

NOT_BETTER = 1  # the exit code of a check that fails
LABELS = {
    "none": "resample",
    "verdict": "verdict only",
    "shuffled": "shuffled errors",
    "error": "refine",
}
COLUMNS = (
    "label", "round", "against", "rung", "n", "k", "k_against", "fixed", "broken", "gain_points",
    "low_points", "high_points", "relative_percent", "p", "p_holm", "smallest_points",
)  # fmt: skip
HEAD = (
    "against", "solved, against it", "fixed, broken", "gain, points, 95 % interval", "relative",
    "p", "Holm", "would show", "calls, against it",
)  # fmt: skip

Ladder = Mapping[str, Any]
Row = Mapping[str, Any]


def rung(name: str, branches: Mapping[str, Branch], control: str) -> str:
    """
    What the branch *name* is to a round: the same word for its like at every round and seed.

    An arm is named for what its teacher is told; what else sets it apart from the round is said
    after it: that it rewrites all rationales, where its student starts from, how long it trains.
    """
    branch = branches[name]
    if name == FIRST:
        return "one-shot"
    if not isinstance(branch, Arm):
        return "one-shot, step-matched" if name == control else name
    like, words = branches[branch.like], [LABELS[branch.feedback]]
    if branch.scope == "all":
        words.append("all")
    if _start(branch) != _start(like):
        words.append(_start(branch))
    if branch.times != like.times:
        words.append(f"{branch.times} to {like.times} times the steps")
    return ", ".join(words)


def opponents(
    round: str, rounds: Sequence[str], branches: Mapping[str, Branch], control: str
) -> list[str]:
    """The branches that *round* is held against: one-shot, the controls, and the arms like it."""
    arms = {name: arm for name, arm in branches.items() if isinstance(arm, Arm)}
    others = [name for name in branches if name not in rounds and name not in arms]
    controls = sorted(others, key=lambda name: name != control)
    mirrored = [name for name, arm in arms.items() if arm.like == round]
    order = [*LABELS]
    mirrored.sort(key=lambda name: order.index(arms[name].feedback))
    first = [FIRST] if round != FIRST else []
    return [*first, *controls, *mirrored]


def ladder(
    chosen: str,
    rounds: Sequence[str],
    branches: Mapping[str, Branch],
    control: str,
    test: Mapping[str, Sequence[Prediction]],
    steps: Mapping[str, int],
    calls: Mapping[str, Mapping[str, int]],
) -> dict[str, Any]:
    """
    Every round, *chosen* by dev or not, against each of its `opponents` on the *test* predictions.

    The rows of one round are a family of tests for Holm's correction. *steps* are the optimiser
    steps of each branch's own training, *calls* what `calls` read. Branches without predictions,
    which were passed through, are left out and named.
    """
    content: dict[str, Any] = {
        "chosen": chosen,
        "chosen_on": "dev",
        "control": control,
        "alpha": statistics.ALPHA,
        "power": statistics.POWER,
        "passed_through": [name for name in branches if not test[name]],
        "rounds": {},
    }
    for round in rounds:
        if not test[round]:
            continue
        names = [n for n in opponents(round, rounds, branches, control) if test[n]]
        rows = [
            {
                "against": name,
                "rung": rung(name, branches, control),
                **compare(test[name], test[round]),
                "calls": {"round": _calls(round, calls), "against": _calls(name, calls)},
                "steps": {
                    "round": spent(round, branches, rounds, steps),
                    "against": spent(name, branches, rounds, steps),
                },
            }
            for name in names
        ]
        corrected = statistics.holm([row["p"] for row in rows])
        content["rounds"][round] = [
            {**row, "p_holm": p} for row, p in zip(rows, corrected, strict=True)
        ]
    return content


def compare(before: Sequence[Prediction], after: Sequence[Prediction]) -> dict[str, Any]:
    """
    What *after* gains over *before* on the same problems, with its interval, p and power.

    Gains are in percentage points of the problems, the relative one in percent of what *before*
    solved. ``smallest_points`` is the true gain that so many problems, of which as many change as
    here, would show in 4 cases of 5.
    """
    found = paired(before, after)
    n, fixed, broken = (int(found[key]) for key in ("n", "fixed", "broken"))
    k, against = (sum(p.verdict == "correct" for p in rows) for rows in (after, before))
    low, high = statistics.bootstrap(fixed, broken, n)
    gain, smallest = statistics.relative(k, against), statistics.smallest_effect(n, _share(found))
    return {
        "n": n,
        "k": k,
        "k_against": against,
        "fixed": fixed,
        "broken": broken,
        "unchanged": n - fixed - broken,
        "gain_points": round(100 * (fixed - broken) / n, 2) if n else 0.0,
        "low_points": round(100 * low, 2),
        "high_points": round(100 * high, 2),
        "relative_percent": None if gain is None else round(gain, 2),
        "item_variance": round(statistics.item_variance(fixed, broken, n), 6),
        "smallest_points": None if smallest is None else round(100 * smallest, 2),
        "p": found["p"],
    }


def calls(folder: Path, branches: Mapping[str, Branch]) -> dict[str, dict[str, int]]:
    """
    For each round and arm, how many problems its teacher was asked about, and the texts it gave.

    As the stages refine and control recorded them under *folder*; in draws and attempts a teacher
    gives more than one text for a problem. The other branches are taught what others were.
    """
    found = {}
    for name in branches:
        if name == FIRST or branches[name].rationales != name:
            continue
        content = read_json(folder / f"{name}.json")
        found[name] = {
            "asked": int(content["asked"]),
            "replies": int(content["attempts"]["replies"]),
        }
    return found


def spent(
    name: str, branches: Mapping[str, Branch], rounds: Sequence[str], steps: Mapping[str, int]
) -> int:
    """
    What it took to reach *name*, as *steps* say of each branch alone.

    A round or arm needs all the branches that it is from.
    """
    branch, total, seen = branches[name], steps[name], {name}
    while (name in rounds or isinstance(branch, Arm)) and branch.from_ not in seen:
        name = branch.from_
        branch, total = branches[name], total + steps[name]
        seen.add(name)
    return total


def rows_of(ladder: Ladder, round: str | None = None) -> list[dict[str, Any]]:
    """The rows of *round*, the chosen one by default; refuses a round that the ladder lacks."""
    name = round or ladder["chosen"]
    if name not in ladder["rounds"]:
        known = ", ".join(ladder["rounds"])
        raise RefusedError(f"the ladder has no round {name!r}; it has {known}")
    return list(ladder["rounds"][name])


def table(ladder: Ladder) -> list[dict[str, Any]]:
    """All rows with the round that each is about, for CSV and DVC's plots."""
    return [
        {
            column: ({"label": f"{name} - {row['rung']}", "round": name} | row)[column]
            for column in COLUMNS
        }
        for name, rows in ladder["rounds"].items()
        for row in rows
    ]


def lines(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """*rows* as cells for people, their header first."""
    return [
        HEAD,
        *(
            (
                row["against"],
                f"{row['k']}, {row['k_against']}",
                f"{row['fixed']}, {row['broken']}",
                f"{row['gain_points']:+.1f}, {row['low_points']:+.1f} to {row['high_points']:+.1f}",
                _percent(row["relative_percent"]),
                _p(row["p"], 0),
                _p(row["p_holm"], 0),
                _points(row["smallest_points"]),
                f"{row['calls']['round']['replies']}, {row['calls']['against']['replies']}",
            )
            for row in rows
        ),
    ]


def sentence(ladder: Ladder, round: str | None = None) -> str:
    """The ladder of *round* in words: what it is better than, what it is not, and how sure."""
    name, rows = round or ladder["chosen"], rows_of(ladder, round)
    alpha = ladder["alpha"]
    better = [row for row in rows if row["gain_points"] > 0 and row["p_holm"] < alpha]
    worse = [row for row in rows if row["gain_points"] < 0 and row["p_holm"] < alpha]
    rest = [row for row in rows if row not in better and row not in worse]
    parts = [
        f"{what} {', '.join(_named(row) for row in found)}"
        for what, found in (
            ("better than", better),
            ("worse than", worse),
            ("not told apart from", rest),
        )
        if found
    ]
    chosen = " (the best on dev)" if name == ladder["chosen"] else ""
    told = "; ".join(parts) or "held against nothing"
    return f"{name}{chosen} is, with Holm's correction at {alpha}, {told}."


@dataclass(frozen=True)
class Check:
    """Whether the chosen round is better than what it was held against, told in a sentence."""

    better: bool
    told: str


def check(ladder: Ladder, against: Sequence[str], alpha: float) -> Check:
    """
    Whether the chosen round is better than each branch in *against*, the control by default.

    Better is a gain on test with an exact p below *alpha*; of several p, corrected by Holm over
    those asked about. Raises RefusedError for a branch that the chosen round has no row for.
    """
    names = list(dict.fromkeys(against)) or [ladder["control"]]
    known = {row["against"]: row for row in rows_of(ladder)}
    for name in names:
        if name not in known:
            raise RefusedError(
                f"{ladder['chosen']}, the chosen round, is not held against {name!r}; "
                f"it is against {', '.join(known) or 'nothing'}"
            )
    rows = [known[name] for name in names]
    p_values = statistics.holm([row["p"] for row in rows])
    held = [row["gain_points"] > 0 and p < alpha for row, p in zip(rows, p_values, strict=True)]
    told = "; ".join(
        _told(row, p, alpha, better=good) + _short(row, ladder["control"])
        for row, p, good in zip(rows, p_values, held, strict=True)
    )
    return Check(all(held), f"{ladder['chosen']} is {told}.")


def _told(row: Row, p: float, alpha: float, *, better: bool) -> str:
    seen = (
        f"{'better' if better else 'not better'} than {row['against']}: "
        f"{row['gain_points']:+.1f} points on test ({_percent(row['relative_percent'])}; 95 % "
        f"interval {row['low_points']:+.1f} to {row['high_points']:+.1f}), {row['fixed']} of "
        f"{row['n']} problems fixed and {row['broken']} broken, p = {_p(p)}, "
        f"{'below' if p < alpha else 'not below'} {alpha}"
    )
    if not better:
        seen += f"; a true gain of {_points(row['smallest_points'])} points would show in 4 of 5"
    return seen


def _short(row: Row, control: str) -> str:
    """What is to be said of a step-matched control that took fewer steps than the round."""
    steps = row["steps"]
    if row["against"] != control or steps["against"] >= steps["round"]:
        return ""
    return f", although it took only {steps['against']} of {steps['round']} optimiser steps"


def _start(branch: Branch) -> str:
    return "continued" if branch.start == branch.from_ else f"from {branch.start}"


def _named(row: Row) -> str:
    name = row["against"] if row["against"] == row["rung"] else f"{row['against']} ({row['rung']})"
    return f"{name} by {row['gain_points']:+.1f} points"


def _share(found: Mapping[str, float]) -> float:
    return (found["fixed"] + found["broken"]) / found["n"] if found["n"] else 0.0


def _calls(name: str, calls: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """Those of the round or arm *name* itself; one-shot and its controls rewrite nothing."""
    return dict(calls.get(name, {"asked": 0, "replies": 0}))


def _percent(value: float | None) -> str:
    return "from none" if value is None else f"{value:+.1f} %"


def _points(value: float | None) -> str:
    return "more than 100" if value is None else f"{value:.1f}"


def _p(value: float, digits: int = 1) -> str:
    return f"{value:.{digits}e}" if value < 0.001 else f"{value:.3f}"
