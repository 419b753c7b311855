"""The stored replies of a paid teacher about one problem, and what became of each."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from redistill.console.exceptions import RefusedError
from redistill.grading.grader import UNJUDGED, Bench, Grader
from redistill.llm import asked, response, store
from redistill.llm.asked import Asked
from redistill.problems import held_out
from redistill.problems.held_out import HeldOut
from redistill.rationales import attempts, controls, generate, guards, refine
from redistill.rationales.reply import replied
from redistill.rationales.teacher import Reply, Request, TeachSettings
from redistill.records import jsonl
from redistill.records.types import Error, Problem, Rationale, Record
from redistill.rounds import branches, targets
from redistill.settings import sections
from redistill.settings.sections import Params
from redistill.solutions import gaps

JUDGING = "judge"  # the stage of calls that judge what others wrote
TRAIN = "data/problems/train.jsonl"
R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class Judged:
    """A call about a problem, which *attempt* at it that was, and what *became* of the reply."""

    call: Asked
    attempt: int | None
    became: str


@dataclass(frozen=True)
class Known:
    """What a run in the folder *root* says of the *problem*, of which alone rows are kept."""

    root: Path
    params: Params
    problem: Problem

    @cached_property
    def grader(self) -> Grader:
        return Bench.reading(self.params).own

    @cached_property
    def unquoted(self) -> HeldOut:
        return held_out.read(self.root / "data/problems/held-out.jsonl")

    @cached_property
    def rules(self) -> TeachSettings:
        return self.params.section("teach", TeachSettings)

    def rationale(self, name: str) -> Rationale | None:
        """Return the rationale of the problem in the round *name*; None where there is none."""
        file = self.root / f"data/rationales/{name}.jsonl"
        return next(rows(file, Rationale, self.problem.id), None)


def replies(root: Path, problem: str) -> tuple[Problem, list[Judged]]:
    """
    Read what teachers were asked about the train *problem*, and what became of each reply.

    Replies are judged by the guards as they are set now. Raises RefusedError (65) where there is no
    such problem, or where the store has no call about it.
    """
    found = next(
        (row for row in rows(root / TRAIN, Problem, problem, field="id") if row.id == problem), None
    )
    if found is None:
        raise RefusedError(f"there is no problem {problem!r} in {root / TRAIN}")
    file = store.path()
    with store.reading(file) as known:
        calls = [call for call in asked.about(known, problem) if call.stage != JUDGING]
    if not calls:
        raise RefusedError(
            f"{file}: holds no call about {problem!r}; only a paid teacher makes some"
        )
    run = Known(root, sections.read(root / "params.yaml"), found)
    by_round = {call.round: _requests(run, call.round) for call in calls if call.stage == "refine"}
    return found, [_judged(run, call, by_round.get(call.round)) for call in calls]


def _judged(run: Known, call: Asked, requests: refine.Requests | None) -> Judged:
    first = (requests.afresh if requests else None) or 0
    number = (call.draw - first) // run.rules.draws + 1
    return Judged(call, number if call.draw >= first else None, _became(run, call, requests))


def _became(run: Known, call: Asked, requests: refine.Requests | None) -> str:
    """What became of the reply to *call*, in words."""
    if call.retired:
        return "set aside by redistill retry, and asked again"
    if not call.answered:
        return _without(call.outcome)
    given = replied(call.text, call.model, call.fingerprint)
    if call.stage == "generate":
        return _told(run, call, given, None)
    if requests is None or not requests.placed:
        return f"not judged: {call.round} asks nothing about this problem as things are"
    request = requests.placed[0][1]
    shown = f"Round {request.rationale.round}:\n{request.rationale.text}"
    if requests.afresh is None and shown not in call.prompt:
        return "not judged: it was asked about another text than is rewritten as things are"
    return _told(run, call, given, request)


def _without(outcome: str) -> str:
    """What became of a call that ended in *outcome*, in words, with no reply to judge."""
    if outcome.replace(" ", "_") in (*response.RETRIED, *response.FATAL, "lost"):
        return f"no reply ({outcome}): it is asked again"
    return f"rejected: {outcome}" if outcome.replace(" ", "_") in response.OUTCOMES else outcome


def _told(run: Known, call: Asked, given: Reply, request: Request | None) -> str:
    """Whether the reply *given* is accepted, as a first text or as the rewrite of *request*."""

    unjudged = []  # why it cannot be told, here, whether the grader accepts the text

    def fault(reply: Reply) -> str | None:
        if request is None:
            reason = generate.fault(run.problem, reply, run.grader, run.unquoted)
        else:
            guard = run.params.section("guard", guards.GuardSettings)
            reason = refine.fault(request, reply, run.grader, run.unquoted, guard)
        unjudged.extend([reason] if reason in UNJUDGED else [])
        return reason

    taken, reason = attempts.judged(given, fault, run.rules)
    kept = run.rationale(call.round)
    own = kept is not None and kept.round == call.round
    taught = own and kept is not None and kept.fingerprint == call.fingerprint
    if unjudged and (given.text is not None or run.rules.unmarked == "take"):
        return "accepted, and taught" if taught else f"not judged: {unjudged[0]}"
    if taken.text is None or reason is not None:
        return f"rejected: {reason or 'no text'}"
    if not own:
        return "accepted"
    return "accepted, and taught" if taught else "accepted, and another one is taught"


def _requests(run: Known, name: str) -> refine.Requests | None:
    """
    What is asked about the problem for the round or arm *name*; None where there is no such, yet.

    Feedback that is shuffled shows the errors of other problems, which are not read: that a reply
    copies one of those is not seen.
    """
    rewrite = targets.rewrites(run.params).get(name)
    if rewrite is None:
        return None
    old, like = run.rationale(rewrite.of), run.rationale(rewrite.like)
    errors = run.root / f"data/errors/{rewrite.from_}.jsonl"
    diagnosis = run.root / f"metrics/gaps/{rewrite.from_}.json"
    if old is None or like is None or not (errors.is_file() and diagnosis.is_file()):
        return None
    return controls.requests(
        name, rewrite, branches.branches(run.params), {run.problem.id: run.problem}, [old], [like],
        list(rows(errors, Error, run.problem.id)), replace(gaps.read(diagnosis), stop=False),
        run.params.section("refine", refine.RefineSettings),
    )  # fmt: skip


def rows(file: Path, kind: type[R], problem: str, field: str = "problem") -> Iterator[R]:
    """
    Read the rows of *file* whose *field* is *problem*; none where there is no file.

    Raises RefusedError (65) for a row of another form.
    """
    if file.is_file():
        yield from jsonl.matching(file, kind, field, problem)


def told(problem: Problem, found: list[Judged]) -> str:
    """Tell the calls *found* about *problem*, each reply whole, in the order they were made."""
    offered = [f"({letter}) {text}" for letter, text in (problem.choices or {}).items()]
    asked_for = [f"{problem.id}: {problem.question}", *offered]
    parts = [*asked_for, f"gold answer: {problem.answer}"]
    for one in found:
        call = one.call
        which = f"attempt {one.attempt}, draw {call.draw}" if one.attempt else f"draw {call.draw}"
        parts.append(f"\n== {call.stage} {call.round}, {which}, by {call.model}")
        parts.append(f"{one.became}:")
        parts.append("\n".join(f"    {line}" for line in call.text.split("\n")))
        if call.answered and call.thoughts:
            parts.append(f"(its thoughts, in {call.thoughts}, are left out)")
    return "\n".join(parts)
