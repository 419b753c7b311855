"""What a run was told already, kept beside the project: nothing is told twice."""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from redistill.console import drafts

V = TypeVar("V")
WIDTH = 12  # characters of a step in the file that follows a curve


class Sent:
    """
    What the run with a certain id was told at a certain place, as files of *stem* have it.

    Figures count as told after the tracker took them, a step of a curve before: a figure told
    twice is the same figure, and a step would be a second one.
    """

    def __init__(self, stem: Path) -> None:
        self._file = stem.with_suffix(".json")
        self._steps = stem.with_suffix(".step")
        found = json.loads(self._file.read_text(encoding="utf-8")) if self._file.exists() else {}
        self._told: dict[str, dict[str, Any]] = found
        self.step = int(self._steps.read_text().strip() or 0) if self._steps.exists() else 0

    def fresh(self, kind: str, found: Mapping[str, V]) -> dict[str, V]:
        """Return those of *found* that were not told yet, or were told otherwise."""
        told = self._told.get(kind, {})
        missing = object()
        return {k: v for k, v in found.items() if told.get(k, missing) != _plain(v)}

    def told(self, kind: str, found: Mapping[str, Any]) -> None:
        """Note that *found* was told."""
        self._told.setdefault(kind, {}).update({k: _plain(v) for k, v in found.items()})
        with drafts.file(self._file) as draft:
            draft.write_text(json.dumps(self._told, sort_keys=True), encoding="utf-8")

    @contextmanager
    def following(self) -> Iterator["Steps"]:
        """Hold the file that follows the curve open."""
        there = os.open(self._steps, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            yield Steps(there, self.step)
        finally:
            os.close(there)


class Steps:
    """The last event of a curve that was told; each step has one, and the end of all another."""

    def __init__(self, there: int, last: int) -> None:
        self._there, self.last = there, last

    def takes(self, step: int, *, over: bool) -> bool:
        """Say whether the event of *step* is new, *over* of the end of all, and note it as told."""
        number = 2 * step + over
        if number <= self.last:
            return False
        self.last = number
        os.pwrite(self._there, f"{number:>{WIDTH}}\n".encode(), 0)
        return True


@contextmanager
def kept(folder: Path, tracker: str, id: str, destination: str) -> Iterator[Sent]:
    """
    Hold what the run *id* was told by *tracker*, at *destination*, against another process.

    A digest stands for the destination, in which there may be an address with a password.
    """
    place = hashlib.sha256(destination.encode()).hexdigest()[:8]
    stem = folder / f"{tracker}-{id}-{place}"
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(stem.with_suffix(".lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield Sent(stem)
    finally:
        os.close(lock)


def _plain(value: Any) -> Any:
    """*value* as JSON gives it back, long ones by their digest."""
    text = json.dumps(value)
    return json.loads(text) if len(text) < 200 else hashlib.sha256(text.encode()).hexdigest()
