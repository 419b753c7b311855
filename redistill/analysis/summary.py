"""The loop in figures: the round that is best on dev, its gain on test, and what was lost."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field

from redistill.analysis.comparison import Comparison, compare, p_text
from redistill.analysis.figures import Figures
from redistill.analysis.scores import HELD_OUT, Score, best, by_heart
from redistill.console.counted import counted
from redistill.console.exceptions import RefusedError
from redistill.records.json_file import read_json
from redistill.records.types import Prediction
from redistill.settings.bounds import Text
from redistill.settings.sections import Section

LEARNT = 0.6  # of the train problems; rounds of the shipped run solve three quarters and more
HEAD = (
    "round", "test", "95 % interval", "dev", "held out", "train", "lenient", "EOS", "tokens", "NLL",
    "rewritten", "lessons",
)  # fmt: skip
SOME = ("held out", "lessons")  # columns that only some runs have
COLUMNS = ("round", "split", "accuracy", "low", "high", "lenient", "eos", "mean_tokens", "nll")


class ReportSettings(Section):
    """Section ``report``: the control that the best round is held against, and its title."""

    control: Text
    title: Text


class Training(Figures):
    """What the stage train recorded of a branch; what is not named here is carried along."""

    model_config = ConfigDict(frozen=True, extra="allow")

    steps: int = 0
    tokens: int = 0
    rewritten: int = 0
    lessons: str = "latest"
    loss_last: float | None = None
    nll_before: float | None = None
    labels: dict[str, Any] = Field(default_factory=dict)

    @property
    def taught(self) -> int:
        """How many texts the student was taught: more than problems where lessons accumulate."""
        return int(self.labels.get("rows", 0))


class Measured(Figures):
    """
    The figures of a branch that trained a student: its scores, and what it took.

    *held_out* is of the train problems as students answered that were not taught them; None where
    the branch was not probed.
    """

    train: Score
    held_out: Score | None = None
    dev: Score
    test: Score
    outside: dict[str, Score]
    training: Training
    nll_before: float | None
    steps_so_far: int

    def splits(self) -> dict[str, Score]:
        """Return the scores by split, those held out among them where there are any."""
        held = {HELD_OUT: self.held_out} if self.held_out else {}
        return {"train": self.train, **held, "dev": self.dev, "test": self.test}


class Verdict(Figures):
    """
    What the round that dev chose is worth on test, against the first round and the *control*.

    *control_covers_best* says whether the control took at least as many optimiser steps as all
    rounds up to the chosen one together.
    """

    round: str
    chosen_on: str = "dev"
    dev_accuracy: float
    test: Score
    first_test: Score
    control: str
    control_test: Score
    steps_to_best: int
    control_steps: int
    control_covers_best: bool
    against_control: Comparison
    against_first: Comparison


class Summary(Figures):
    """
    All *branches* that trained a student, in *order* with the others, verdict and *advice*.

    *because* says why the others were passed through; *untouched* are taught texts of which none
    was rewritten. Summaries of earlier versions say neither.
    """

    branches: dict[str, Measured]
    passed_through: tuple[str, ...]
    order: tuple[str, ...]
    best: Verdict
    advice: str | None
    because: dict[str, str] = Field(default_factory=dict)
    untouched: tuple[str, ...] = ()


class Gap(Figures):
    """How many errors of *round* on dev show a *gap*, and their share of all dev problems."""

    label: str
    round: str
    gap: str
    count: int
    share: float


GAP_COLUMNS = tuple(Gap.model_fields)


def choose(dev: Mapping[str, Score]) -> str:
    """
    Choose the round with the highest accuracy of those with a score on *dev*.

    Raises RefusedError where there is none.
    """
    if not dev:
        raise RefusedError("no round has been graded, so there is nothing to report")
    return best({name: score.accuracy for name, score in dev.items()})


def verdict(
    chosen: str,
    control: str,
    metrics: Mapping[str, Measured],
    test: Mapping[str, Sequence[Prediction]],
    first: str = "r0",
) -> Verdict:
    """Hold the round *chosen* on dev against the first round and the *control*, on *test*."""
    steps, covered = metrics[chosen].steps_so_far, metrics[control].steps_so_far
    return Verdict(
        round=chosen,
        dev_accuracy=metrics[chosen].dev.accuracy,
        test=metrics[chosen].test,
        first_test=metrics[first].test,
        control=control,
        control_test=metrics[control].test,
        steps_to_best=steps,
        control_steps=covered,
        control_covers_best=covered >= steps,
        against_control=compare(test[control], test[chosen]),
        against_first=compare(test[first], test[chosen]),
    )


def table(metrics: Mapping[str, Measured]) -> list[dict[str, Any]]:
    """Write one row a branch and split, for CSV and DVC's plots."""
    return [
        {"round": name, "split": split, "nll": found.nll_before}
        | {column: getattr(score, column) for column in COLUMNS[2:-1]}
        for name, found in metrics.items()
        for split, score in found.splits().items()
    ]


