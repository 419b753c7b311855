"""
Sorted runs of numbers, held in a file and merged some at a time.

External merging as in Knuth, The Art of Computer Programming, volume 3, section 5.4.
"""

import tempfile
from collections.abc import Iterator
from itertools import pairwise
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from redistill.console import disk

Numbers = npt.NDArray[np.int64]
PART = 16_384  # numbers of a run that are in memory at once
IN_MEMORY = 16 * 2**20  # bytes of all runs that need no file


class Runs:
    """
    Sorted numbers without repetition, run by run, in a file where they are many.

    >>> runs = Runs()
    >>> runs.add(np.array([1, 4, 9]))
    >>> runs.add(np.array([2, 4]))
    >>> [part.tolist() for part in runs.merged()]
    [[1, 2, 4], [9]]
    """

    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115
        self._lengths: list[int] = []

    def add(self, run: Numbers) -> None:
        """Add one more *run*, sorted; raises RefusedError (74) where the disk is full."""
        if not len(run):
            return
        with disk.scratch():
            self._file.seek(0, 2)
            self._file.write(run.astype(np.int64).tobytes())
        self._lengths.append(len(run))

    def merged(self) -> Iterator[Numbers]:
        """Yield the numbers of all runs in ascending order, each once, some at a time."""
        starts = np.cumsum([0, *self._lengths])
        runs = [_Run(self._file, *ends) for ends in pairwise(starts)]
        while runs := [run for run in runs if run.fill()]:
            # what is up to the least of the last numbers at hand can stand in no later part
            bound = min(int(run.part[-1]) for run in runs)
            yield np.unique(np.concatenate([run.up_to(bound) for run in runs]))


class _Run:
    """The numbers of *file* from the place *start* to *end*, of which a *part* is in memory."""

    def __init__(self, file: IO[bytes], start: Any, end: Any) -> None:
        self._file, self._next, self._end = file, int(start), int(end)
        self.part: Numbers = np.zeros(0, dtype=np.int64)

    def fill(self) -> bool:
        """Read the next part where the last one is used up; say whether anything is left."""
        if not len(self.part):
            count = min(PART, self._end - self._next)
            self._file.seek(self._next * 8)
            self.part = np.frombuffer(self._file.read(count * 8), dtype=np.int64)
            self._next += count
        return len(self.part) > 0

    def up_to(self, bound: int) -> Numbers:
        """Take the numbers at hand that are at most *bound*."""
        place = int(np.searchsorted(self.part, bound, side="right"))
        taken, self.part = self.part[:place], self.part[place:]
        return taken
