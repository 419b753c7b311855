"""The first rationales: what the teacher writes before it has seen the student."""

from collections import Counter
from collections.abc import Sequence

from redistill import guarding
from redistill.grading import Grader
from redistill.params import Section
from redistill.records import Balance, Problem, Rationale, digest
from redistill.teaching import Teacher


class Settings(Section):
    """Section ``generate``: how many problems may end without a rationale."""

    max_loss: float


def generate(
    problems: Sequence[Problem],
    teacher: Teacher,
    settings: Section,
    grader: Grader,
    *,
    name: str,
    round: str,
) -> tuple[list[Rationale], Balance]:
    """
    One rationale a problem from *teacher*, called *name*, and where the other rows went.

    A text that does not reach the gold answer in the task's format is rejected with its reason.
    """
    rationales: list[Rationale] = []
    rejected: Counter[str] = Counter()
    for problem, reply in zip(problems, teacher.explain(problems, settings), strict=True):
        if reply is None:
            rejected["no solution to explain"] += 1
            continue
        reason = guarding.first(problem, reply.text, grader)
        if reason:
            rejected[reason] += 1
            continue
        rationales.append(
            Rationale(
                id=problem.id,
                problem=problem.id,
                text=reply.text,
                round=round,
                teacher=name,
                status="first",
                gaps=reply.gaps,
                fingerprint=digest(name, settings.model_dump_json(), problem.model_dump_json()),
            )
        )
    return rationales, Balance("generate", len(problems), len(rationales), dict(rejected))
