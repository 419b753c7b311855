"""What git and DVC keep of a project: data of one's own that neither does, and what both would."""

import subprocess
from pathlib import Path

from redistill.cli import dvc_locks
from redistill.console.preflight import Finding

FOLDERS = ("data/external", "data/imported", "data/pretrained", "data/rubrics")
MADE = (  # what stages make, which DVC keeps
    *("attempts", "completions", "completions-outside", "errors", "predictions"),
    *("predictions-outside", "probes", "problems", "published", "rationales", "report", "students"),
)
MARK = ".dvc"  # of the file that `dvc add` writes beside what it tracks


def untracked(root: Path) -> list[str]:
    """
    Find the files and folders in FOLDERS that neither git nor DVC tracks, as paths from *root*.

    There are none to find where git does not know *root*.
    """
    return [path for path in _others(root) or () if not _known(root, path)]


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
    if _others(root) is None:
        told = "git keeps nothing of this folder, as it is in none of its repositories: git init"
        return Finding("own data", "note", told)
    found = untracked(root)
    if not found:
        return Finding("own data", "holds", "git or DVC tracks all that lies in data/external, ...")
    told = f"{', '.join(found[:3])}{' ...' if len(found) > 3 else ''}: in neither git nor DVC"
    way = f"a clone lacks it: dvc add {found[0]}, then git add {found[0]}{MARK}"
    return Finding("own data", "note", f"{told}; {way}")


def in_git(root: Path) -> Finding:
    """
    Say whether git tracks what stages make, with the command that lets go of it.

    DVC refuses to make such a file again, after the stage has computed it.
    """
    listed = _listed(root, "--cached", *(f"data/{name}" for name in MADE)) or ()
    found = [path for path in listed if not Path(path).name.startswith(".git")]
    if not found:
        return Finding("outputs", "holds", "git tracks none of what stages make; DVC does")
    those = "a file" if len(found) == 1 else f"{len(found)} files"
    told = f"git tracks {those} that stages make, {found[0]}, and DVC will refuse to make that anew"
    folders = " ".join(dict.fromkeys("/".join(path.split("/")[:2]) for path in found))
    way = f"git rm -r -q --cached {folders} ':!*/.git*', then git commit"
    return Finding("outputs", "fails", f"{told}: {way}")


def _others(root: Path) -> list[str] | None:
    """What git does not track in FOLDERS; None where it knows no repository, or is not here."""
    return _listed(root, "--others", "--directory", *FOLDERS)


def _listed(root: Path, *words: str) -> list[str] | None:
    """
    Ask git for the files of *words*; None where it knows no repository, or is not here.

    A repository that another user owns counts as none: git refuses to read it.
    """
    options = [word for word in words if word.startswith("-")]
    paths = [word for word in words if not word.startswith("-")]
    try:
        ran = subprocess.run(  # noqa: S603 - git, no shell
            ["git", "ls-files", *options, "-z", "--", *paths],  # noqa: S607
            cwd=root,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        return None
    if ran.returncode:
        return None
    return [path.rstrip("/") for path in ran.stdout.split("\0") if path]


def _known(root: Path, path: str) -> bool:
    """Whether *path* is what `dvc add` or `dvc import` tracks, or writes itself."""
    name = Path(path).name
    return (root / f"{path}{MARK}").is_file() or name == ".gitignore" or name.endswith(MARK)
