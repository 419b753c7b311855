"""What of a wrong attempt can be kept: everything before its first wrong step."""

import re
from dataclasses import dataclass

from redistill.records.fingerprint import worded
from redistill.records.types import Error
from redistill.solutions import wordings
from redistill.solutions.wordings import steps

STEP = re.compile(r"step (\d{1,6}): (.*)", re.DOTALL)  # as an error names its first wrong one
NAMES_LAST = ("missing_step", "format")  # gaps whose first wrong step is the last right one
END = re.compile(r"(?<=[.!?])\s+")  # between two sentences


@dataclass(frozen=True)
class Mending:
    """
    An *attempt* that is to be mended: what of it is *kept* word for word, and the *wrong* step.

    *kept* is None where the step does not stand in the attempt, as where a wrong choice was taken:
    then the teacher says how far the attempt is right.
    """

    attempt: str
    kept: str | None
    wrong: str | None

    def fault(self, text: str, said: str | None = None) -> str | None:
        """
        Say why *text* does not mend the attempt; None where it does.

        What is kept is what a teacher *said* where that is for the teacher to say.
        """
        kept = said if self.kept is None else self.kept
        if kept is None or not _words(self.attempt).startswith(_words(kept)):
            return "does not say what it keeps"
        if not _words(text).startswith(_words(kept)):
            return "does not keep what was right"
        if self.wrong is not None and self._stands(self.wrong, text):
            return "keeps the wrong step"
        return None

    def _stands(self, wrong: str, text: str) -> bool:
        found = {str(step) for step in steps(wrong)}
        if found:
            return bool(found & {str(step) for step in steps(text)})
        return f" {worded(wrong)} " in f" {worded(text)} "


def mending(error: Error) -> Mending | None:
    """
    Return what of the completion of *error* can be kept; None where that is nothing.

    Where a step is missing, or the answer alone is wrong, the step that is named is the last right
    one, and is kept; so is one that stands in an accepted worked answer.
    """
    attempt = error.completion.strip()
    where = place(attempt, error.first_wrong_step)
    if where is None:
        unknown = error.first_wrong_step is None or error.answer is None
        return None if not attempt or unknown else Mending(attempt, None, None)
    start, named = _begins(attempt, where[0]), attempt[where[0] : where[1]]
    if error.gap in NAMES_LAST or _accepted(named, error):
        return Mending(attempt, attempt[: _ends(attempt, where[1])].strip(), None)
    kept = attempt[:start].strip()
    return Mending(attempt, kept, attempt[start : where[1]].strip()) if kept else None


def _accepted(step: str, error: Error) -> bool:
    """Whether *step* stands in a worked answer that was accepted for the problem."""
    known = {str(found) for version in error.history for found in steps(version.text)}
    return bool(found := {str(one) for one in steps(step)}) and found <= known


def _ends(text: str, place: int) -> int:
    """Where the line ends that has *place* in it."""
    end = text.find("\n", place)
    return len(text) if end < 0 else end


def place(completion: str, step: str | None) -> tuple[int, int] | None:
    """Find from where to where *step* stands, as `locate` counts steps or quotes a sentence."""
    if not step:
        return None
    named = STEP.fullmatch(step)
    if named is None:
        start = completion.find(step)
        return (start, start + len(step)) if start >= 0 else None
    found = wordings.nth(completion, int(named[1]))
    return (found.start, found.end) if found and str(found) == named[2] else None


def _begins(text: str, place: int) -> int:
    """Where the sentence or the line begins that has *place* in it."""
    start = text.rfind("\n", 0, place) + 1
    ends = [match.end() for match in END.finditer(text, start, place)]
    return ends[-1] if ends else start


def _words(text: str) -> str:
    """*text* with single spaces: a teacher may break lines elsewhere."""
    return " ".join(text.split())
