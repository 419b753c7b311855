"""Files of lines whose content is another program's: read and written byte by byte."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from redistill.console.exceptions import IO, RefusedError


def read(path: Path) -> Iterator[bytes]:
    """Read the lines of *path*, which end at ``\\n`` only; raises RefusedError where it cannot."""
    try:
        with path.open("rb") as file:
            yield from file
    except OSError as problem:
        raise RefusedError(f"{path}: cannot be read: {problem.strerror}") from problem


def write(path: Path, lines: Iterable[bytes]) -> None:
    """Write *lines* as one atomic replacement of *path*, which only its owner may read."""
    draft = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(draft, "wb", opener=_private) as file:
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as problem:
        raise RefusedError(f"{path}: cannot be written: {problem.strerror}", code=IO) from problem


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
