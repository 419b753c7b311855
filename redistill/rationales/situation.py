"""What is true of the student behind a request, as the sentences of a prompt that depend on it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from redistill.rationales.teacher import Request
from redistill.records.types import Error

NONE_SHOWN = "(none on this problem is shown)"


@dataclass(frozen=True)
class Situation:
    """
    Sentences, and parts of some, each for the blank of its name.

    *situation* opens the prompt, *lessons* heads the worked answers so far, *reader* what was
    written in the brief prompt, and *similar* the dev cases. *diagnosed* stands before the
    questions of the diagnosis; *where* and *elsewhere* say which steps are to be smaller and which
    are not, and *rejected* what a worked answer to a question with choices is to argue against.
    """

    situation: str
    lessons: str
    reader: str
    similar: str
    diagnosed: str = ""
    where: str = "Where the attempt went wrong"
    elsewhere: str = "Where it was right"
    rejected: str = "the choice that was wrongly taken does not fit"


FAILED = Situation(
    situation="A small language model was trained on worked answers, among them the ones below, "
    "and then met the same problem again without help. It failed.",
    lessons="The worked answers it was trained on so far, oldest first:",
    reader="A reader of them wrote, between the fence lines:",
    similar="Similar problems on which it failed in the same way, with what it wrote, fenced in "
    "the same way:",
)
UNTAUGHT = Situation(
    situation="A small language model was trained on worked answers to other problems, and then "
    "met this problem without help. It failed. It had not been trained on the worked answers "
    "below when it wrote what is shown.",
    lessons="The worked answers to this problem so far, oldest first; it had not been trained on "
    "them:",
    reader="Somebody who had not read them wrote, between the fence lines:",
    similar="Similar problems on which a model like it failed in the same way, with what that "
    "wrote, fenced in the same way:",
)
SEVERAL = replace(
    FAILED,
    situation="Several small language models were trained on worked answers, among them the ones "
    "below, and then met the same problem again without help. Each that is named below failed, "
    'and "it" is each of them.',
    reader="Readers of them wrote, between the fence lines:",
    similar="Similar problems on which one of them failed in the same way, with what that wrote, "
    "fenced in the same way:",
)
SEVERAL_UNTAUGHT = replace(
    UNTAUGHT,
    situation="Several small language models were trained on worked answers to other problems, "
    'and then met this problem without help. Each that is named below failed, and "it" is each '
    "of them. None had been trained on the worked answers below when it wrote what is shown.",
)
MIXED = replace(
    UNTAUGHT,
    situation="Several small language models were trained on worked answers, and then met this "
    'problem without help. Each that is named below failed, and "it" is each of them. Some had '
    "been trained on the worked answers below when they wrote what is shown, and some had not, "
    "as is said of each.",
    lessons="The worked answers to this problem so far, oldest first:",
    reader="Readers of them, and some who had not read them, wrote, between the fence lines:",
)
UNSEEN = Situation(
    situation="A small language model was trained on worked answers, among them the ones below. "
    "No failure of it on this problem is known, but it failed on similar ones, in the ways that "
    "are told below.",
    lessons=FAILED.lessons,
    reader="What a reader of them wrote on the first question is not shown:",
    similar="Similar problems on which it failed, with what it wrote, fenced in the same way:",
    diagnosed="On the similar problems: ",
    where="Where it could go wrong here in the same ways",
    elsewhere="Elsewhere",
    rejected="the choice that is easiest to take wrongly does not fit",
)
UNKNOWN = replace(
    UNSEEN,
    situation="A small language model was trained on worked answers, among them the ones below. "
    "No failure of it is shown here.",
    diagnosed="",
    where="Where it could go wrong",
)


def situation(request: Request) -> Situation:
    """Choose the sentences that are true of *request*."""
    errors = request.errors
    if not errors:
        return UNSEEN if request.cases or request.profile else UNKNOWN
    held_out = {error.held_out for error in errors}
    if len(held_out) > 1:
        found = MIXED
    elif len({error.student for error in errors}) > 1:
        found = SEVERAL_UNTAUGHT if errors[0].held_out else SEVERAL
    else:
        found = UNTAUGHT if errors[0].held_out else FAILED
    return found if len(errors) == 1 else replace(found, where="Where an attempt went wrong")


def names(errors: Sequence[Error]) -> list[str]:
    """
    Say what stands over each of *errors*, empty where nothing does.

    That is its student, in a pool, and whether it was taught the worked answers, where some were.
    """
    mixed = len({error.held_out for error in errors}) > 1
    untaught = {True: "not trained on the worked answers below", False: "trained on them"}
    said = [
        [f"student {error.student}"] * (error.student is not None)
        + [untaught[error.held_out]] * mixed
        for error in errors
    ]
    return [", ".join(parts) for parts in said]
