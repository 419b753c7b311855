"""Files of lines whose content is another program's: read and written byte by byte."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from redistill.console import drafts
from redistill.console.exceptions import RefusedError


def read(path: Path) -> Iterator[bytes]:
    """Read the lines of *path*, which end at ``\\n`` only; raises RefusedError where it cannot."""
    try:
        with path.open("rb") as file:
            yield from file
    except OSError as problem:
        raise RefusedError(f"{path}: cannot be read: {problem.strerror}") from problem


def write(path: Path, lines: Iterable[bytes]) -> None:
    """Write *lines* as one atomic replacement of *path*, which only its owner may read."""
    with drafts.file(path) as draft, open(draft, "wb", opener=_private) as file:
        file.writelines(lines)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
