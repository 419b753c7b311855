"""What is said when memory runs out, on the GPU or off it."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from redistill.console.exceptions import INTERNAL, RefusedError

MARKS = ("can't allocate memory", "not enough memory", "out of memory", "ALLOC_FAILED")


@contextmanager
def watched(doing: str, advice: str) -> Iterator[None]:
    """Turn running out of memory into a refusal (code 70) that says what was done, and *advice*."""
    try:
        yield
    except (MemoryError, RuntimeError) as problem:  # torch's error of a GPU is a RuntimeError
        if not ran_out(problem):
            raise
        raise RefusedError(f"out of memory while {doing}; {advice}", code=INTERNAL) from None


def ran_out(problem: Exception) -> bool:
    """Say whether *problem* is one of memory: Python's, that of a GPU, or of torch on a CPU."""
    if isinstance(problem, MemoryError | torch.OutOfMemoryError):
        return True
    return any(mark in str(problem) for mark in MARKS)
