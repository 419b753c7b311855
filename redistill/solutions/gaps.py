"""The kinds of error that students make, and the diagnosis that one round hands to the next."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redistill.console.exceptions import RefusedError

OPERATION = {"+": "add", "-": "subtract", "*": "multiply", "/": "divide"}
PROCESS = ("set_up", "copying", "missing_step", "extra_step", "format")
OTHER = {"no": "yes_for_no", "yes": "no_for_yes"}  # by the gold answer
CHOSEN = ("distractor", *OTHER.values())
HIDDEN = "not_shown"  # in place of a gap that the teacher of a control is not told
ALL = (*OPERATION.values(), *PROCESS, *CHOSEN, "unknown")
WORDS = {  # as a teacher that is a language model is told
    "add": "it added wrongly",
    "subtract": "it subtracted wrongly",
    "multiply": "it multiplied wrongly",
    "divide": "it divided wrongly",
    "set_up": "it set the calculation up wrongly",
    "copying": "it copied a number wrongly",
    "missing_step": "it left out a step",
    "extra_step": "it took a step too many after it had reached the answer",
    "format": "it gave no answer in the form that was asked for",
    "distractor": "it took a choice that is wrong",
    "yes_for_no": "its yes is wrong",
    "no_for_yes": "its no is wrong",
    "unknown": "where it went wrong is not known",
    HIDDEN: "where it went wrong is not shown",
}


@dataclass(frozen=True)
class Diagnosis:
    """What dev said after a round: the *common* gaps, and whether the loop is to *stop*."""

    common: list[str]
    stop: bool


def read(path: Path) -> Diagnosis:
    """Read the diagnosis in the metrics that `mine` wrote to *path*."""
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        common = [gap for gap in ALL if gap in content["profile"]["common"]]
        return Diagnosis(common, bool(content["decision"]["stop"]))
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise RefusedError(f"{path}: not the diagnosis of a round: {problem}") from problem


def words(gap: str) -> str:
    """
    Describe *gap* in a few words, as something that "it", a student, did.

    Raises RefusedError for a gap that there is not.
    """
    if gap not in WORDS:
        raise RefusedError(f"gap {gap!r}: there is none of that name; run dvc repro")
    return WORDS[gap]


def describe(counts: Mapping[str, int]) -> str:
    """List the gaps that occur, most frequent first, on one line."""
    ordered = sorted(((n, gap) for gap, n in counts.items() if n), reverse=True)
    return ", ".join(f"{gap} {n}" for n, gap in ordered) or "none"
