"""Where the record store lies: in one place for all checkouts and copies of a repository."""

import os
import subprocess
from pathlib import Path

from redistill.console.exceptions import CONFIG, RefusedError

PATH = Path(".redistill/store.sqlite")  # in the project's folder of the main checkout
VARIABLE = "REDISTILL_STORE"  # names another file
MARKS = ("dvc.yaml", "params.yaml")  # a folder that has one of them is that of a project
COPIES = (".dvc", "tmp", "exps")  # where DVC lays the copies that experiments run in


def path() -> Path:
    """
    Find the store: the file that REDISTILL_STORE names, else `.redistill/store.sqlite`.

    A relative name is relative to the folder of `home`, so that worktrees of git and the copies
    that DVC runs experiments in have the store of the main checkout. Raises RefusedError (78)
    where that is not to be found, or where a worktree has a store of its own from before.
    """
    named = os.environ.get(VARIABLE)
    if named and Path(named).is_absolute():
        return Path(named)
    here = Path.cwd()
    own = project(here)
    place = home(own)
    if not named and place != own and (own / PATH).is_file():
        raise _two(own / PATH, place / PATH)
    file = place / (named or PATH)
    return file.relative_to(here) if file.is_relative_to(here) else file


def project(folder: Path) -> Path:
    """
    Find the project that *folder* is in: the nearest folder with a dvc.yaml or a params.yaml.

    It is *folder* itself where its checkout has none, and where git knows nothing of it.
    """
    top = _checkout(folder)
    for place in (folder, *folder.parents) if top is not None else ():
        if any((place / mark).is_file() for mark in MARKS):
            return place
        if place == top:
            break
    return folder


def home(project: Path) -> Path:
    """
    Find the folder of *project* in the main checkout of its repository.

    For a worktree of git that is the checkout whose `.git` it shares; for a copy that DVC runs an
    experiment in, the project that it was copied from. A clone is a repository of its own. Where
    there is no main checkout, as for worktrees of a bare repository, it is a folder in that.
    Raises RefusedError (78) where git's folder is not there, or does not tell.
    """
    top = _checkout(project)
    if top is None:
        return project
    below = project.relative_to(top)
    source = _source(top)
    if source is None:
        return _main(top) / below
    outer = _checkout(source)
    if outer is None:
        raise _lost(top, f"{source}, which it was copied from, is no checkout of git any more")
    return home(outer / below)


def _checkout(folder: Path) -> Path | None:
    """The folder that git's checkout around *folder* begins in; None where there is none."""
    return next((place for place in (folder, *folder.parents) if (place / ".git").exists()), None)


def _source(top: Path) -> Path | None:
    """The DVC project that the checkout *top* is a temporary copy of; None where it is none."""
    for place in top.parents[:2]:  # .dvc/tmp/exps, or .dvc/tmp/exps/standalone
        if place.parts[-3:] == COPIES:
            return place.parents[2]
    return None


def _main(top: Path) -> Path:
    """The main checkout of the repository that has the checkout *top*."""
    link = top / ".git"
    if link.is_dir():
        return top
    try:
        folder = top / link.read_text(encoding="utf-8").removeprefix("gitdir:").strip()
        if not folder.is_dir():
            raise _lost(top, f"{link} names {folder}, which is not there")
        if not (folder / "commondir").is_file():
            return top  # of a submodule, or with git's folder elsewhere: the main one itself
        common = (folder / (folder / "commondir").read_text(encoding="utf-8").strip()).resolve()
    except (OSError, ValueError) as problem:
        raise _lost(top, f"{link} cannot be read: {problem}") from problem
    if not common.is_dir():
        raise _lost(top, f"it is of {common}, which is not there")
    return common.parent if common.name == ".git" else _apart(top, common)


def _apart(top: Path, common: Path) -> Path:
    """The home of worktrees of a repository whose folder *common* is not in a checkout."""
    checkout = _setting(common, "core.worktree")
    if checkout:
        return (common / checkout).resolve()
    if _setting(common, "core.bare") == "true":
        return common / "redistill"
    raise _lost(top, f"{common} does not say where its main checkout is")


def _setting(common: Path, name: str) -> str:
    words = ["git", "config", "--file", str(common / "config"), "--get", name]
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()  # noqa: S603 - git, no shell


def _lost(top: Path, fault: str) -> RefusedError:
    return RefusedError(
        f"{top}: the repository that this checkout is of, which has the record store, is not "
        f"found: {fault}; git worktree repair mends moved checkouts, and a full path in {VARIABLE} "
        "names the store",
        code=CONFIG,
    )


def _two(own: Path, shared: Path) -> RefusedError:
    return RefusedError(
        f"{own}: this checkout has a record store of its own, and the one of its repository is "
        f"{shared}; bring them together: {VARIABLE}={own} redistill store export own.jsonl, move "
        f"the folder {own.parent} away, then redistill store import own.jsonl",
        code=CONFIG,
    )
