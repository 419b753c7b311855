"""Whether a run that surely has to ask its teacher can: its key, and a way to the service."""

from pathlib import Path

from redistill.console.exceptions import RefusedError
from redistill.llm import store
from redistill.rationales.teacher import engage
from redistill.settings.sections import Params

FIRST = Path("data/rationales/r0.jsonl")


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
    except RefusedError as refusal:
        return refusal
    return None


def _recorded(lock: Path) -> bool:
    """Whether dvc.lock knows the stage generate, whose out DVC may then have in its cache."""
    return lock.is_file() and "\n  generate:" in lock.read_text(encoding="utf-8", errors="replace")
