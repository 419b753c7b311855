"""What a rationale must be before a student learns it; each guard has a name that is counted."""

from collections.abc import Sequence

from redistill.grading.grader import Decider, Grader, decide, prose
from redistill.problems.held_out import HeldOut
from redistill.rationales import talk, wrapping
from redistill.records.fingerprint import worded
from redistill.records.types import Error, Problem
from redistill.settings.bounds import Growth, Length
from redistill.settings.sections import Section
from redistill.solutions.mending import Mending

UNCHANGED = "unchanged"  # word for word what it was to replace


class GuardSettings(Section):
    """Section ``guard``: the limits of an acceptable rationale."""

    max_growth: Growth
    max_repair: Growth
    min_copied: Length


def first(problem: Problem, text: str, grader: Grader, held_out: HeldOut) -> str | None:
    """
    Say why the first rationale *text* of *problem* is not acceptable; None where it is.

    Talk about students and attempts is let through where the problem itself talks so
    (`talk.talks`), markup that wraps a reply where the question has it (`wrapping.left_in`), and a
    question of *held_out*, which is dev and test, where the problem's own question has it.
    """
    found = decide(problem, text, grader, twice=False)
    if found.answer is None:
        return "not in the answer format"
    if not found.strict:
        return found.fault
    said = prose(text, grader)
    if wrapping.left_in(said, problem.question):
        return "leftover markup"
    if talk.talks(problem, said):
        return "talks about teaching"
    if quoted := held_out.quoted(text):
        own = " ".join([problem.question, *(problem.choices or {}).values()])
        return "quotes another split" if quoted - held_out.quoted(own) else None
    return None


def unended(unmarked: str | None, grader: Grader) -> str | None:
    """Say that *unmarked*, a reply without markers, does not end in the answer; else None."""
    whole = isinstance(grader, Decider)  # whose answers may be of many lines
    if unmarked is None:
        return None
    if grader.strict(unmarked if whole else unmarked.rpartition("\n")[2]) is not None:
        return None
    return "not in the answer format"


def refined(
    problem: Problem,
    text: str,
    before: str,
    errors: Sequence[Error],
    mending: Mending | None,
    kept: str | None,
    grader: Grader,
    held_out: HeldOut,
    settings: GuardSettings,
) -> str | None:
    """
    Say why *text* may not replace *before* as the rationale of *problem*; None where it may.

    The guards are those of a first rationale, and: it differs, it is not longer than *max_growth*
    times the old one, it does not open with the answer, and it is not the student's wrong
    completion. One that is for *mending* the student's attempt keeps what was right of it, word for
    word, has its wrong step no more, and is at most *max_repair* times as long as the longer of
    attempt and old rationale. *kept* is what the teacher said that it keeps.
    """
    reason = first(problem, text, grader, held_out)
    if reason:
        return reason
    if text == before:
        return UNCHANGED
    if len(text) > _longest(before, mending, settings):
        return "too long"
    if mending and (fault := mending.fault(text, kept)):
        return fault
    opening = text.strip().split("\n")[0]
    if "####" in opening and len(text.strip().split("\n")) > 1:
        return "answer before reasoning"
    plain = worded(text)
    for error in errors:
        wrong = worded(error.completion)
        if len(wrong) >= settings.min_copied and wrong in plain:
            return "copies the student"
    return None


def _longest(before: str, mending: Mending | None, settings: GuardSettings) -> float:
    """The most characters that may stand in place of the rationale *before*."""
    if mending is None:
        return settings.max_growth * max(len(before), 1)
    return settings.max_repair * max(len(before), len(mending.attempt))
