"""Data of one's own in a project: which of it neither git nor DVC keeps, so that copies lack it."""

import subprocess
from pathlib import Path

from redistill.cli import dvc_locks
from redistill.console.preflight import Finding

FOLDERS = ("data/external", "data/imported", "data/pretrained")
MARK = ".dvc"  # of the file that `dvc add` writes beside what it tracks


def untracked(root: Path) -> list[str]:
    """
    Find the files and folders in FOLDERS that neither git nor DVC tracks, as paths from *root*.

    There are none to find where git does not know *root*.
    """
    ran = subprocess.run(  # noqa: S603 - git, no shell
        ["git", "ls-files", "--others", "--directory", "-z", "--", *FOLDERS],  # noqa: S607
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    paths = [path.rstrip("/") for path in ran.stdout.split("\0") if path]
    return [path for path in paths if not _known(root, path)]


def to_copy(root: Path) -> list[str]:
    """
    Say what a queued experiment has to be given along, as paths from where DVC's folder is.

    DVC copies them beside what git tracks.
    """
    state = dvc_locks.folder(root)
    here = root.resolve()
    below = here.relative_to(state.parent) if state is not None else Path()
    return [(below / path).as_posix() for path in untracked(root) if (root / path).exists()]


def finding(root: Path) -> Finding:
    """Say which data a clone of the project will lack, with the command that has DVC track it."""
    found = untracked(root)
    if not found:
        return Finding("own data", "holds", "git or DVC tracks all that lies in data/external, ...")
    told = f"{', '.join(found[:3])}{' ...' if len(found) > 3 else ''}: in neither git nor DVC"
    way = f"a clone lacks it: dvc add {found[0]}, then git add {found[0]}{MARK}"
    return Finding("own data", "note", f"{told}; {way}")


def _known(root: Path, path: str) -> bool:
    """Whether *path* is what `dvc add` or `dvc import` tracks, or writes itself."""
    name = Path(path).name
    return (root / f"{path}{MARK}").is_file() or name == ".gitignore" or name.endswith(MARK)
