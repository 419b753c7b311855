"""A published data set taken over: its rationales for the problems that this run has."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from redistill.console.exceptions import RefusedError
from redistill.datasets.load import Published
from redistill.grading.grader import Grader, foresee
from redistill.problems.held_out import HeldOut
from redistill.problems.overlap import normalised_question
from redistill.rationales import guards
from redistill.records.balance import Balance
from redistill.records.types import Problem, Rationale


@dataclass(frozen=True)
class Taken:
    """The rationales that were taken, which rows were not, by reason, and what else is to know."""

    rationales: list[Rationale]
    rejected: dict[str, list[str]]
    untaught: int
    older_rejected: int
    balance: Balance

    def as_dict(self) -> dict[str, Any]:
        """Return what a metrics file records; of the rejected rows the first ids."""
        return {
            "balance": self.balance.as_dict(),
            "rejected": {reason: ids[:20] for reason, ids in self.rejected.items()},
            "problems_without": self.untaught,
            "older_texts_rejected": self.older_rejected,
            "teachers": dict(sorted(Counter(row.teacher for row in self.rationales).items())),
        }


def take(
    rows: Sequence[Published],
    problems: Mapping[str, Problem],
    name: str,
    version: Literal["first", "last"],
    grader: Grader,
    held_out: HeldOut,
) -> Taken:
    """
    Take the *rows* as rationales called *name*, each for the one of *problems* it was written for.

    That is the one that asks the same question with the same choices, whatever its id. A row is
    rejected whose question no problem asks, whose problem has another answer here, or that is the
    second for its problem; and one whose text the guards of a first rationale reject, by this
    run's *grader*. With the *version* ``first`` the text is that which all others replaced. Older
    texts, which a student is taught whose lessons accumulate, pass the same guards or are left out.
    """
    by_question = {normalised_question(problem): problem for problem in problems.values()}
    foresee(grader, _texts(rows, by_question))
    kept: dict[str, Rationale] = {}
    rejected: dict[str, list[str]] = {}
    older = 0
    for row in rows:
        theirs = row.asks()
        problem = by_question.get(normalised_question(theirs))
        if problem is None:
            known = row.problem in problems
            reason = "another question of this id" if known else "no problem asks this question"
        elif problem.answer != row.answer:
            reason = "another answer to this question"
        elif problem.id in kept:
            reason = "a second rationale for the problem"
        else:
            fault = partial(guards.first, problem, grader=grader, held_out=held_out)
            made = _rationale(row, problem, name, version, fault)
            wrong = fault(made.text)
            if wrong is None:
                kept[problem.id] = made
                given = [*row.history, *row.own] if version == "last" else []
                older += len(given) - len(made.history) - len(made.own)
                continue
            reason = wrong
        rejected.setdefault(reason, []).append(row.id)
    lost = {reason: len(ids) for reason, ids in sorted(rejected.items())}
    balance = Balance("take", len(rows), len(kept), lost)
    if not kept:
        raise RefusedError(f"{balance}: no row is for a train problem of this run")
    return Taken([*kept.values()], rejected, len(problems) - len(kept), older, balance)


def _texts(
    rows: Sequence[Published], by_question: Mapping[str, Problem]
) -> Iterator[tuple[Problem, str]]:
    """The texts of *rows* that may be taken, older ones too, each with the problem here."""
    for row in rows:
        problem = by_question.get(normalised_question(row.asks()))
        if problem is not None and problem.answer == row.answer:
            older = (version.text for version in (*row.history, *row.own))
            yield from ((problem, text) for text in (row.rationale, *older))


def _rationale(
    row: Published,
    problem: Problem,
    name: str,
    version: Literal["first", "last"],
    fault: Callable[[str], str | None],
) -> Rationale:
    """*row* for *problem*; its round is *name*: for this run it was written there."""
    first = version == "first" and bool(row.history)
    old = [] if version == "first" else [v for v in row.history if fault(v.text) is None]
    return Rationale(
        id=problem.id,
        problem=problem.id,
        text=row.history[0].text if first else row.rationale,
        round=name,
        teacher=row.teacher,
        status="first" if version == "first" else row.status,
        parent=None if version == "first" else row.parent or None,
        reason=None if version == "first" else row.reason or None,
        gaps=[] if first else row.gaps,
        history=old,
        own=[] if version == "first" else [v for v in row.own if fault(v.text) is None],
        fingerprint="" if first else row.fingerprint,
    )
