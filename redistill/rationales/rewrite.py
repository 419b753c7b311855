"""What the stages that rewrite rationales share: the teacher they engage, and what they write."""

from collections.abc import Sequence
from pathlib import Path

from redistill.grading.grader import GradeSettings, load_grader
from redistill.rationales import guards, refine, select
from redistill.rationales.teacher import Request, engage
from redistill.records import json_file, jsonl
from redistill.records.types import Rationale
from redistill.settings import sections


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
    stage: refine.Stage = "refine",
    afresh: int | None = None,
) -> str:
    """
    Have *requests* rewritten as the file *settings* says; return a line on what became of them.

    The rationales go to *out* and the balance to *metrics*, both or neither: raises RefusedError
    where more rationales were lost than ``refine.max_loss`` allows. Of several accepted draws the
    one that fits the student in the folder *student* is taken, where ``teach.choose`` asks for
    that. The other arguments are those of `refine.refine`.
    """
    max_loss = sections.load(settings, "refine", refine.RefineSettings).max_loss
    guard = sections.load(settings, "guard", guards.GuardSettings)
    teacher = engage(settings, "refine")
    grader = load_grader(sections.load(settings, "grade", GradeSettings).grader)
    choose = select.chooser(teacher.rules, [r.problem for _, r in requests], student, settings)

    refined = refine.refine(
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
    jsonl.write(out, refined.rationales)
    json_file.write_json(metrics, refined.as_dict())
    return f"{round}: {refined.balance}; {refined.attempts}; kept {refined.kept}"
