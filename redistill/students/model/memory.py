"""What is said when memory runs out, on the GPU or off it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar, cast

import torch

from redistill.console.exceptions import INTERNAL, RefusedError

MARKS = ("can't allocate memory", "not enough memory", "out of memory", "ALLOC_FAILED")

F = TypeVar("F", bound=Callable[..., Any])


@contextmanager
def watched(doing: str, advice: str) -> Iterator[None]:
    """Turn running out of memory into a refusal (code 70) that says what was done, and *advice*."""
    try:
        yield
    except (MemoryError, RuntimeError) as problem:  # torch's error of a GPU is a RuntimeError
        if not _ran_out(problem):
            raise
        raise RefusedError(f"out of memory while {doing}; {advice}", code=INTERNAL) from None


def watched_answers(answer: F) -> F:
    """Have `engine.answer` say its batch and longest prompt where memory runs out."""

    @wraps(answer)
    def watching(model: Any, prompts: Any, *rest: Any, **options: Any) -> Any:
        longest = max((len(prompt) for prompt in prompts), default=0)
        doing = (
            f"answering: batches of {options.get('batch_size')} prompts, the longest of {longest} "
            f"tokens, with up to {options.get('max_new_tokens')} new ones"
        )
        with watched(doing, "lower batch_size or max_new_tokens of the section that asks"):
            return answer(model, prompts, *rest, **options)

    return cast(F, watching)


def _ran_out(problem: Exception) -> bool:
    if isinstance(problem, MemoryError | torch.OutOfMemoryError):
        return True
    return any(mark in str(problem) for mark in MARKS)
