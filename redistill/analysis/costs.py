"""What each branch cost: calls, tokens and money for its teacher, training, and its answers."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from redistill.analysis import ladder
from redistill.analysis.figures import Figures
from redistill.analysis.summary import Measured
from redistill.llm.budget import NANO
from redistill.records.json_file import read_json
from redistill.rounds.branches import FIRST, Arm, Branch

Row = Mapping[str, Any]


class Cost(Figures):
    """
    A branch that was trained: its accuracy on test, and all that it took to get there.

    *calls*, *teacher_tokens* and *cost* are those for its rationales and all before them; the
    latter two are None where the ledger does not know them. *probe_steps* are those of students
    that made held-out answers on the way; no student is better for them.
    """

    round: str
    kind: str
    accuracy: float
    low: float
    high: float
    calls: int
    teacher_tokens: int | None
    cost: float | None
    steps: int
    probe_steps: int
    training_tokens: int
    answer_tokens: float
    nll: float | None


COLUMNS = tuple(Cost.model_fields)


def table(
    branches: Mapping[str, Branch],
    rounds: Sequence[str],
    metrics: Mapping[str, Measured],
    replies: Mapping[str, int],
    ledger: Iterable[Row],
    probes: Mapping[str, int],
) -> list[Cost]:
    """
    State of each branch in *metrics* what it took to get there.

    *replies* and *probes* are what the functions of these names read, *ledger* the rows of the
    record store. What a teacher's tokens and money came to is None where the ledger does not know
    it: a teacher in this process is not in it. Money counts what failed, too.
    """
    paid = list(ledger)
    training = {name: found.training.tokens for name, found in metrics.items()}
    steps = {name: found.training.steps for name, found in metrics.items()}
    passed = dict.fromkeys(branches, 0)
    found = []
    for name in branches:
        if name not in metrics:
            continue
        test, written = metrics[name].test, lessons(name, branches)
        tokens, money = _paid([n for n in written if replies[n]], paid)
        found.append(
            Cost(
                round=name,
                kind=kind(name, branches, rounds),
                accuracy=test.accuracy,
                low=test.low,
                high=test.high,
                calls=sum(replies[lesson] for lesson in written),
                teacher_tokens=tokens,
                cost=money,
                steps=ladder.spent(name, branches, rounds, passed | steps),
                probe_steps=_before(name, branches, rounds, probes),
                training_tokens=ladder.spent(name, branches, rounds, passed | training),
                answer_tokens=test.mean_tokens,
                nll=metrics[name].nll_before,
            )
        )
    return found


def kind(name: str, branches: Mapping[str, Branch], rounds: Sequence[str]) -> str:
    """Say what the branch *name* is: a round, an arm of the ladder, or another control."""
    if name in rounds:
        return "round"
    return "arm" if isinstance(branches[name], Arm) else "control"


def lessons(name: str, branches: Mapping[str, Branch]) -> list[str]:
    """
    Find the branches whose rationales led to those that *name* is taught.

    The first one comes first.
    """
    found = [branches[name].rationales]
    while found[0] != FIRST and len(found) <= len(branches):
        found.insert(0, branches[branches[found[0]].from_].rationales)
    return found


def replies(folder: Path, branches: Mapping[str, Branch]) -> dict[str, int]:
    """Count the texts that a teacher gave for each set of rationales, by metrics in *folder*."""
    names = dict.fromkeys(branch.rationales for branch in branches.values())
    return {name: int(read_json(folder / f"{name}.json")["attempts"]["replies"]) for name in names}


def probes(folder: Path, branches: Mapping[str, Branch]) -> dict[str, int]:
    """Read the steps of the students that were probed for each branch, by metrics in *folder*."""
    return {name: int(read_json(folder / f"{name}.json")["steps"]) for name in branches}


def _before(
    name: str, branches: Mapping[str, Branch], rounds: Sequence[str], probes: Mapping[str, int]
) -> int:
    """The steps of probes that came before *name*: its own come after it."""
    return ladder.spent(name, branches, rounds, probes) - probes[name]


def _paid(names: Sequence[str], ledger: Sequence[Row]) -> tuple[int | None, float | None]:
    """The tokens and the money that the rationales of *names* came to, as far as known."""
    rows = [row for row in ledger if row["round"] in names]
    if not names or {row["round"] for row in rows} != set(names):
        return None, None
    nano = [row["nano"] for row in rows]
    tokens = sum(row["prompt_tokens"] + row["completion_tokens"] for row in rows)
    return tokens, None if None in nano else sum(nano) / NANO
