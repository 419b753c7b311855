"""A run in words and in tables, from what its stages recorded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redistill.analysis import ladder as ladders
from redistill.analysis import summary as summaries
from redistill.analysis.comparison import p_text
from redistill.analysis.costs import Cost
from redistill.analysis.ladder import Ladder
from redistill.analysis.summary import Summary, Verdict
from redistill.causes import why as causes
from redistill.causes.why import Why
from redistill.console.counted import counted
from redistill.llm.budget import money
from redistill.records import json_file
from redistill.rounds.branches import FIRST, Branch


@dataclass(frozen=True)
class Table:
    """Cells as text under their head; the columns at *words* hold words, the others numbers."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: Sequence[int] = (0,)
    note: str = ""


@dataclass(frozen=True)
class Recorded:
    """
    The decision of `mine` on each round, the metrics of each set of rationales, and every balance.
    """

    stops: Mapping[str, Mapping[str, Any]]
    teaching: Mapping[str, Mapping[str, Any]]
    balances: Sequence[tuple[str, Mapping[str, Any]]]


@dataclass(frozen=True)
class Facts:
    """
    What the stages recorded of a run, beside its problems.

    *verdict*, *summary* and *ladder* are what `report` writes of it, *costs* the rows of
    `costs.table`, *ledger* those of the record store; *recorded* is what `record` read, *why* has
    the causes of each refined round.
    """

    title: str
    verdict: Verdict
    summary: Summary
    ladder: Ladder
    costs: Sequence[Cost]
    ledger: Sequence[Mapping[str, Any]]
    recorded: Recorded
    why: Sequence[Why] = ()


def record(metrics: Path, branches: Mapping[str, Branch], rounds: Sequence[str]) -> Recorded:
    """Read what the stages of *branches* recorded under *metrics*, and nothing else there."""
    lessons = dict.fromkeys(branch.rationales for branch in branches.values())
    files = [("problems", "all"), *(("rationales", name) for name in lessons)]
    kinds = (
        "training", "probes", "completions", "rounds", "completions-outside", "outside", "gaps",
    )  # fmt: skip
    files += [(kind, name) for name in branches for kind in kinds]
    found = {file: json_file.read_json(metrics / file[0] / f"{file[1]}.json") for file in files}
    return Recorded(
        {name: found["gaps", name]["decision"] for name in rounds},
        {name: found["rationales", name] for name in lessons},
        [
            ("/".join(file), content["balance"])
            for file, content in found.items()
            if "balance" in content
        ],
    )


def sentences(facts: Facts) -> list[str]:
    """
    Tell the run in words.

    The words are the verdict, what stopped the run, what it was held against, and what it cost.
    """
    best, ladder = facts.verdict, facts.ladder
    against = best.against_first
    over_first = (
        f"Against {FIRST}, plain one-shot distillation, it is {against.gain_points:+.1f} points "
        f"({against.fixed} fixed, {against.broken} broken, p = {p_text(against.p)})."
    )
    told = [
        summaries.sentence(best),
        *([over_first] if best.round != FIRST else []),
        ladders.sentence(ladder),
        f"{best.control} took {best.control_steps} optimiser steps, {best.round} with all "
        f"that led to it {best.steps_to_best}"
        + ("." if best.control_covers_best else ": too few to cover it."),
    ]
    stopped = next(((n, s) for n, s in facts.recorded.stops.items() if s.get("stop")), None)
    if stopped:
        odds = f" (p = {p_text(stopped[1]['p'])})" if "p" in stopped[1] else ""
        told.append(f"The loop stopped after {stopped[0]}: {stopped[1]['because']}{odds}.")
    if ladder.passed_through:
        told.append(f"Passed through, with no student: {', '.join(ladder.passed_through)}.")
    if facts.summary.advice:
        told.append(facts.summary.advice)
    return [*told, _spent(facts)]


def tiles(facts: Facts) -> list[tuple[str, str, str]]:
    """Choose the figures that a reader looks for first: a label, the figure, and what it means."""
    best = facts.verdict
    test, gain = best.test, best.against_control
    broken = [name for name, balance in facts.recorded.balances if not balance["holds"]]
    lost = sum(
        sum(b["rejected"].values()) for n, b in facts.recorded.balances if not n.startswith("gaps/")
    )
    return [
        ("Best round", best.round, f"chosen on dev, {_percent(best.dev_accuracy)} there"),
        (
            "Solved on test",
            _percent(test.accuracy),
            f"{test.k} of {test.n}; {_percent(test.low)} to {_percent(test.high)}",
        ),
        (
            "Over the control",
            f"{gain.gain_points:+.1f} points",
            f"{gain.fixed} fixed, {gain.broken} broken, p = {p_text(gain.p)}",
        ),
        (
            "Rows",
            "balance" if not broken else "do not balance",
            f"{lost} rejected or passed over in {len(facts.recorded.balances)} stages"
            if not broken
            else ", ".join(broken),
        ),
    ]


