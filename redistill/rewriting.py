"""What the stages that rewrite rationales share: the teacher they engage, and what they write."""

from collections.abc import Sequence
from pathlib import Path

from redistill import choosing, grading, guarding, params, records, refining, teaching
from redistill.records import Rationale
from redistill.teaching import Request


def rewrite(
    settings: Path,
    requests: Sequence[tuple[int, Request]],
    before: Sequence[Rationale],
    student: Path,
    out: Path,
    metrics: Path,
    *,
    round: str,
    stop: bool = False,
    stage: refining.Stage = "refine",
    afresh: int | None = None,
) -> str:
    """
    Have *requests* rewritten as the file *settings* says; return a line on what became of them.

    The rationales go to *out* and the balance to *metrics*, both or neither: raises RefusedError
    where more rationales were lost than ``refine.max_loss`` allows. Of several accepted draws the
    one that fits the student in the folder *student* is taken, where ``teach.choose`` asks for
    that. The other arguments are those of `refining.refine`.
    """
    max_loss = params.load(settings, "refine", refining.Settings).max_loss
    guard = params.load(settings, "guard", guarding.Settings)
    teacher = teaching.engage(settings, "refine")
    grader = grading.grader(params.load(settings, "grade", grading.Settings).grader)
    choose = choosing.chooser(teacher.rules, [r.problem for _, r in requests], student, settings)

    refined = refining.refine(
        requests,
        before,
        teacher,
        grader,
        choose,
        guard,
        stop=stop,
        round=round,
        stage=stage,
        afresh=afresh,
    )

    refined.balance.check(max_loss)
    records.write(out, refined.rationales)
    records.write_json(metrics, refined.as_dict())
    return f"{round}: {refined.balance}; {refined.attempts}; kept {refined.kept}"
