"""Prompts for a teacher that is a language model."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Literal

from redistill.console.exceptions import CONFIG, RefusedError
from redistill.rationales import situation
from redistill.rationales.teacher import Request
from redistill.records.fingerprint import digest
from redistill.records.types import Error, Exemplar, Problem
from redistill.solutions import gaps
from redistill.solutions.mending import Mending

FOLDER = Path(__file__).parent.parent / "prompts"
BLANK = re.compile(r"\[\[([a-z_]+)\]\]")
NOTHING, UNKNOWN = "(none)", "not located"
UNSETTLED = "(how far it is right is for you to say)"


@cache
def template(verb: str, kind: str) -> str:
    """Read the text of ``redistill/prompts/<verb>-<kind>.txt``."""
    file = FOLDER / f"{verb}-{kind}.txt"
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,63}", kind) or not file.is_file():
        known = sorted(f.stem.partition("-")[2] for f in FOLDER.glob(f"{verb}-*.txt"))
        raise RefusedError(
            f"teach.prompts: there is no redistill/prompts/{verb}-{kind}.txt; "
            f"known are {', '.join(known)}",
            code=CONFIG,
        )
    return file.read_text(encoding="utf-8").strip()


def templates(verb: Literal["explain", "refine"], kind: str) -> None:
    """Refuse (78) a *kind* of prompts of which a file for *verb* is missing."""
    for name in ("explain",) if verb == "explain" else ("explain", "refine", "repair"):
        template(name, kind)


def explain(problem: Problem, kind: str) -> str:
    """Write the prompt that asks for the first rationale of *problem*."""
    return fill(template("explain", kind), _question_fields(problem))


def refine(request: Request, kind: str) -> str:
    """
    Write the prompt that asks for a better rationale in the light of the student's errors.

    It shows the question, every rationale so far with its round, what the student wrote, the
    verdict on it, its gap in words, the first wrong step where one is known, and dev cases with the
    same gap. Several errors on the problem are all shown, by numbers, those of a pool with the
    names of their students. Where the student is not known to have failed on the problem, the gaps
    common on dev and the dev cases of the request stand in their place. What students wrote stands
    between fences that do not occur in it. Where an attempt is to be mended, the prompt is that to
    repair, and shows what of the attempt is kept.
    """
    errors, old = request.errors, request.rationale
    versions = [(v.round, v.text) for v in old.history] + [(old.round, old.text)]
    shown = [*(e for error in errors for e in error.exemplars), *request.cases]
    exemplars = list({e.problem: e for e in shown}.values())
    mark = fence(*(e.completion for e in errors), *(e.completion for e in exemplars))
    return fill(
        template("repair" if request.mending else "refine", kind),
        _question_fields(request.problem)
        | asdict(situation.situation(request))
        | {
            "history": "\n\n".join(f"Round {name}:\n{text}" for name, text in versions),
            "completion": _attempts(errors, mark),
            "verdict": _numbered([e.verdict.replace("_", " ") for e in errors]),
            "gap": _numbered([gaps.words(e.gap) for e in errors])
            if errors
            else _on_dev(request.profile),
            "first_wrong_step": _numbered([e.first_wrong_step or UNKNOWN for e in errors]),
            "exemplars": _cases(exemplars, mark),
            "kept": _kept(request.mending, mark),
        },
    )


def _kept(mending: Mending | None, mark: str) -> str:
    if mending is None or mending.kept is None:
        return UNSETTLED
    return _fenced(mending.kept, mark)


def fill(text: str, fields: Mapping[str, str]) -> str:
    """
    Fill every ``[[blank]]`` of *text* once, so that nothing in a field is a blank itself.

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
    """Make a line that occurs in none of *texts*; the same for the same texts."""
    number = 0
    while True:
        mark = f"=====[{digest(str(number), *texts)}]====="
        if not any(mark in text for text in texts):
            return mark
        number += 1


def _question_fields(problem: Problem) -> dict[str, str]:
    return {"question": problem.question, "choices": _listed(problem.choices) or NOTHING}


def _listed(choices: Mapping[str, str] | None) -> str:
    return "\n".join(f"({letter}) {text}" for letter, text in (choices or {}).items())


def _attempts(errors: Sequence[Error], mark: str) -> str:
    """What the student wrote each time, after whose it is where there are several students."""
    if not errors:
        return situation.NONE_SHOWN
    fenced = [_fenced(error.completion, mark) for error in errors]
    named = [
        f"{name}:\n{text}" if name else text
        for name, text in zip(situation.names(errors), fenced, strict=True)
    ]
    return _numbered(named)


def _on_dev(profile: Sequence[str]) -> str:
    told = "; ".join(gaps.words(gap) for gap in profile)
    return f"on similar problems, {told}" if told else NOTHING


def _numbered(texts: Sequence[str]) -> str:
    """*texts* as one: itself where it is the only one, else each after its number."""
    if len(texts) < 2:
        return texts[0] if texts else NOTHING
    lines = any("\n" in text for text in texts)
    return ("\n" if lines else "; ").join(
        f"({number}){chr(10) if lines else ' '}{text}" for number, text in enumerate(texts, 1)
    )


def _fenced(text: str, mark: str) -> str:
    return f"{mark}\n{text}\n{mark}"


def _cases(exemplars: Sequence[Exemplar], mark: str) -> str:
    return "\n\n".join(_case(case, mark) for case in exemplars) or NOTHING


def _case(case: Exemplar, mark: str) -> str:
    lines = [f"Question: {case.question}"]
    if case.choices:
        lines += ["Choices:", _listed(case.choices)]
    lines += ["The student wrote:", _fenced(case.completion, mark)]
    if case.gap is not None:
        lines.append(f"Kind of failure: {gaps.words(case.gap)}")
    return "\n".join(lines)
