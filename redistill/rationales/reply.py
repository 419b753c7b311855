"""What the reply of a language model is worth: the rationale in it, or the reason why not."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from redistill.grading.answers import MARKER
from redistill.llm.request import Request
from redistill.llm.response import Reading
from redistill.rationales import wrapping
from redistill.rationales.teacher import Reply

UNMARKED = "no rationale between the markers"
TAGS = re.compile(r"<(/?)rationale>", re.IGNORECASE)
KEPT = re.compile(r"<(/?)kept>", re.IGNORECASE)
WORD = re.compile(r"\w")
JOINING = re.compile(r"(?:\b(?:and|or|to|tags?|markers?|text|here)\b|[\W_])*+", re.IGNORECASE)
MENTION = 8  # words; more than so many between two markers are no part of a sentence about them


@dataclass(frozen=True)
class Found:
    """
    What stands in a reply: the rationale between markers, and what a repair says that it keeps.

    Without such a rationale *unmarked* is what may be one all the same.
    """

    text: str | None
    kept: str | None = None
    unmarked: str | None = None


def reply(reading: Reading, request: Request) -> Reply:
    """Say what the answer to *request* is worth: the rationale between its markers, or a reason."""
    if reading.outcome != "answered":
        return Reply(None, reason=reading.outcome.replace("_", " "))
    return replied(reading.text, request.model, request.key[:16])


def replied(text: str, teacher: str, fingerprint: str | None = None) -> Reply:
    """Say what *text*, which *teacher* wrote outside of its thoughts, is worth."""
    found = read(text)
    return Reply(
        found.text,
        reason=None if found.text else UNMARKED,
        teacher=teacher,
        fingerprint=fingerprint,
        kept=found.kept,
        unmarked=found.unmarked,
    )


def read(text: str) -> Found:
    """
    Read *text*, a reply without its thoughts.

    The rationale is what stands in the last complete pair of markers that holds one, without what
    wraps it. A pair holds none that is empty, or that names the markers in a sentence about them:
    on one line with other words, with at most `MENTION` words between, and no answer.
    """
    said = wrapping.turn(text)
    pairs = [pair for pair in _pairs(said, TAGS) if not pair.mentions]
    marked = [found for pair in pairs if (found := wrapping.unwrapped(pair.text))]
    kept = [pair.text.strip() for pair in _pairs(said, KEPT)]
    return Found(
        marked[-1] if marked else None,
        kept[-1] if kept else None,
        None if marked else _unmarked(said),
    )


@dataclass(frozen=True)
class Pair:
    """The *text* between two markers, and what stands before and after them on their lines."""

    text: str
    aside: str

    @property
    def mentions(self) -> bool:
        """Whether this is no rationale: the markers are spoken of."""
        if MARKER in self.text:
            return False
        in_sentence = "\n" not in self.text.strip() and WORD.search(self.aside)
        few = len(self.text.split()) <= MENTION
        return bool(JOINING.fullmatch(self.text) or (in_sentence and few))


def _pairs(text: str, tags: re.Pattern[str]) -> Iterator[Pair]:
    """The pairs of an opening tag and the closing one that comes next to it."""
    found = list(tags.finditer(text))
    ends = [0, *(tag.end() for tag in found)]
    starts = [*(tag.start() for tag in found), len(text)]
    for place, (opening, closing) in enumerate(pairwise(found)):
        if not opening[1] and closing[1]:
            before = text[ends[place] : opening.start()].rsplit("\n", 1)[-1]
            after = text[closing.end() : starts[place + 2]].split("\n", 1)[0]
            yield Pair(text[opening.end() : closing.start()], before + after)


def _unmarked(text: str) -> str | None:
    """What may be a rationale of *text*, which has none between markers: what one marker bounds."""
    tags = list(TAGS.finditer(text))
    if len(tags) == 1:
        text = text[: tags[0].start()] if tags[0][1] else text[tags[0].end() :]
    return wrapping.unwrapped(text) or None
