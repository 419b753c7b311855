"""Work on students that is dealt out to the processes of a stage, and what they tell each other."""

import os
from collections.abc import Callable, Sequence
from datetime import timedelta
from itertools import chain, zip_longest
from typing import TypeVar, cast

import torch

from redistill.console import rank
from redistill.students.model.precision import on_gpu

PATIENCE = timedelta(days=7)  # others wait while the first saves; a death ends them all anyway

T = TypeVar("T")
R = TypeVar("R")


def begin() -> None:
    """Let this process and the others that share its work know each other; each has its GPU."""
    if rank.count() == 1 or torch.distributed.is_initialized():
        return
    from accelerate import PartialState

    if on_gpu():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK") or 0))
    PartialState(cpu=not on_gpu(), timeout=PATIENCE)


def wait() -> None:
    """Wait until every process is here."""
    if rank.count() > 1:
        begin()
        torch.distributed.barrier()


def agreed(found: T) -> T:
    """Return what the first process *found*."""
    if rank.count() == 1:
        return found
    begin()
    told = [found]
    torch.distributed.broadcast_object_list(told, src=0)
    return told[0]


def dealt(works: Sequence[T], do: Callable[[Sequence[T]], Sequence[R]]) -> list[R]:
    """
    Have each process *do* its share of *works*, dealt out in turns, and return what all made of it.

    There has to be one result for each work, in the order given; results are in the order of
    *works*, in every process.
    """
    if rank.count() == 1:
        return list(do(works))
    begin()
    own = list(do(works[rank.number() :: rank.count()]))
    shares: list[list[R]] = [[] for _ in range(rank.count())]
    torch.distributed.all_gather_object(shares, own)
    missing = object()
    inner = chain.from_iterable(zip_longest(*shares, fillvalue=cast(R, missing)))
    return [result for result in inner if result is not missing]
