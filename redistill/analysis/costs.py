"""What each branch cost: calls, tokens and money for its teacher, training, and its answers."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from redistill.analysis import ladder
from redistill.analysis.summary import passed_through
from redistill.llm.budget import NANO
from redistill.records.json_file import read_json
from redistill.rounds.branches import FIRST, Arm, Branch

COLUMNS = (
    "round", "kind", "accuracy", "low", "high", "calls", "teacher_tokens", "cost", "steps",
    "training_tokens", "answer_tokens", "nll",
)  # fmt: skip

Row = Mapping[str, Any]


def table(
    branches: Mapping[str, Branch],
    rounds: Sequence[str],
    metrics: Mapping[str, Mapping[str, Any]],
    replies: Mapping[str, int],
    ledger: Iterable[Row],
) -> list[dict[str, Any]]:
    """
    One row a branch that was trained: its accuracy on test, and all that it took to get there.

    *replies* are what the function of that name read, *ledger* the rows of the record store. What
    a teacher's tokens and money came to is None where the ledger does not know it: a teacher in
    this process is not in it. Money counts what failed, too.
    """
    paid = list(ledger)
    training = {name: int(metrics[name]["training"].get("tokens", 0)) for name in branches}
    steps = {name: int(metrics[name]["training"].get("steps", 0)) for name in branches}
    found = []
    for name in branches:
        if passed_through(metrics[name]):
            continue
        test, written = metrics[name]["test"], lessons(name, branches)
        spent = _paid([n for n in written if replies[n]], paid)
        found.append(
            {
                "round": name,
                "kind": kind(name, branches, rounds),
                **{key: test[key] for key in ("accuracy", "low", "high")},
                "calls": sum(replies[lesson] for lesson in written),
                **spent,
                "steps": ladder.spent(name, branches, rounds, steps),
                "training_tokens": ladder.spent(name, branches, rounds, training),
                "answer_tokens": test["mean_tokens"],
                "nll": metrics[name]["nll_before"],
            }
        )
    return found


def kind(name: str, branches: Mapping[str, Branch], rounds: Sequence[str]) -> str:
    """What the branch *name* is: a round, an arm of the ladder, or another control."""
    if name in rounds:
        return "round"
    return "arm" if isinstance(branches[name], Arm) else "control"


def lessons(name: str, branches: Mapping[str, Branch]) -> list[str]:
    """The branches whose rationales led to those that *name* is taught, the first one first."""
    found = [branches[name].rationales]
    while found[0] != FIRST and len(found) <= len(branches):
        found.insert(0, branches[branches[found[0]].from_].rationales)
    return found


def replies(folder: Path, branches: Mapping[str, Branch]) -> dict[str, int]:
    """Count the texts that a teacher gave for each set of rationales, by metrics in *folder*."""
    names = dict.fromkeys(branch.rationales for branch in branches.values())
    return {name: int(read_json(folder / f"{name}.json")["attempts"]["replies"]) for name in names}


def _paid(names: Sequence[str], ledger: Sequence[Row]) -> dict[str, float | None]:
    rows = [row for row in ledger if row["round"] in names]
    if not names or {row["round"] for row in rows} != set(names):
        return {"teacher_tokens": None, "cost": None}
    nano = [row["nano"] for row in rows]
    return {
        "teacher_tokens": sum(row["prompt_tokens"] + row["completion_tokens"] for row in rows),
        "cost": None if None in nano else sum(nano) / NANO,
    }
