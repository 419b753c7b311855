"""Files and folders while they are written: beside their names, which they take once whole."""

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

from redistill.console import disk
from redistill.console.exceptions import IO, RefusedError

NO_PLACE = ("/dev", "/proc", "/sys")  # as root, a device's own node would be replaced
MEMORY = "/dev/shm"  # noqa: S108 - files like any others lie there
LAST = "manifest.json"  # a folder is what its manifest says, so that it is moved in last


@dataclass
class Draft:
    """What is written for *path* at *place*, with the folders that had to be *made* for it."""

    path: Path
    place: Path
    made: list[Path] = field(default_factory=list)
    whole: bool = False  # a folder that is there gives way, else it keeps what the draft lacks

    def move(self) -> None:
        """Give the draft its name."""
        if self.place.is_dir() and self.whole:
            old = self.place.with_suffix(".old")
            _remove(old)
            if self.path.is_dir():
                self.path.replace(old)
            self.place.replace(self.path)
            _remove(old)
        elif self.place.is_dir() and self.path.is_dir():
            (self.path / LAST).unlink(missing_ok=True)
            for entry in sorted(self.place.iterdir(), key=lambda found: found.name == LAST):
                _give_way(self.path / entry.name, entry)
                entry.replace(self.path / entry.name)
            self.place.rmdir()
        else:
            self.place.replace(self.path)

    def drop(self) -> None:
        """Take the draft away, and the folders that were made for it."""
        _remove(self.place)
        for folder in reversed(self.made):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


_waiting: ContextVar[list[Draft] | None] = ContextVar("waiting", default=None)
_filled: ContextVar[Draft | None] = ContextVar("filled", default=None)  # the folder being written


@contextmanager
def file(path: Path) -> Iterator[Path]:
    """
    Have the block write a file of another name, which then is synced and takes the place of *path*.

    Raises RefusedError (74) where *path* is a folder, a device or anything else than a file, and
    where the disk is full or fails; nothing of the draft is left then.
    """
    check(path)
    with _draft(path) as draft:
        yield draft.place
        _sync(draft.place)


@contextmanager
def folder(path: Path, *, whole: bool = False) -> Iterator[Path]:
    """
    Have the block fill a folder of another name, which then becomes *path*, as `file` does.

    What the block writes into it is there at once, within `together` too. A folder that is there
    keeps its other entries, unless *whole*.
    """
    if path.exists() and not path.is_dir():
        raise RefusedError(f"{path}: is no folder; name another", code=IO)
    with _draft(path) as draft:
        draft.whole = whole
        draft.place.mkdir()
        waiting, filled = _waiting.set(None), _filled.set(draft)
        try:
            yield draft.place
        finally:
            _waiting.reset(waiting)
            _filled.reset(filled)


@contextmanager
def together() -> Iterator[None]:
    """
    Let all that the block writes take its names at the end of the block, one after the other.

    Where the block fails, none of it does. Where one cannot be given its name (its place became a
    folder meanwhile, or belongs to another user), RefusedError (74) names it: those before it have
    their names by then, and no draft is left of those behind it. A kill at that point leaves the
    same, and the drafts. DVC knows neither as the output of a stage, and runs the stage again.
    """
    drafts: list[Draft] = []
    token = _waiting.set(drafts)
    try:
        yield
        while drafts:
            with _told(drafts[0].path):
                drafts[0].move()
            drafts.pop(0)
    finally:
        _waiting.reset(token)
        for draft in drafts:
            draft.drop()


@contextmanager
def undone(folder: Path) -> Iterator[None]:
    """Take away what the block put into *folder* if it fails, and *folder* if it was not there."""
    before = set(folder.iterdir()) if folder.is_dir() else None
    try:
        with _told(folder):
            yield
    except BaseException:
        if before is None:
            _remove(folder)
        else:
            for entry in set(folder.iterdir()) - before:
                _remove(entry)
        raise


def check(path: Path) -> None:
    """Refuse (74) a *path* that no file can take the place of, before anything is made for it."""
    if path.is_dir():
        raise RefusedError(f"{path}: is a folder; name a file", code=IO)
    with _told(path):
        there = os.path.lexists(path) and os.path.exists(path)
        if there and not stat.S_ISREG(path.stat().st_mode):
            raise RefusedError(
                f"{path}: is a device, a pipe or a socket, which a file would replace; name a file",
                code=IO,
            )
    parent = os.path.realpath(path.parent)
    inside = [place for place in NO_PLACE if f"{parent}/".startswith(f"{place}/")]
    if inside and not f"{parent}/".startswith(f"{MEMORY}/"):
        raise RefusedError(f"{path}: {inside[0]} is no place for a file; name another", code=IO)


def shown(path: Path) -> Path:
    """Return the name that *path* will have once the folder being written has its own."""
    filled = _filled.get()
    if filled is None or not path.is_relative_to(filled.place):
        return path
    return filled.path / path.relative_to(filled.place)


@contextmanager
def _draft(path: Path) -> Iterator[Draft]:
    draft = Draft(path, path.with_name(f".{path.name}.tmp"))
    waiting = _waiting.get()
    try:
        with _told(path, draft.place):
            draft.made = _folders(path.parent)
            _remove(draft.place)  # of a run that was killed
            yield draft
            if waiting is None:
                draft.move()
            else:
                waiting.append(draft)
    except BaseException:
        draft.drop()
        raise


@contextmanager
def _told(path: Path, place: Path | None = None) -> Iterator[None]:
    """Turn what a full or failing disk raises into a refusal that names *path*."""
    try:
        yield
    except RefusedError:
        raise
    except Exception as problem:
        named = getattr(problem, "filename", None)
        own = named is None or place is None or Path(os.fsdecode(named)).is_relative_to(place)
        refused = disk.refusal(problem, shown(path) if own else None)
        if refused is None:
            raise
        raise refused from problem


def _folders(folder: Path) -> list[Path]:
    """Make *folder*, and return what was made for it, the outermost first."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    made: list[Path] = []
    try:
        for one in reversed(missing):
            one.mkdir(exist_ok=True)
            made.append(one)
    except OSError:
        for one in reversed(made):
            one.rmdir()
        raise
    return made


def _give_way(there: Path, entry: Path) -> None:
    """Remove what is *there* where *entry* cannot take its place by itself."""
    if there.is_dir() and not there.is_symlink():
        shutil.rmtree(there)
    elif entry.is_dir():
        there.unlink(missing_ok=True)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Have the disk keep *path* now: some say that they are full only then."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
