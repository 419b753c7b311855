"""The ladder: a round held against one-shot and against every control, on the same problems."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from redistill.analysis import statistics
from redistill.analysis.comparison import Bar, Comparison, compare, corrected, gain_text, p_text
from redistill.analysis.figures import Figures
from redistill.console.counted import counted
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
    "repair": "repair",
}
COLUMNS = (
    "label", "round", "against", "rung", "n", "k", "k_against", "fixed", "broken", "gain_points",
    "low_points", "high_points", "relative_percent", "p", "p_holm", "smallest_points",
)  # fmt: skip
HEAD = (
    "against", "solved, against it", "fixed, broken", "gain, points, 95 % interval", "relative",
    "p", "Holm", "would show", "calls, against it", "texts taught, against it",
)  # fmt: skip


class Calls(Figures):
    """The problems that a teacher was *asked* about, and the texts that it gave as *replies*."""

    asked: int = 0
    replies: int = 0


class CallsOfBoth(Figures):
    """The calls for a round, and for what it is held *against*."""

    round: Calls
    against: Calls


class StepsOfBoth(Figures):
    """The optimiser steps that it took to reach a round, and what it is held *against*."""

    round: int
    against: int


class TextsOfBoth(Figures):
    """How many texts the student of a round was taught, and that of what it is held *against*."""

    round: int = 0
    against: int = 0


class Row(Comparison):
    """A round compared with the branch *against*, which is the *rung* of that name to it."""

    against: str
    rung: str
    calls: CallsOfBoth
    steps: StepsOfBoth
    texts: TextsOfBoth


class Ladder(Figures):
    """
    Every round against each of its opponents, and the round that dev chose.

    *rounds* are without those that were passed through; *outside* is the same on the problems of
    all out-of-domain tests together, empty where there are none.
    """

    chosen: str
    chosen_on: str = "dev"
    control: str
    alpha: float = statistics.ALPHA
    power: float = statistics.POWER
    passed_through: tuple[str, ...]
    rounds: dict[str, tuple[Row, ...]]
    outside: dict[str, tuple[Row, ...]] = Field(default_factory=dict)

    def rows(self, round: str | None = None, *, outside: bool = False) -> tuple[Row, ...]:
        """
        Return the rows of *round*, the chosen one by default, on test or *outside* of the domain.

        Raises RefusedError for a round that the ladder lacks, and without out-of-domain tests.
        """
        name, found = round or self.chosen, self.outside if outside else self.rounds
        if outside and not found:
            raise RefusedError("this run has no out-of-domain tests (prepare.outside)")
        if name not in found:
            raise RefusedError(f"the ladder has no round {name!r}; it has {', '.join(found)}")
        return found[name]


def rung(name: str, branches: Mapping[str, Branch], control: str) -> str:
    """
    Say what the branch *name* is to a round: the same word for its like at every round and seed.

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
    if branch.lessons != like.lessons:
        words.append(f"lessons {branch.lessons}")
    return ", ".join(words)


def opponents(
    round: str, rounds: Sequence[str], branches: Mapping[str, Branch], control: str
) -> list[str]:
    """
    List the branches that *round* is held against.

    They are one-shot, the controls, and the arms like *round*.
    """
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
    calls: Mapping[str, Calls],
    texts: Mapping[str, int],
    outside: Mapping[str, Sequence[Prediction]] | None = None,
) -> Ladder:
    """
    Hold every round, *chosen* by dev or not, against each of its `opponents` on *test*.

    The rows of one round are a family of tests for Holm's correction. *steps* are the optimiser
    steps of each branch's own training, *calls* what `calls` read, *texts* how many each student
    was taught. *outside* are the predictions on all out-of-domain tests. Branches without
    predictions, which were passed through, are left out and named.
    """

    def row(answers: Mapping[str, Sequence[Prediction]], round: str, name: str) -> Row:
        return Row(
            **dict(compare(answers[name], answers[round])),
            against=name,
            rung=rung(name, branches, control),
            calls=CallsOfBoth(round=calls.get(round, Calls()), against=calls.get(name, Calls())),
            steps=StepsOfBoth(
                round=spent(round, branches, rounds, steps),
                against=spent(name, branches, rounds, steps),
            ),
            texts=TextsOfBoth(round=texts.get(round, 0), against=texts.get(name, 0)),
        )

    def climbed(answers: Mapping[str, Sequence[Prediction]]) -> dict[str, tuple[Row, ...]]:
        found = {}
        for round in rounds:
            if answers.get(round):
                names = opponents(round, rounds, branches, control)
                rows = [row(answers, round, name) for name in names if answers.get(name)]
                found[round] = tuple(corrected(rows))
        return found

    return Ladder(
        chosen=chosen,
        control=control,
        passed_through=tuple(name for name in branches if not test[name]),
        rounds=climbed(test),
        outside=climbed(outside or {}),
    )


