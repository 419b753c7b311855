"""How many rows are at work at once: as many as memory holds, and half of them once it ran out."""

import gc
import os
import sys
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from redistill.console.exceptions import INTERNAL, RefusedError
from redistill.students.model import memory

# Share of the free memory that rows may take: other programs live in that of a CPU as well.
SHARE = {"cpu": 0.5, "cuda": 0.8}
MOST = {"cpu": 512, "cuda": 2048}  # rows from which on more of them made no step cheaper a row
SCORES = 32  # bytes a row and word: logits, their softmax in fp32, sorted, with the places
GROUP = Path("/sys/fs/cgroup")  # where a container's limit stands (cgroup v2)
RANKS = "LOCAL_WORLD_SIZE"  # processes of one run on this machine, as torchrun and accelerate say


@dataclass(frozen=True)
class Cost:
    """
    What rows take, in bytes: keys and values of a *token*, and of one layer of it, and the *rest*.

    *layer* is counted once more, as a window is widened layer by layer, and with the heads that
    share keys and values told apart, as attention may have them. *rest* is that of a row whatever
    its length, and *read* what a prompt's token takes while all prompts are read at once.
    """

    token: int
    layer: int
    rest: int
    read: int

    @classmethod
    def of(cls, config: Any, itemsize: int) -> "Cost":
        """Read the cost off the *config* of a model whose numbers have *itemsize* bytes."""
        found = config.get_text_config()
        heads, layers = getattr(found, "num_attention_heads", None) or 1, found.num_hidden_layers
        shared = getattr(found, "num_key_value_heads", None) or heads
        width = getattr(found, "head_dim", None) or found.hidden_size // heads
        inner = getattr(found, "intermediate_size", None) or 4 * found.hidden_size
        pair = 2 * width * itemsize
        return cls(
            token=layers * shared * pair,
            layer=(shared + heads) * pair,
            rest=found.vocab_size * SCORES,
            read=(8 * found.hidden_size + 3 * inner) * itemsize,
        )

    def row(self, prompt: int, new: int, *, at_once: bool) -> int:
        """Bytes of a row of *prompt* and *new* tokens; *at_once* where all prompts are read so."""
        columns = prompt + new
        masks = 16 * columns
        whole = columns * (self.token + self.layer) + masks + self.rest
        return whole + (prompt * self.read if at_once else 0)


def planned(free: int, most: int, cost: Callable[[int], int]) -> int:
    """Return the most rows, from 1 to *most*, whose *cost* in bytes fits into *free* ones."""
    return max(1, bisect_right(range(1, most + 1), free, key=cost))


def room(device: torch.device) -> int:
    """Return the bytes of *device* that rows may take: a share of those that are free now."""
    return int(_free(device) * SHARE.get(device.type, SHARE["cpu"]))


def most(device: torch.device) -> int:
    """Return the rows above which auto does not go on *device*."""
    return MOST.get(device.type, MOST["cuda"])


def _free(device: torch.device) -> int:
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + kept
    import psutil

    found = [int(psutil.virtual_memory().available), _left_to_group(GROUP)]
    return min(bytes for bytes in found if bytes is not None) // int(os.environ.get(RANKS) or 1)


def _left_to_group(group: Path) -> int | None:
    """Bytes that the limit of this process's container leaves; None where there is no limit."""
    try:
        limit, used = ((group / f"memory.{what}").read_text() for what in ("max", "current"))
    except OSError:
        return None
    return None if limit.strip() == "max" else max(0, int(limit) - int(used))


def lasting(
    work: Callable[[int], None],
    left: Callable[[], int],
    rows: int,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    say: str,
) -> None:
    """
    Have *work* answer with at most *rows* at once until nothing is *left*, whatever memory does.

    Where memory runs out, the rows that were at work begin again, half as many at a time; *left*
    counts the prompts without an answer. Raises RefusedError where memory is too small for one.
    """
    while waiting := left():
        rows = min(rows, waiting)
        if _fits(work, rows):
            continue
        if rows == 1:
            longest = max(len(prompt) for prompt in prompts)
            raise RefusedError(
                f"out of memory while answering: one prompt at a time, the longest of {longest} "
                f"tokens, with up to {max_new_tokens} new ones; lower max_new_tokens of the "
                "section that asks, or use a machine with more memory",
                code=INTERNAL,
            )
        _release()
        told = f"{say}: out of memory with {rows} rows at once, going on with {rows // 2}"
        print(f"{told}; {left()} of {len(prompts)} prompts are left", file=sys.stderr, flush=True)
        rows //= 2


def _fits(work: Callable[[int], None], rows: int) -> bool:
    """Whether *work* came to its end with *rows*; what it held is free once this returns."""
    try:
        work(rows)
    except (MemoryError, RuntimeError) as problem:  # torch's error of a GPU is a RuntimeError
        if not memory.ran_out(problem):
            raise
        return False
    return True


def _release() -> None:
    gc.collect()  # caches and their layers know one another
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
