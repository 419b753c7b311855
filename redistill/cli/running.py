"""What a run of DVC beside this command is writing, as DVC's own lock file says."""

from pathlib import Path

from redistill.cli import dvc_locks
from redistill.console.exceptions import TRY_AGAIN, RefusedError


def writing(root: Path) -> dict[str, str]:
    """
    Find the paths below *root* that stages are writing now, with the process that does.

    Processes that are gone hold nothing. A lock file that is cut off is for `redistill doctor`.
    """
    state = dvc_locks.folder(root)  # of a repository around the project, where that has it
    held = {} if state is None else dvc_locks.read_held(state / dvc_locks.RWLOCK).kept
    here = root.resolve()
    return {
        Path(path).relative_to(here).as_posix(): f"pid {by['pid']} ({by['cmd']})"
        for path, by in held.get("write", {}).items()
        if Path(path).is_relative_to(here)
    }


def refuse(root: Path, path: str, what: str) -> None:
    """Refuse (75) *what* a command does with *path* while a stage is writing it or in it."""
    for held, by in writing(root).items():
        if Path(held).is_relative_to(path) or Path(path).is_relative_to(held):
            raise RefusedError(
                f"{path}: {by} is writing it; {what} when that has ended", code=TRY_AGAIN
            )
