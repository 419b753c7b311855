"""The loop in figures: the round that is best on dev, its gain on test, and what was lost."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from redistill.analysis.scores import best, paired
from redistill.console.exceptions import RefusedError
from redistill.records.types import Prediction
from redistill.settings.sections import Section

LEARNT = 0.6  # of the train problems; rounds of the shipped run solve three quarters and more
GAP_COLUMNS = ("label", "round", "gap", "count", "share")
COLUMNS = ("round", "split", "accuracy", "low", "high", "lenient", "eos", "mean_tokens", "nll")


class ReportSettings(Section):
    """Section ``report``: the control that the best round is held against, and its title."""

    control: str
    title: str


def passed_through(round_metrics: Mapping[str, Any]) -> bool:
    """Whether a branch trained no student because nothing was rewritten for it."""
    return bool(round_metrics.get("passed_through"))


def choose(rounds: Sequence[str], metrics: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the round with the highest dev accuracy among those that trained a student."""
    accuracy = {
        name: float(metrics[name]["dev"]["accuracy"])
        for name in rounds
        if not passed_through(metrics[name])
    }
    if not accuracy:
        raise RefusedError("no round has been evaluated, so there is nothing to report")
    return best(accuracy)


def verdict(
    chosen: str,
    control: str,
    metrics: Mapping[str, Mapping[str, Any]],
    test: Mapping[str, Sequence[Prediction]],
    first: str = "r0",
) -> dict[str, Any]:
    """
    What the round *chosen* on dev is worth on test, against the first round and the *control*.

    ``gain`` is in percentage points of test accuracy, ``p`` from an exact McNemar test.
    ``control_covers_best`` says whether the control took at least as many optimiser steps as all
    rounds up to the chosen one together.
    """
    content: dict[str, Any] = {
        "round": chosen,
        "chosen_on": "dev",
        "dev_accuracy": metrics[chosen]["dev"]["accuracy"],
        "test": metrics[chosen]["test"],
        "first_test": metrics[first]["test"],
        "control": control,
        "control_test": metrics[control]["test"],
        "steps_to_best": metrics[chosen]["steps_so_far"],
        "control_steps": metrics[control]["steps_so_far"],
        "control_covers_best": metrics[control]["steps_so_far"] >= metrics[chosen]["steps_so_far"],
    }
    for name, other in (("against_control", control), ("against_first", first)):
        result = paired(test[other], test[chosen])
        content[name] = {**result, "gain_points": round(100 * result["gain"], 2)}
    return content


