"""What a disk that is full or fails looks like, in the words of the libraries that write to it."""

import errno
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from redistill.console.exceptions import IO, RefusedError

# How libraries in Rust (safetensors, tokenizers) and DVC's and git's own messages put it
RUST = re.compile(r"\(os error (\d+)\)")
NUMBERED = re.compile(r"\[Errno (\d+)\]")
TORCH = ("PytorchStreamWriter failed", "iostream error")  # torch does not say which
WAYS = {
    errno.ENOSPC: "make room there",
    errno.EDQUOT: "make room there, or have the quota raised",
    errno.EFBIG: "raise the limit on the size of files (ulimit -f)",
    errno.EROFS: "mount it for writing, or work in a copy elsewhere",
    errno.EACCES: "see to the rights of that folder",
    errno.EPERM: "see to the rights of that folder",
    errno.EIO: "the disk fails: copy what is on it elsewhere",
}


def number(problem: BaseException) -> int | None:
    """Find the errno that *problem* or its cause is about; None where it is about no file."""
    if isinstance(problem, ConnectionError | TimeoutError):
        return None
    if isinstance(problem, OSError) and problem.errno is not None:
        return problem.errno
    text = str(problem)
    if found := RUST.search(text):
        return int(found[1])
    if any(words in text for words in TORCH):
        return errno.EIO
    return None if problem.__cause__ is None else number(problem.__cause__)


def said(text: str) -> bool:
    """Say whether *text*, of another program, tells of a disk that is full or fails."""
    if (found := NUMBERED.search(text)) and int(found[1]) in WAYS:
        return True
    return any(os.strerror(one) in text for one in (errno.ENOSPC, errno.EDQUOT, errno.EROFS))


def refusal(problem: BaseException, path: Path | None = None) -> RefusedError | None:
    """
    Make one line (74) of *problem* with the *path* that was written and the way out.

    None where *problem* is about no file.
    """
    found = number(problem)
    if found is None:
        return None
    named = path or getattr(problem, "filename", None)
    place = os.fsdecode(named) if isinstance(named, str | bytes | Path) else "a file"
    way = WAYS.get(found, "see to that")
    return RefusedError(f"{place}: {os.strerror(found)}; {way}, then run it again", code=IO)


@contextmanager
def scratch() -> Iterator[None]:
    """Write to a temporary file; raises RefusedError (74) with its folder where that fails."""
    try:
        yield
    except OSError as problem:
        raise refusal(problem, Path(tempfile.gettempdir())) or problem from problem
