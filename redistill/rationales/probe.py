"""The first few texts of a teacher that is paid, judged before the others are asked for."""

from collections import Counter
from collections.abc import Sequence

from redistill.console.exceptions import CONFIG, RefusedError
from redistill.llm import purchase, thoughts
from redistill.rationales.attempts import RIGHT_UNMARKED, Probe
from redistill.rationales.guards import UNCHANGED
from redistill.rationales.reply import UNMARKED
from redistill.rationales.teacher import Engaged

SHOWN = 3  # problems that a message names
CHANCE = 0.01  # that all texts of a probe are rejected though the run would keep its limit of loss
FORM = "not in the answer format"
WAYS_OUT = {
    "truncated": "raise max_tokens or max_completion_tokens in the teacher's body",
    "only reasoning": thoughts.WAY_OUT,
    UNMARKED: "see the prompt with redistill show, and the replies with redistill show ID "
    "--replies; another of teach.prompts may fit this teacher",
    FORM: "the prompt of teach.prompts and grade.grader may speak of different answer forms",
    RIGHT_UNMARKED: "teach.unmarked: take teaches such replies",
    "wrong answer": "see field 'answer' of these problems, and whether grade.grader fits them",
    "fails its tests": "see field 'answer' of these problems, the source of the tests, and the "
    "replies with redistill show ID --replies",
    "no usable verdict": "where the replies of the judge are cut off, raise max_completion_tokens "
    "or max_tokens in grade.judge.body, else mend the rubric; redistill store export FILE has "
    "them, as those of the stage judge",
    "bad request": "mend the teacher's section in params.yaml",
    UNCHANGED: "each is word for word the text that it was to replace, so none is refined; see "
    "both with redistill show ID --replies, then take another teach.refiner or teach.prompts; "
    "a temperature above 0, or openai.seed, in the teacher's request also makes it vary, where its "
    "model takes one",
}
SETTINGS = (  # reasons that say nothing of the problem, but of how the teacher is asked
    *("truncated", "only reasoning", "refused", "filtered", "unwritable", "bad request"),
    *(UNMARKED, RIGHT_UNMARKED, FORM, UNCHANGED),
)


def of_first(teacher: Engaged, names: Sequence[str], max_loss: float) -> Probe | None:
    """
    Return the probe for asking *teacher* for first texts; None where all are asked for at once.

    It refuses where not one is accepted, unless that is no rare case within *max_loss*: the share
    of problems that may stay without a text after all attempts.
    """
    lost = max_loss ** (1 / teacher.rules.attempts)  # in one attempt
    size = _size(teacher, len(names))
    if size is None or lost**size >= CHANCE:
        return None
    return Probe(size, lambda reasons: _judged(names, reasons, ()))


def of_rewrites(teacher: Engaged, names: Sequence[str]) -> Probe | None:
    """
    Return the probe for asking *teacher* to rewrite texts; None where all are asked for at once.

    It refuses where every reason lies in how the teacher is asked, as where all that it writes is
    the text before; a rewrite that is worse than that text is nothing out of the way.
    """
    size = _size(teacher, len(names))
    if size is None:
        return None
    return Probe(size, lambda reasons: _judged(names, reasons, SETTINGS))


def _size(teacher: Engaged, count: int) -> int | None:
    """How many problems are asked about first; None where all are at once."""
    size = teacher.rules.probe
    asked = teacher.spending is not None and teacher.plan is None and not purchase.manner()
    return size if size is not None and asked and count > size else None


def _judged(names: Sequence[str], reasons: Sequence[str | None], only: Sequence[str]) -> None:
    """Refuse to go on where there are *reasons* against all, each one of *only* if it has any."""
    found = Counter(reason for reason in reasons if reason is not None)
    if found.total() < len(reasons) or (only and not set(found) <= set(only)):
        return
    told = ", ".join(f"{n} {reason}" for reason, n in found.most_common())
    way_out = next(
        (WAYS_OUT[r] for r, _ in found.most_common() if r in WAYS_OUT), "see docs/teachers.md"
    )
    raise RefusedError(
        f"not one text for the first {len(reasons)} problems was accepted ({told}; "
        f"{', '.join(names[:SHOWN])}, ...), so the other {len(names) - len(reasons)} are not asked "
        f"about: {way_out}. What was answered is stored; teach.probe: null asks all the same",
        code=CONFIG,
    )
