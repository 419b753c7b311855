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
OF_CODE = ("no_code", "raises", "wrong_result", "over_limit")  # by what its tests came to
PASSES = "passes"  # what the tests of right code come to
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
    "no_code": "its code does not run, or lacks the function",
    "raises": "its function ends with an exception",
    "wrong_result": "its function returns a wrong result",
    "over_limit": "its function takes more than its time or memory",
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
        common = [gap for gap in (*ALL, *OF_CODE) if gap in content["profile"]["common"]]
        return Diagnosis(common, bool(content["decision"]["stop"]))
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise RefusedError(f"{path}: not the diagnosis of a round: {problem}") from problem


def listed(counts: Mapping[str, int]) -> dict[str, int]:
    """Return *counts* of every kind of gap, those of code where there are any."""
    of_code = {gap: counts[gap] for gap in OF_CODE if counts.get(gap)}
    return {gap: counts.get(gap, 0) for gap in ALL} | of_code


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