def summary(
    names: Sequence[str],
    metrics: Mapping[str, Measured],
    verdict: Verdict,
    advice: str | None,
    because: Mapping[str, str] | None = None,
    untouched: Sequence[str] = (),
) -> Summary:
    """
    Put the *metrics* of the branches *names*, the verdict and *advice* into one document.

    *because* and *untouched* are as in `Summary`.
    """
    return Summary(
        branches=dict(metrics),
        passed_through=tuple(name for name in names if name not in metrics),
        order=tuple(names),
        best=verdict,
        advice=advice,
        because=dict(because or {}),
        untouched=tuple(untouched),
    )


def gap_table(names: Sequence[str], folder: Path) -> list[Gap]:
    """Read the gaps on dev of each of the branches *names*, as `mine` counted them in *folder*."""
    rows = []
    for name in names:
        profile = read_json(folder / f"{name}.json")["profile"]
        for gap, count in profile["gaps"].items():
            share = round(count / profile["n"], 6) if profile["n"] else 0.0
            label = f"{name}: {gap.replace('_', ' ')}"
            rows.append(Gap(label=label, round=name, gap=gap, count=count, share=share))
    return rows


def as_csv(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = COLUMNS) -> str:
    """Write *rows* as CSV with a header of *columns*."""
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def steps_so_far(branch: str, rounds: Sequence[str], training: Mapping[str, Training]) -> int:
    """Count the optimiser steps spent to reach *branch*: a round needs all rounds before it."""
    if branch not in rounds:
        return training[branch].steps
    upto = rounds[: list(rounds).index(branch) + 1]
    return sum(training[name].steps for name in upto)


def collect(names: Sequence[str], rounds: Sequence[str], folder: Path) -> dict[str, Measured]:
    """
    Collect the figures of the branches *names* from *folder*, but for those passed through.

    Raises RefusedError for a file that is absent or of another form.
    """
    training = {name: Training.read(folder / "training" / f"{name}.json") for name in names}
    found = {}
    for name in names:
        graded = scores(folder / "rounds", name)
        if not graded:
            continue
        found[name] = Measured(
            train=graded["train"],
            held_out=graded.get(HELD_OUT),
            dev=graded["dev"],
            test=graded["test"],
            outside=scores(folder / "outside", name),
            training=training[name],
            nll_before=training[name].nll_before,
            steps_so_far=steps_so_far(name, rounds, training),
        )
    return found


def scores(folder: Path, name: str) -> dict[str, Score]:
    """Read the scores of the branch *name* by set; none where it was passed through."""
    file = folder / f"{name}.json"
    content = read_json(file)
    return {
        kind: Score.held(score, f"{file}: scores: {kind}")
        for kind, score in content["scores"].items()
    }


def balances(folder: Path) -> list[tuple[str, dict[str, Any]]]:
    """Read every balance of rows that a stage recorded under *folder*, by the name of its file."""
    found = []
    for file in sorted(folder.glob("*/*.json")):
        content = read_json(file)
        if "balance" in content:
            found.append((f"{file.parent.name}/{file.stem}", content["balance"]))
    return found


