"""The first rationales: what the teacher writes before it has seen the student."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from redistill.grading.grader import Grader, foresee, paid
from redistill.problems.held_out import HeldOut
from redistill.rationales import guards, probe
from redistill.rationales.attempts import Attempts, Choose, attempt
from redistill.rationales.teacher import Engaged, Reply, replied
from redistill.records import spool
from redistill.records.balance import Balance
from redistill.records.fingerprint import digest
from redistill.records.lazy import Changed, Picked
from redistill.records.types import Problem, Rationale
from redistill.settings.bounds import Share
from redistill.settings.sections import Section


class GenerateSettings(Section):
    """Section ``generate``: how many problems may end without a rationale."""

    max_loss: Share


@dataclass(frozen=True)
class Generated:
    """The first rationales, what came of every reply, and the problems that stay without."""

    rationales: Sequence[Rationale]
    attempts: Attempts
    unsolved: list[str]
    balance: Balance

    def as_dict(self) -> dict[str, Any]:
        """Return what a metrics file records: everything but the texts."""
        return {
            "balance": self.balance.as_dict(),
            "rewritten": len(self.rationales),
            "attempts": self.attempts.as_dict(),
            "unsolved": self.unsolved,
        }


def generate(
    problems: Sequence[Problem],
    teacher: Engaged,
    grader: Grader,
    held_out: HeldOut,
    choose: Choose,
    *,
    round: str,
    max_loss: float,
) -> Generated:
    """
    Have *teacher* write one rationale a problem, and say where the other rows went.

    A text that does not reach the gold answer in the task's format is rejected with its reason, as
    is one that quotes a question of *held_out*; a problem is asked about in as many attempts as the
    teacher's rules allow. Where not one of the first few texts is accepted, which is rare within
    *max_loss*, a paid teacher is not asked for the others: that raises RefusedError (78).
    """

    asked = _Asked(teacher, grader, held_out, choose, round, max_loss)
    rationales = spool.kept(asked.about(problems), Rationale)
    balance = Balance("generate", len(problems), len(rationales), dict(asked.lost))
    return Generated(rationales, asked.attempts, asked.unsolved, balance)


@dataclass
class _Asked:
    """A *teacher* while it is asked for first rationales, and what came of it so far."""

    teacher: Engaged
    grader: Grader
    held_out: HeldOut
    choose: Choose
    round: str
    max_loss: float
    attempts: Attempts = field(default_factory=Attempts)
    unsolved: list[str] = field(default_factory=list)
    lost: Counter[str] = field(default_factory=Counter)

    def about(self, problems: Sequence[Problem]) -> Iterator[Rationale]:
        """Ask about *problems*, in portions where the teacher can be asked so."""
        for portion in self.teacher.portions(problems, bought=paid(self.grader)):
            found = self._attempt(portion)
            self.attempts.count(found)
            self.lost.update(reason for reason in found.reasons if reason is not None)
            self.unsolved += [
                problem.id
                for problem, reply in zip(portion, found.kept, strict=True)
                if reply is None
            ]
            for problem, reply in zip(portion, found.kept, strict=True):
                if reply is not None:
                    yield _rationale(problem, reply, self.teacher, self.round)

    def _attempt(self, problems: Sequence[Problem]) -> Attempts:
        teacher = self.teacher

        def ask(places: list[int], draws: range) -> list[list[Reply]]:
            sitting = teacher.sitting("generate", self.round, draws)
            asked = Picked(problems, places)
            given = teacher.module.explain(asked, teacher.settings, sitting)
            foresee(self.grader, replied(zip(asked, given, strict=True)))
            return given

        def judge(place: int, reply: Reply) -> str | None:
            return fault(problems[place], reply, self.grader, self.held_out)

        names = Changed(problems, attrgetter("id"))
        tried = probe.of_first(teacher, names, self.max_loss)
        return attempt(len(problems), ask, judge, self.choose, teacher.rules, tried)


def fault(problem: Problem, reply: Reply, grader: Grader, held_out: HeldOut) -> str | None:
    """Say why the text of *reply* is no first rationale of *problem*; None where it is one."""
    unended = guards.unended(reply.unmarked, grader)
    return unended or guards.first(problem, reply.text or "", grader, held_out)


def _rationale(problem: Problem, reply: Reply, teacher: Engaged, round: str) -> Rationale:
    own = digest(teacher.name, teacher.settings.model_dump_json(), problem.model_dump_json())
    return Rationale(
        id=problem.id,
        problem=problem.id,
        text=reply.text or "",
        round=round,
        teacher=reply.teacher or teacher.name,
        status="first",
        gaps=reply.gaps,
        fingerprint=reply.fingerprint or own,
    )