def table(
    rounds: Sequence[str],
    metrics: Mapping[str, Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """One row a branch and split, for CSV and DVC's plots; rows of passed rounds are left out."""
    rows = []
    for name in rounds:
        found = metrics[name]
        if passed_through(found):
            continue
        for split in ("train", "dev", "test"):
            figures = {**found[split], "nll": found["nll_before"]}
            rows.append({"round": name, "split": split} | {k: figures[k] for k in COLUMNS[2:]})
    return rows


def summary(
    metrics: Mapping[str, Mapping[str, Any]], verdict: Mapping[str, Any], advice: str | None
) -> dict[str, Any]:
    """All branches with their figures, the verdict, and *advice*, as one JSON document."""
    return {
        "branches": dict(metrics),
        "best": dict(verdict),
        "order": list(metrics),
        "advice": advice,
    }


def gap_table(names: Sequence[str], folder: Path) -> list[dict[str, Any]]:
    """The gaps on dev of each of the branches *names*, as `mine` counted them under *folder*."""
    rows = []
    for name in names:
        profile = read_json(folder / f"{name}.json")["profile"]
        for gap, count in profile["gaps"].items():
            share = round(count / profile["n"], 6) if profile["n"] else 0.0
            label = f"{name}: {gap.replace('_', ' ')}"
            row = {"label": label, "round": name, "gap": gap, "count": count, "share": share}
            rows.append(row)
    return rows


def as_csv(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = COLUMNS) -> str:
    """*rows* as CSV with a header of *columns*."""
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def steps_so_far(
    branch: str, rounds: Sequence[str], training: Mapping[str, Mapping[str, Any]]
) -> int:
    """Optimiser steps spent to reach *branch*: a round needs all rounds before it."""
    if branch not in rounds:
        return int(training[branch].get("steps", 0))
    upto = rounds[: list(rounds).index(branch) + 1]
    return sum(int(training[name].get("steps", 0)) for name in upto)


def collect(names: Sequence[str], rounds: Sequence[str], folder: Path) -> dict[str, dict[str, Any]]:
    """Collect the metrics of every branch in *folder*: scores, training and out-of-domain tests."""
    training = {name: read_json(folder / "training" / f"{name}.json") for name in names}
    found = {}
    for name in names:
        found[name] = {
            **scores(folder / "rounds", name),
            "outside": read_json(folder / "outside" / f"{name}.json")["scores"],
            "training": training[name],
            "nll_before": training[name].get("nll_before"),
            "steps_so_far": steps_so_far(name, rounds, training),
        }
    return found


def scores(folder: Path, name: str) -> dict[str, Any]:
    """Read the scores of the branch *name* by split, and whether it was passed through."""
    graded = read_json(folder / f"{name}.json")
    return {"passed_through": graded["passed_through"], **graded["scores"]}


def balances(folder: Path) -> list[tuple[str, dict[str, Any]]]:
    """Every balance of rows that a stage recorded under *folder*, by the name of its file."""
    found = []
    for file in sorted(folder.glob("*/*.json")):
        content = read_json(file)
        if "balance" in content:
            found.append((f"{file.parent.name}/{file.stem}", content["balance"]))
    return found


def lines(summary: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The rows of the table that ``make repro`` ends with, its header first."""
    rows: list[tuple[str, ...]] = [
        ("round", "test", "95 % interval", "dev", "lenient", "EOS", "tokens", "NLL", "rewritten")
    ]
    for name in summary["order"]:
        found = summary["branches"][name]
        if passed_through(found):
            rows.append((name, "passed through: nothing rewritten", *[""] * 7))
            continue
        test = found["test"]
        rows.append(
            (
                name + (" *" if name == summary["best"]["round"] else ""),
                f"{100 * test['accuracy']:.1f} % ({test['k']}/{test['n']})",
                f"{100 * test['low']:.1f} to {100 * test['high']:.1f}",
                f"{100 * found['dev']['accuracy']:.1f} %",
                f"{100 * test['lenient']:.1f} %",
                f"{100 * test['eos']:.1f} %",
                f"{test['mean_tokens']:.0f}",
                f"{found['nll_before']:.2f}",
                str(found["training"]["rewritten"]),
            )
        )
    return rows


def outside_lines(summary: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The rows of the table of out-of-domain tests, its header first; none where they are none."""
    branches = summary["branches"]
    tests = sorted({test for found in branches.values() for test in found.get("outside", {})})
    if not tests:
        return []
    rows: list[tuple[str, ...]] = [("round", *tests)]
    for name in summary["order"]:
        found = branches[name]
        if passed_through(found):
            rows.append((name, *["passed through"] * len(tests)))
            continue
        rows.append((name, *(_interval(found["outside"][test]) for test in tests)))
    return rows


def _interval(score: Mapping[str, Any]) -> str:
    low, high = 100 * score["low"], 100 * score["high"]
    share = f"{100 * score['accuracy']:.1f} % ({score['k']}/{score['n']})"
    return f"{share}, {low:.1f} to {high:.1f}"


def sentence(best_round: Mapping[str, Any]) -> str:
    """The verdict on the best round in words."""
    against = best_round["against_control"]
    return (
        f"Best on dev: {best_round['round']}. On test it is {against['gain_points']:+.1f} points "
        f"against {best_round['control']} ({against['fixed']} problems fixed, "
        f"{against['broken']} broken, exact McNemar p = {against['p']:.1e})."
    )


def advice(metrics: Mapping[str, Mapping[str, Any]], refined: Iterable[str]) -> str | None:
    """
    What to do where students have not learnt what they were taught, in words; None if all have.

    A student that solves less than LEARNT of its own train problems says little about rationales:
    more steps may be worth more than another round. It is said of the *refined* rounds; the first
    is what they are compared with.
    """
    short = [
        f"{name} {100 * metrics[name]['train']['accuracy']:.1f} %"
        for name in refined
        if not passed_through(metrics[name]) and metrics[name]["train"]["accuracy"] < LEARNT
    ]
    if not short:
        return None
    return (
        f"Less than {100 * LEARNT:.0f} % of the train problems are solved by the student that was "
        f"taught them ({', '.join(short)}): more steps (train.steps) may be worth more than more "
        "rounds."
    )


def read_summary(file: Path) -> dict[str, Any]:
    """The summary that the report stage wrote to *file*."""
    return read_json(file)


def read_json(file: Path) -> dict[str, Any]:
    """The metrics in *file*; refuses one that is not there or no JSON, with what to do."""
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except OSError as problem:
        raise RefusedError(
            f"{file}: cannot be read: {problem.strerror}; run dvc repro"
        ) from problem
    except ValueError as problem:
        raise RefusedError(f"{file}: not JSON: {problem}; run dvc repro") from problem