def calls(folder: Path, branches: Mapping[str, Branch]) -> dict[str, Calls]:
    """
    Read, for each round and arm, what its teacher was asked about and how many texts it gave.

    As the stage refine recorded them under *folder*; in draws and attempts a teacher gives more
    than one text for a problem. The other branches are taught what others were.
    """
    found = {}
    for name in branches:
        if name == FIRST or branches[name].rationales != name:
            continue
        content = read_json(folder / f"{name}.json")
        found[name] = Calls(asked=content["asked"], replies=content["attempts"]["replies"])
    return found


def spent(
    name: str, branches: Mapping[str, Branch], rounds: Sequence[str], steps: Mapping[str, int]
) -> int:
    """
    Add up what it took to reach *name*, as *steps* say of each branch alone.

    A round or arm needs all the branches that it is from.
    """
    branch, total, seen = branches[name], steps[name], {name}
    while (name in rounds or isinstance(branch, Arm)) and branch.from_ not in seen:
        name = branch.from_
        branch, total = branches[name], total + steps[name]
        seen.add(name)
    return total


def table(ladder: Ladder) -> list[dict[str, Any]]:
    """Write all rows with the round that each is about, for CSV and DVC's plots."""
    return [
        {
            column: ({"label": f"{name} - {row.rung}", "round": name} | dict(row))[column]
            for column in COLUMNS
        }
        for name, rows in ladder.rounds.items()
        for row in rows
    ]


def bars(ladder: Ladder) -> list[Bar]:
    """Return the gain of every round over each of its opponents, to be drawn."""
    return [
        row.bar(f"{name} - {row.rung}", ladder.alpha)
        for name, rows in ladder.rounds.items()
        for row in rows
    ]


def lines(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """Write *rows* as cells for people, their header first."""
    return [
        HEAD,
        *(
            (
                row.against,
                f"{row.k}, {row.k_against}",
                f"{row.fixed}, {row.broken}",
                gain_text(row),
                _percent(row.relative_percent),
                p_text(row.p, 0),
                "" if row.p_holm is None else p_text(row.p_holm, 0),
                _points(row.smallest_points),
                f"{row.calls.round.replies}, {row.calls.against.replies}",
                f"{row.texts.round}, {row.texts.against}",
            )
            for row in rows
        ),
    ]


def sentence(ladder: Ladder, round: str | None = None, *, outside: bool = False) -> str:
    """Say of *round* what it is better than, what it is not, and how sure."""
    name, rows, alpha = round or ladder.chosen, ladder.rows(round, outside=outside), ladder.alpha
    better = [row for row in rows if row.better(alpha)]
    worse = [row for row in rows if row.worse(alpha)]
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
    chosen = " (the best on dev)" if name == ladder.chosen else ""
    told = "; ".join(parts) or "held against nothing"
    return f"{name}{chosen} is, with Holm's correction at {alpha}, {told}."


@dataclass(frozen=True)
class Check:
    """Whether the chosen round is better than what it was held against, told in a sentence."""

    better: bool
    told: str


def check(ladder: Ladder, against: Sequence[str], alpha: float) -> Check:
    """
    Tell whether the chosen round is better than each branch in *against*, the control by default.

    Better is a gain on test with an exact p below *alpha*; of several p, corrected by Holm over
    those asked about. Raises RefusedError for a branch that the chosen round has no row for.
    """
    names = list(dict.fromkeys(against)) or [ladder.control]
    known = {row.against: row for row in ladder.rows()}
    for name in names:
        if name not in known:
            raise RefusedError(
                f"{ladder.chosen}, the chosen round, is not held against {name!r}; "
                f"it is against {', '.join(known) or 'nothing'}"
            )
    rows = corrected([known[name] for name in names])
    told = "; ".join(_told(row, alpha) + _short(row, ladder.control) for row in rows)
    return Check(all(row.better(alpha) for row in rows), f"{ladder.chosen} is {told}.")


def _told(row: Row, alpha: float) -> str:
    p = row.p if row.p_holm is None else row.p_holm
    seen = (
        f"{'better' if row.better(alpha) else 'not better'} than {row.against}: "
        f"{row.gain_points:+.1f} points on test ({_percent(row.relative_percent)}; 95 % "
        f"interval {row.low_points:+.1f} to {row.high_points:+.1f}), {row.fixed} of "
        f"{counted(row.n, 'problem')} fixed and {row.broken} broken, p = {p_text(p)}, "
        f"{'below' if row.told_apart(alpha) else 'not below'} {alpha}"
    )
    if not row.better(alpha):
        seen += f"; a true gain of {_points(row.smallest_points)} points would show in 4 of 5"
    return seen


def _short(row: Row, control: str) -> str:
    """What is to be said of a step-matched control that took fewer steps than the round."""
    steps = row.steps
    if row.against != control or steps.against >= steps.round:
        return ""
    return f", although it took only {steps.against} of {steps.round} optimiser steps"


def _start(branch: Branch) -> str:
    return "continued" if branch.start == branch.from_ else f"from {branch.start}"


def _named(row: Row) -> str:
    name = row.against if row.against == row.rung else f"{row.against} ({row.rung})"
    return f"{name} by {row.gain_points:+.1f} points"


def _percent(value: float | None) -> str:
    return "from none" if value is None else f"{value:+.1f} %"


def _points(value: float | None) -> str:
    return "more than 100" if value is None else f"{value:.1f}"