def tables(facts: Facts) -> dict[str, list[Table]]:
    """Make the tables of the page, by the section that they stand in."""
    head, *rows = summaries.lines(facts.summary)
    passed = set(facts.summary.passed_through)
    rows = [(row[0], "passed through", *row[2:]) if row[0] in passed else row for row in rows]
    rounds = [Table("Every branch", head, rows, note="* best on dev; accuracy is strict.")]
    if outside := summaries.outside_lines(facts.summary):
        rounds.append(Table("Out of domain, test accuracy", outside[0], outside[1:]))
    return {
        "rounds": rounds,
        "why": [_why(found) for found in facts.why],
        "ladder": [
            _ladder(facts.ladder),
            *([_ladder(facts.ladder, outside=True)] if facts.ladder.outside else []),
        ],
        "spend": [_costs(facts.costs), _teaching(facts.recorded.teaching), *_ledger(facts.ledger)],
        "balance": [_balances(facts.recorded.balances)],
    }


def _why(found: Why) -> Table:
    rows = causes.cells(found.lines)
    return Table(found.lead, causes.HEAD, rows, causes.WORDS, " ".join(found.said))


def _ladder(ladder: Ladder, *, outside: bool = False) -> Table:
    found = ladder.outside if outside else ladder.rounds
    rounds = [name for name, rows in found.items() if rows]
    rows = [(name, *cells) for name in rounds for cells in ladders.lines(found[name])[1:]]
    told = " ".join(ladders.sentence(ladder, name, outside=outside) for name in rounds)
    where = ", on the out-of-domain tests together" if outside else ""
    title = f"Every round against one-shot and every control{where}"
    return Table(title, ("round", *ladders.HEAD), rows, (0, 1), told)


def _costs(rows: Sequence[Cost]) -> Table:
    head = (
        "branch", "test", "calls", "teacher's tokens", "cost", "steps", "steps of probes",
        "tokens trained on", "tokens an answer", "NLL",
    )  # fmt: skip
    cells = [
        (
            row.round,
            _percent(row.accuracy),
            f"{row.calls:,}",
            _known(row.teacher_tokens),
            "unknown" if row.cost is None else f"{row.cost:,.4f}",
            f"{row.steps:,}",
            f"{row.probe_steps:,}",
            f"{row.training_tokens:,}",
            f"{row.answer_tokens:.1f}",
            "" if row.nll is None else f"{row.nll:.2f}",
        )
        for row in rows
    ]
    note = (
        "Each row is all that it took to get to the branch, the rounds before it included. "
        "Unknown is what the ledger does not have: a teacher in this process is not in it. "
        "A record store that several runs share counts them all."
    )
    return Table("What each branch cost", head, cells, note=note)


def _teaching(found: Mapping[str, Mapping[str, Any]]) -> Table:
    head = ("rationales", "asked", "texts given", "accepted", "rejected because", "kept because")
    cells = [
        (
            name,
            f"{metrics['asked'] if 'asked' in metrics else metrics['balance']['rows_in']:,}",
            f"{metrics['attempts']['replies']:,}",
            f"{metrics['attempts']['accepted']:,}",
            _counted(metrics["attempts"]["rejected"]),
            _counted(metrics.get("kept", {})),
        )
        for name, metrics in found.items()
    ]
    note = "What the teacher was asked about, and what became of its texts."
    return Table("What the teacher wrote", head, cells, (0, 4, 5), note)


def _ledger(rows: Sequence[Mapping[str, Any]]) -> list[Table]:
    head = ("stage", "round", "model", "outcome", "calls", "tokens in", "tokens out", "cost")
    cells = [
        (
            *(str(row[name]).replace("_", " ") for name in ("stage", "round")),
            str(row["model"]),
            str(row["outcome"]).replace("_", " "),
            *(f"{row[name]:,}" for name in ("calls", "prompt_tokens", "completion_tokens")),
            money(row["nano"]),
        )
        for row in rows
    ]
    note = (
        "What was paid or is reserved, as the record store has it: every run that used the store."
    )
    return [Table("The ledger", head, cells, (0, 1, 2, 3), note)] if rows else []


def _balances(found: Sequence[tuple[str, Mapping[str, Any]]]) -> Table:
    head = ("stage", "rows in", "rows out", "rejected", "balance", "reasons")
    cells = [
        (
            name,
            f"{balance['rows_in']:,}",
            f"{balance['rows_out']:,}",
            f"{sum(balance['rejected'].values()):,}",
            "holds" if balance["holds"] else "DOES NOT HOLD",
            _counted(balance["rejected"]),
        )
        for name, balance in found
    ]
    note = "Rows in = rows out + rows rejected. In gaps/ the rows that are correct are no errors."
    return Table("Rows in every stage", head, cells, (0, 4, 5), note)


def _spent(facts: Facts) -> str:
    """What the teacher came to, in words."""
    given = sum(int(metrics["attempts"]["replies"]) for metrics in facts.recorded.teaching.values())
    if not facts.ledger:
        return (
            f"The teacher gave {counted(given, 'text')}; no call to an endpoint is in the ledger."
        )
    calls = sum(row["calls"] for row in facts.ledger)
    tokens = sum(row["prompt_tokens"] + row["completion_tokens"] for row in facts.ledger)
    nano = [row["nano"] for row in facts.ledger]
    cost = money(None if None in nano else sum(nano))
    paid = f"{counted(calls, 'call')} and {counted(tokens, 'token')}; their cost is {cost}"
    return f"The teacher gave {counted(given, 'text')}; the ledger has {paid}."


def _counted(counts: Mapping[str, int]) -> str:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{name} {n:,}" for name, n in ordered if n)


def _known(value: int | None) -> str:
    return "unknown" if value is None else f"{value:,}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
