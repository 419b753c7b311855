"""Prompts for a teacher that is a language model, and the rationale read out of its reply."""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from redistill.console.exceptions import CONFIG, RefusedError
from redistill.llm import request as llm_request
from redistill.llm.response import Reading
from redistill.rationales.teacher import Reply, Request
from redistill.records.fingerprint import digest
from redistill.records.types import Exemplar, Problem

FOLDER = Path(__file__).parent.parent / "prompts"
BLANK = re.compile(r"\[\[([a-z_]+)\]\]")
OPEN, CLOSE = "<rationale>", "</rationale>"
MAX_STUDENT = 4000  # characters of a completion; one that rambles on would be paid for by the page
NOTHING = "(none)"


@cache
def template(verb: str, kind: str) -> str:
    """The text of ``redistill/prompts/<verb>-<kind>.txt``."""
    file = FOLDER / f"{verb}-{kind}.txt"
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,63}", kind) or not file.is_file():
        known = sorted(f.stem.partition("-")[2] for f in FOLDER.glob(f"{verb}-*.txt"))
        raise RefusedError(
            f"teach.prompts: there is no redistill/prompts/{verb}-{kind}.txt; "
            f"known are {', '.join(known)}",
            code=CONFIG,
        )
    return file.read_text(encoding="utf-8").strip()


def explain(problem: Problem, kind: str) -> str:
    """The prompt that asks for the first rationale of *problem*."""
    return fill(template("explain", kind), _asked(problem))


def refine(request: Request, kind: str) -> str:
    """
    The prompt that asks for a better rationale in the light of the student's error.

    It shows the question, every rationale so far with its round, what the student wrote, the
    verdict on it, the first wrong step where one is known, and dev cases with the same gap. What
    the student wrote stands between fences that do not occur in it.
    """
    error = next(iter(request.errors), None)
    old = request.rationale
    versions = [(v.round, v.text) for v in old.history] + [(old.round, old.text)]
    completion = error.completion if error else ""
    exemplars = error.exemplars if error else []
    mark = fence(completion, *(exemplar.completion for exemplar in exemplars))
    return fill(
        template("refine", kind),
        _asked(request.problem)
        | {
            "history": "\n\n".join(f"Round {name}:\n{text}" for name, text in versions),
            "completion": _fenced(completion, mark) if error else NOTHING,
            "verdict": error.verdict.replace("_", " ") if error else NOTHING,
            "gap": error.gap.replace("_", " ") if error else ", ".join(request.profile) or NOTHING,
            "first_wrong_step": (error.first_wrong_step if error else None) or "not located",
            "exemplars": _cases(exemplars, mark),
        },
    )


def fill(text: str, fields: Mapping[str, str]) -> str:
    """
    *text* with every ``[[blank]]`` filled once, so that nothing in a field is a blank itself.

    Raises RefusedError for a blank that has no field.
    """
    for name in BLANK.findall(text):
        if name not in fields:
            raise RefusedError(
                f"prompt: unknown blank [[{name}]]; known are {', '.join(sorted(fields))}",
                code=CONFIG,
            )
    return BLANK.sub(lambda match: fields[match.group(1)], text)


def fence(*texts: str) -> str:
    """A line that occurs in none of *texts*; the same for the same texts."""
    number = 0
    while True:
        mark = f"=====[{digest(str(number), *texts)}]====="
        if not any(mark in text for text in texts):
            return mark
        number += 1


def rationale(reply: str) -> str | None:
    """The text between the last complete pair of markers in *reply*, None where there is none."""
    end = reply.rfind(CLOSE)
    start = reply.rfind(OPEN, 0, end) if end >= 0 else -1
    text = reply[start + len(OPEN) : end].strip() if start >= 0 else ""
    return text or None


def reply(reading: Reading, request: llm_request.Request) -> Reply:
    """What the answer to *request* is worth: the rationale between its markers, or a reason."""
    if reading.outcome != "answered":
        return Reply(None, reason=reading.outcome.replace("_", " "))
    text = rationale(reading.text)
    if text is None:
        return Reply(None, reason="no rationale between the markers")
    return Reply(text, teacher=request.model, fingerprint=request.key[:16])


def _asked(problem: Problem) -> dict[str, str]:
    choices = [f"({letter}) {text}" for letter, text in (problem.choices or {}).items()]
    return {
        "question": problem.question,
        "choices": "\n".join(choices) or NOTHING,
    }


def _fenced(text: str, mark: str) -> str:
    cut = len(text) - MAX_STUDENT
    shown = f"{text[:MAX_STUDENT]}\n[{cut} more characters]" if cut > 0 else text
    return f"{mark}\n{shown}\n{mark}"


def _cases(exemplars: Sequence[Exemplar], mark: str) -> str:
    return (
        "\n\n".join(
            f"Question: {case.question}\nThe student wrote:\n{_fenced(case.completion, mark)}"
            for case in exemplars
        )
        or NOTHING
    )
