"""Whether a run that surely has to ask its teacher can: its key, and a way to the service."""

from pathlib import Path

from redistill.llm import store
from redistill.rationales.teacher import engage
from redistill.settings.sections import Params

FIRST = Path("data/rationales/r0.jsonl")


def check(root: Path, params: Params) -> None:
    """
    Refuse where the first rationales are still to be asked for, and no call can be made from here.

    A run that has asked already, or has answers in its store, may need no call any more, as one
    that is only graded anew: it is let through, and the stage that has to ask refuses by itself.
    """
    if (root / FIRST).exists() or _recorded(root / "dvc.lock") or store.path().exists():
        return
    teacher = engage(params, "explain")
    if ready := getattr(teacher.module, "ready", None):
        ready(teacher.settings)


def _recorded(lock: Path) -> bool:
    """Whether dvc.lock knows the stage generate, whose out DVC may then have in its cache."""
    return lock.is_file() and "\n  generate:" in lock.read_text(encoding="utf-8", errors="replace")
