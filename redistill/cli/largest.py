"""The largest call that a stage can make whose errors are not known yet."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from redistill.diagnosis.settings import MineSettings
from redistill.llm.request import LIMITS, Request
from redistill.rationales import teacher as teaching
from redistill.rationales.refine import RefineSettings
from redistill.rationales.teacher import Engaged, Plan
from redistill.records.types import Error, Exemplar, Problem, Rationale, Version
from redistill.settings.sections import Params
from redistill.solutions import gaps

BYTES = 4  # of a token of text, on the average; what is asked is bounded by its bytes
STEP = 200  # characters of a first wrong step
LETTER = "x"


def refinement(
    params: Params, problems: Sequence[Problem], teacher: Engaged, depth: int
) -> Request | None:
    """
    Build the call of *teacher* about the longest of *problems*, as long as its settings allow.

    It shows *depth* rationales as long as the output limit, and errors and dev cases as many and as
    long as section ``mine`` lets through. None without a limit, or where no model is asked.
    """
    limit = _limit(teacher.settings)
    if limit is None or not problems:
        return None
    problem = max(problems, key=_length)
    settings = params.section("mine", MineSettings)
    repaired = params.section("refine", RefineSettings).manner == "repair"
    shown = settings.shown + repaired  # what is kept of an attempt stands there once more
    text = LETTER * BYTES * limit
    rationale = Rationale(
        id=problem.id, problem=problem.id, text=text, round="r0", teacher=LETTER, status="first",
        history=[Version(round="r0", text=text)] * (depth - 1),
    )  # fmt: skip
    errors = [_error(problem, settings, number) for number in range(shown)]
    asked = teaching.Request(problem, rationale, errors, profile=gaps.ALL)
    noted = Plan()
    sitting = teacher.sitting("refine", LETTER, range(1))
    teacher.module.refine([asked], teacher.settings, replace(sitting, plan=noted))
    return noted.new[0] if noted.new else None


def _limit(settings: Any) -> int | None:
    body = getattr(settings, "body", {})
    own = getattr(settings, "max_new_tokens", None)
    return next((body[name] for name in LIMITS if body.get(name)), own)


def _length(problem: Problem) -> int:
    texts = (problem.question, *(problem.choices or {}).values())
    return sum(len(text.encode("utf-8")) for text in texts)


def _error(problem: Problem, settings: MineSettings, number: int) -> Error:
    """An error as long as one can be, with dev cases of its own."""
    text = LETTER * settings.max_completion
    cases = [
        Exemplar(
            problem=f"{number} {place}", question=problem.question, completion=text,
            choices=problem.choices, gap="set_up",
        )
        for place in range(settings.exemplars)
    ]  # fmt: skip
    return Error(
        id=f"{problem.id}#{number}", problem=problem.id, split="train", completion=text,
        verdict="cut_off", gap="set_up", first_wrong_step=LETTER * STEP, exemplars=cases,
    )  # fmt: skip