def lines(summary: Summary) -> list[tuple[str, ...]]:
    """
    Write the table that ``make repro`` ends with, its header first.

    What is held out, and how many lessons there were where they accumulate, has a column only where
    a branch has it. A branch that is taught first texts has no count of those rewritten.
    """
    rows: list[tuple[str, ...]] = [HEAD]
    for name in summary.order:
        if name not in summary.branches:
            why = f": {summary.because[name]}" if name in summary.because else ""
            rows.append((name, f"passed through{why}", *[""] * (len(HEAD) - 2)))
            continue
        best = name == summary.best.round
        cells = list(_cells(summary.branches[name]))
        if name in summary.untouched:
            cells[HEAD.index("rewritten") - 1] = ""
        rows.append((name + (" *" if best else ""), *cells))
    kept = [n for n, head in enumerate(HEAD) if head not in SOME or any(r[n] for r in rows[1:])]
    return [tuple(row[n] for n in kept) for row in rows]


def _cells(found: Measured) -> tuple[str, ...]:
    test, training = found.test, found.training
    return (
        f"{100 * test.accuracy:.1f} % ({test.k}/{test.n})",
        f"{100 * test.low:.1f} to {100 * test.high:.1f}",
        f"{100 * found.dev.accuracy:.1f} %",
        "" if found.held_out is None else f"{100 * found.held_out.accuracy:.1f} %",
        f"{100 * found.train.accuracy:.1f} %",
        f"{100 * test.lenient:.1f} %",
        f"{100 * test.eos:.1f} %",
        f"{test.mean_tokens:.0f}",
        "" if found.nll_before is None else f"{found.nll_before:.2f}",
        str(training.rewritten),
        "" if training.lessons == "latest" else str(training.taught),
    )


def outside_lines(summary: Summary) -> list[tuple[str, ...]]:
    """Write the table of out-of-domain tests, its header first; none where they are none."""
    tests = sorted({test for found in summary.branches.values() for test in found.outside})
    if not tests:
        return []
    rows: list[tuple[str, ...]] = [("round", *tests)]
    for name in summary.order:
        if name not in summary.branches:
            rows.append((name, *["passed through"] * len(tests)))
            continue
        outside = summary.branches[name].outside
        rows.append((name, *(_interval(outside[test]) for test in tests)))
    return rows


def _interval(score: Score) -> str:
    share = f"{100 * score.accuracy:.1f} % ({score.k}/{score.n})"
    return f"{share}, {100 * score.low:.1f} to {100 * score.high:.1f}"


def sentence(verdict: Verdict) -> str:
    """Put the *verdict* on the best round into words."""
    against = verdict.against_control
    return (
        f"Best on dev: {verdict.round}. On test it is {against.gain_points:+.1f} points "
        f"against {verdict.control} ({counted(against.fixed, 'problem')} fixed, "
        f"{against.broken} broken, exact McNemar p = {p_text(against.p)})."
    )


def advice(
    metrics: Mapping[str, Measured], refined: Iterable[str], mined: Iterable[str]
) -> str | None:
    """
    Say what to do where students learnt too little of what they were taught, or it by heart.

    A student that solves less than LEARNT of its own train problems says little about rationales:
    more steps may be worth more than another round. It is said of the *refined* rounds; the first
    is what they are compared with. One that solves nearly all of them, and few on dev, shows no
    errors to refine by (`scores.memorised`); that is said of those *mined*, by whose errors others
    are refined, where these are not held out. None where there is nothing to say.
    """
    return " ".join([*_short(metrics, refined), *_by_heart(metrics, mined)]) or None


def _short(metrics: Mapping[str, Measured], refined: Iterable[str]) -> list[str]:
    short = [
        f"{name} {100 * metrics[name].train.accuracy:.1f} %"
        for name in refined
        if name in metrics and metrics[name].train.accuracy < LEARNT
    ]
    if not short:
        return []
    return [
        f"Less than {100 * LEARNT:.0f} % of the train problems are solved by the student that was "
        f"taught them ({', '.join(short)}): more steps (train.steps) may be worth more than more "
        "rounds."
    ]


def _by_heart(metrics: Mapping[str, Measured], mined: Iterable[str]) -> list[str]:
    for name in mined:
        if (found := metrics.get(name)) is None:
            continue
        told = by_heart(*((score.k, score.n) for score in (found.train, found.dev)))
        if found.held_out is None and told:
            return [f"{name}: {told}."]
    return []
