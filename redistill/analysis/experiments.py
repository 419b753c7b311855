"""Experiments of DVC in the working tree, which leave params.yaml as they found it."""

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from redistill.console import drafts
from redistill.console.endings import Stopped
from redistill.console.exceptions import CONFIG, INTERNAL, TRY_AGAIN, RefusedError

PARAMS = Path("params.yaml")
KEPT = Path(".redistill/params-before-sweep.yaml")


@contextmanager
def unchanged(root: Path) -> Iterator[int]:
    """
    Put params.yaml in *root* back byte for byte when the block ends, however it ends.

    DVC writes the settings of an experiment into it. A copy lies in KEPT meanwhile, for a kill. The
    block is given a handle on it that locks it: what inherits the handle counts as at work.
    """
    file, kept = root / PARAMS, root / KEPT
    before = file.read_bytes()
    with drafts.file(kept) as draft:
        draft.write_bytes(before)
    handle = os.open(kept, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle
    finally:
        os.close(handle)
        _put_back(file, before)
        kept.unlink()


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
    if kept.read_bytes() != (root / PARAMS).read_bytes():
        if not same:
            raise RefusedError(f"{told(root)}, and rm {KEPT} keeps it as it is", code=CONFIG)
        _put_back(root / PARAMS, kept.read_bytes())
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


def run(root: Path, words: Sequence[str], what: str, kept: str) -> None:
    """
    Run the DVC command *words* in *root* with params.yaml `unchanged` by it.

    A signal is passed on, and DVC waited for. Raises RefusedError where it fails: 128 and the
    signal for a signal, else 70; *what* is told to have failed, and *kept* what is not lost.
    """
    with unchanged(root) as handle:
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


def _put_back(file: Path, content: bytes) -> None:
    if file.is_file() and file.read_bytes() == content:
        return
    with drafts.file(file) as draft:
        draft.write_bytes(content)
