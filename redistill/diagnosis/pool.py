"""The errors of several students put together, so that one refined set can serve them all."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from redistill.console.exceptions import RefusedError
from redistill.records import jsonl
from redistill.records.balance import Balance
from redistill.records.json_file import read_json
from redistill.records.types import Attempt, Error
from redistill.solutions import gaps

NUMBERED = re.compile(r"(.+)(#\d+)", re.DOTALL)  # the id of an error but the first of its problem


def pool(named: Mapping[str, Sequence[Error]]) -> tuple[list[Error], Balance]:
    """
    Put the errors of the students *named* together, each with whose it is.

    The name is added to the id, before the number of an error that is not its problem's first, so
    that those of a student stay together. In a pool of a pool the student is that of the inner one.

    Where two students wrote the same about a problem, the teacher is shown it once: the later row
    is counted as a repetition.
    """
    kept: dict[tuple[str, str, str], Error] = {}
    for name, errors in named.items():
        for error in errors:
            known = {"id": _with(name, error.id), "student": error.student or name}
            told = error.model_copy(update=known)
            kept.setdefault((error.split, error.problem, error.completion), told)
    rows = sum(len(errors) for errors in named.values())
    same = rows - len(kept)
    lost = {"the same completion": same} if same else {}
    return [*kept.values()], Balance("pool", rows, len(kept), lost)


def attempts(files: Sequence[Path]) -> list[Attempt]:
    """Put the students' own right completions in *files* together, each text of a problem once."""
    kept: dict[tuple[str, str], Attempt] = {}
    for file in files:
        for found in jsonl.read(file, Attempt):
            told = found.model_copy(update={"id": f"{found.id}@{file.stem}"})
            kept.setdefault((found.problem, found.text), told)
    return [*kept.values()]


def _with(name: str, identity: str) -> str:
    known = NUMBERED.fullmatch(identity)
    return f"{known[1]}@{name}{known[2]}" if known else f"{identity}@{name}"


def diagnosis(files: Sequence[Path], common: float) -> dict[str, Any]:
    """
    Put the gap profiles in *files* into one: every student's answers to the dev problems together.

    A gap is common that at least a share *common* of all these answers show. The loop is to stop
    only where it is to stop for every student.
    """
    found = [_read(file) for file in files]
    n = sum(content["profile"]["n"] for content in found)
    counts: Counter[str] = Counter()
    for content in found:
        counts.update(content["profile"]["gaps"])
    frequent = sorted(gap for gap, count in counts.items() if n and count / n >= common)
    stop = all(content["decision"]["stop"] for content in found)
    told = [content["decision"]["because"] for content in found]
    because = "; ".join(f"{f.stem}: {why}" for f, why in zip(files, told, strict=True))
    return {
        "profile": {"n": n, "gaps": gaps.listed(counts), "common": frequent},
        "decision": {"stop": stop, "because": because},
    }


def _read(file: Path) -> dict[str, Any]:
    content = read_json(file)
    try:
        counts, decision = content["profile"]["gaps"], content["decision"]
        whole = [content["profile"]["n"], *(counts[gap] for gap in gaps.ALL), *counts.values()]
        if all(isinstance(value, int) for value in whole) and {"stop", "because"} <= {*decision}:
            return content
    except (KeyError, TypeError):
        pass
    raise RefusedError(f"{file}: not the diagnosis of a round; run dvc repro")
