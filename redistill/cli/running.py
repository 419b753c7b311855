"""What a run of DVC beside this command is writing, as DVC's own lock file says."""

import json
import os
from pathlib import Path
from typing import Any

from redistill.cli import dvc_locks
from redistill.console.exceptions import TRY_AGAIN, RefusedError

LOCK = Path("tmp/rwlock")  # in DVC's folder


def writing(root: Path) -> dict[str, str]:
    """
    Find the paths below *root* that stages are writing now, with the process that does.

    Processes that are gone hold nothing. A lock file that is cut off is for `redistill doctor`.
    """
    state = dvc_locks.folder(root)  # of a repository around the project, where that has it
    if state is None or not (state / LOCK).is_file():
        return {}
    try:
        held = json.loads((state / LOCK).read_text(encoding="utf-8"))
    except ValueError:
        return {}
    whole = held.get("write") if isinstance(held, dict) else None
    here = root.resolve()
    return {
        Path(path).relative_to(here).as_posix(): f"pid {by['pid']} ({by['cmd']})"
        for path, by in (whole.items() if isinstance(whole, dict) else ())
        if _alive(by) and Path(path).is_relative_to(here)
    }


def refuse(root: Path, path: str, what: str) -> None:
    """Refuse (75) *what* a command does with *path* while a stage is writing it or in it."""
    for held, by in writing(root).items():
        if Path(held).is_relative_to(path) or Path(path).is_relative_to(held):
            raise RefusedError(
                f"{path}: {by} is writing it; {what} when that has ended", code=TRY_AGAIN
            )


def _alive(by: Any) -> bool:
    if not isinstance(by, dict) or not isinstance(by.get("pid"), int) or "cmd" not in by:
        return False
    try:
        os.kill(by["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
