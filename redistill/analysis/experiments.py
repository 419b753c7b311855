"""Experiments of DVC in the working tree, which leave params.yaml as they found it."""

import fcntl
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from redistill.console import drafts
from redistill.console.endings import Stopped
from redistill.console.exceptions import CONFIG, INTERNAL, TRY_AGAIN, RefusedError

PARAMS = Path("params.yaml")
KEPT = Path(".redistill/params-before-sweep.yaml")
EDITED = ".redistill/params-edited-{}.yaml"  # what a user made of it meanwhile
COMMENT = re.compile(r"(?:^|[ \t])(#[^\r\n]*)", re.MULTILINE)


@contextmanager
def unchanged(root: Path, settings: Callable[[], str]) -> Iterator[int]:
    """
    Put params.yaml in *root* back byte for byte when the block ends, however it ends.

    DVC writes the settings of an experiment into it. A copy lies in KEPT meanwhile, for a kill. The
    block is given a handle on it that locks it: what inherits the handle counts as at work.

    What else was written into it, by the user, is kept in EDITED, and said on stderr. *settings* is
    a digest of it that DVC does not change: with another one the block may have run by other
    settings, and where it ended well RefusedError (75) is raised.
    """
    file, kept = root / PARAMS, root / KEPT
    before, digest = file.read_bytes(), settings()
    with drafts.file(kept) as draft:
        draft.write_bytes(before)
    handle = os.open(kept, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle
    finally:
        os.close(handle)
        same = _holds(settings, digest)
        _put_back(root, before, same)
        kept.unlink()
    if not same:
        raise RefusedError(
            f"{PARAMS} was edited while DVC ran, so what it made may be of other settings and is "
            "not taken; run the same command again",
            code=TRY_AGAIN,
        )


def take_back(root: Path, same: bool) -> str | None:
    """
    Put params.yaml in *root* back where a sweep was killed, and say so; None where none was.

    Only if it is the *same* but for the settings of the sweep: raises RefusedError (78) otherwise,
    as it may have been edited since, and 75 where the sweep, or DVC for it, is still at work.
    """
    kept = root / KEPT
    if not kept.is_file():
        return None
    if _at_work(kept):
        raise RefusedError("another sweep is at work here; wait for it to end", code=TRY_AGAIN)
    before = kept.read_bytes()
    if not same and before != (root / PARAMS).read_bytes():
        raise RefusedError(f"{told(root)}, and rm {KEPT} keeps it as it is", code=CONFIG)
    _put_back(root, before, same)
    kept.unlink()
    return f"a sweep was killed; {PARAMS} is again what it was before"


def told(root: Path) -> str | None:
    """Say that a sweep was killed in *root* and what mends it; None where params.yaml is whole."""
    if not (root / KEPT).is_file() or _at_work(root / KEPT):
        return None
    return (
        f"{PARAMS} has the settings of a sweep that was killed; mv {KEPT} {PARAMS} brings yours "
        "back, as the next sweep does"
    )


def run(
    root: Path, words: Sequence[str], what: str, kept: str, settings: Callable[[], str]
) -> None:
    """
    Run the DVC command *words* in *root* with params.yaml `unchanged` by it but for *settings*.

    A signal is passed on, and DVC waited for. Raises RefusedError where it fails: 128 and the
    signal for a signal, else 70; *what* is told to have failed, and *kept* what is not lost.
    """
    with unchanged(root, settings) as handle:
        _run(root, words, what, kept, handle)


def _run(root: Path, words: Sequence[str], what: str, kept: str, handle: int) -> None:
    command = [sys.executable, "-m", *words]
    # a group of its own: a signal from the terminal comes to us alone, and reaches all of it once
    process = subprocess.Popen(  # noqa: S603 - dvc, no shell
        command, cwd=root, process_group=0, pass_fds=[handle]
    )
    try:
        code = process.wait()
    except Stopped as stop:
        number = int(str(stop.code)) - 128
        _signal(process, number)
        process.wait()
        raise RefusedError(f"{what}: stopped by {stop.name}; {kept}", code=128 + number) from None
    except BaseException:
        _signal(process, signal.SIGTERM)
        process.wait()
        raise
    if code:
        raise RefusedError(
            f"{what}: {' '.join(words)} ended with code {code}; {kept}", code=INTERNAL
        )


def _signal(process: "subprocess.Popen[bytes]", number: int) -> None:
    if process.poll() is None:
        os.killpg(process.pid, number)


def _at_work(kept: Path) -> bool:
    handle = os.open(kept, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def _holds(settings: Callable[[], str], digest: str) -> bool:
    """Whether the digest of params.yaml is *digest* still; it may be no YAML any more."""
    try:
        return settings() == digest
    except RefusedError:
        return False


def _put_back(root: Path, before: bytes, same: bool) -> None:
    """
    Write *before* to params.yaml, and keep what a user has written there in a file of its own.

    That is the user's unless it has the *same* settings, and no comment that was not there: DVC
    writes the file anew, and can lose a comment beside what it sets.
    """
    file = root / PARAMS
    found = file.read_bytes() if file.is_file() else before
    if found != before and not (same and _comments(found) <= _comments(before)):
        number = next(n for n in count(1) if not (root / EDITED.format(n)).exists())
        _write(root / EDITED.format(number), found)
        print(
            f"{PARAMS} was edited while the sweep ran: it is again what it was before, and what "
            f"was found in it is in {EDITED.format(number)}",
            file=sys.stderr,
        )
    if found != before or not file.is_file():
        _write(Path(os.path.realpath(file)), before)


def _comments(content: bytes) -> "Counter[str]":
    return Counter(COMMENT.findall(content.decode(errors="replace")))


def _write(file: Path, content: bytes) -> None:
    """Write *file* with the rights that it has, and the owner, where it is there."""
    there = file.stat() if file.exists() else None
    with drafts.file(file) as draft:
        draft.write_bytes(content)
        if there is not None:
            draft.chmod(there.st_mode)
            if there.st_uid != draft.stat().st_uid:
                os.chown(draft, there.st_uid, there.st_gid)
