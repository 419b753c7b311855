"""How far a long piece of work has come: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from typing import Any

LINE_EVERY = 15.0  # seconds between two plain lines


class Progress:
    """Progress of *total* units of work called *what*; call `close` at the end."""

    def __init__(self, what: str, total: int) -> None:
        self.what = what
        self.total = total
        self.started = self._told = time.monotonic()
        self._bar: Any = None
        if sys.stderr.isatty() and total:
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            self._bar = Bar(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                TextColumn("{task.completed}/{task.total} {task.fields[note]}", markup=False),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._task = self._bar.add_task(what, total=total, note="")
            self._bar.start()

    def to(self, done: int, note: str = "") -> None:
        """Say that *done* units are finished."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done, note=note)
            return
        now = time.monotonic()
        if now - self._told >= LINE_EVERY:
            self._told = now
            passed = now - self.started
            print(f"{self.what}: {done}/{self.total} {note} ({passed:.0f} s)", file=sys.stderr)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
