"""Whether a run that surely has to ask its teacher, or a judge, can: a key, and a way there."""

import os
from collections.abc import Sequence
from pathlib import Path

from redistill.console.exceptions import RefusedError
from redistill.grading.grader import GradeSettings, grader_module
from redistill.llm import store
from redistill.rationales.teacher import engage
from redistill.settings.sections import Params

FIRST = Path("data/rationales/r0.jsonl")
COMMANDS = (("repro",), ("exp", "run"))  # of DVC, which without a target run every stage
PLAIN = {  # their options that leave it so
    *("-f", "--force", "-v", "--verbose", "-q", "--quiet", "-k", "--keep-going"),
    *("--pull", "--no-commit", "--allow-missing"),
}
VALUED = {"-S", "--set-param", "-n", "--name", "-m", "--message"}


def missing(root: Path, params: Params) -> RefusedError | None:
    """
    Return the refusal with which the first call of a run would end; None where none is sure.

    A run that has asked already, or has answers in its store, may need no call any more, as one
    that is only graded anew: there the stage that has to ask refuses by itself.
    """
    if (root / FIRST).exists() or _recorded(root / "dvc.lock") or store.path().exists():
        return None
    teacher = engage(params, "explain")
    try:
        if ready := getattr(teacher.module, "ready", None):
            ready(teacher.settings)
        grader = grader_module(params.section("grade", GradeSettings).grader)
        if ready := getattr(grader, "ready", None):
            ready(params)
    except RefusedError as refusal:
        return refusal
    return None


def before(root: Path, params: Params) -> list[str]:
    """
    Say what a call will lack, for a run that may end before it.

    Where `dvc repro` was asked for every stage, the call comes after minutes or hours that need
    none: that raises the refusal (77 for a key) with which it would end. A target, such as prepare,
    or a caller that is not known (/proc is that of Linux), is given the benefit of the doubt.
    """
    lacks = missing(root, params)
    if lacks is None:
        return []
    if whole(_caller()):
        raise RefusedError(f"{lacks}; dvc repro prepare base goes without", code=lacks.code)
    return [f"not yet: {lacks}"]


def whole(words: Sequence[str]) -> bool:
    """
    Say whether the command line *words* surely has DVC run every stage.

    >>> whole(["python", "/bin/dvc", "repro", "-f"]), whole(["dvc", "repro", "prepare"])
    (True, False)
    """
    names = [Path(word).name for word in words]
    given = list(words[names.index("dvc") + 1 :]) if "dvc" in names else []
    found = next((c for c in COMMANDS if tuple(given[: len(c)]) == c), None)
    if found is None:
        return False
    rest = iter(given[len(found) :])
    return all(word in PLAIN or (word in VALUED and next(rest, None)) for word in rest)


def _caller() -> list[str]:
    """The command line of the process that runs this stage; empty where it cannot be read."""
    file = Path(f"/proc/{os.getppid()}/cmdline")
    return file.read_text("utf-8", "replace").split("\0")[:-1] if file.is_file() else []


def _recorded(lock: Path) -> bool:
    """Whether dvc.lock knows the stage generate, whose out DVC may then have in its cache."""
    return lock.is_file() and "\n  generate:" in lock.read_text(encoding="utf-8", errors="replace")
