"""New rationales in the light of the student's errors; never a worse one than before."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from redistill import guarding
from redistill.grading import Grader
from redistill.params import Section
from redistill.records import Balance, Error, Problem, Rationale, Version, digest
from redistill.teaching import Reply, Request, Teacher


class Settings(Section):
    """Section ``refine``: which rationales are rewritten."""

    scope: Literal["wrong", "all"]
    extend: bool
    max_loss: float


@dataclass(frozen=True)
class Refined:
    """The rationales of the next round, in the order they came, and what became of each."""

    rationales: list[Rationale]
    rewritten: int
    kept: dict[str, int]
    balance: Balance


def refine(
    problems: Mapping[str, Problem],
    before: Sequence[Rationale],
    errors: Sequence[Error],
    common: Sequence[str],
    *,
    stop: bool,
    round: str,
    teacher: Teacher,
    name: str,
    teacher_settings: Section,
    grader: Grader,
    guard: guarding.Settings,
    settings: Settings,
) -> Refined:
    """
    The rationales *before*, those behind the student's *errors* on train rewritten.

    With *extend*, the gaps *common* on dev are treated wherever they can open in train as well;
    with scope "all" every rationale is offered to the teacher. A rewrite that a guard rejects, or
    that the teacher cannot give, leaves the old rationale with the reason. With *stop* (the last
    round was not better) every rationale is kept, and the teacher is not asked.
    """
    by_problem: dict[str, list[Error]] = {}
    for error in errors:
        if error.split == "train":
            by_problem.setdefault(error.problem, []).append(error)
    profile = list(common) if settings.extend else []
    requests = [
        Request(problems[old.problem], old, by_problem.get(old.problem, []), profile)
        for old in before
    ]
    asked = [
        index
        for index, request in enumerate(requests)
        if not stop and (request.errors or profile or settings.scope == "all")
    ]
    replies = dict(
        zip(
            asked,
            teacher.refine([requests[i] for i in asked], teacher_settings),
            strict=True,
        )
    )
    out: list[Rationale] = []
    kept: Counter[str] = Counter()
    for index, request in enumerate(requests):
        old = request.rationale
        reason: str | None
        if stop:
            reason = "stopped"
        elif index not in replies:
            reason = "not wrong"
        else:
            reply = replies[index]
            reason = _reject(request, reply, grader, guard)
            if reply is not None and reason is None:
                out.append(_next(request, reply, round, name, teacher_settings))
                continue
        kept[reason or "kept"] += 1
        out.append(old.model_copy(update={"status": "kept", "reason": reason}))
    balance = Balance("refine", len(before), len(out))
    return Refined(out, len(out) - sum(kept.values()), dict(kept), balance)


def _reject(
    request: Request, reply: Reply | None, grader: Grader, guard: guarding.Settings
) -> str | None:
    if reply is None:
        return "teacher could not"
    return guarding.refined(
        request.problem, reply.text, request.rationale.text, request.errors, grader, guard
    )


def _next(request: Request, reply: Reply, round: str, name: str, settings: Section) -> Rationale:
    old = request.rationale
    return Rationale(
        id=old.id,
        problem=old.problem,
        text=reply.text,
        round=round,
        parent=digest(old.text),
        teacher=name,
        status="refined",
        reason=", ".join(error.gap for error in request.errors) or "common on dev",
        gaps=reply.gaps,
        history=[*old.history, Version(round=old.round, text=old.text)],
        fingerprint=digest(
            name,
            settings.model_dump_json(),
            request.problem.model_dump_json(),
            *(error.model_dump_json() for error in request.errors),
            *request.profile,
        ),
    )
