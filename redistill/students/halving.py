"""Whether bf16 pays on this device: many processors have no instructions for it and emulate it."""

import sys
import time
from collections.abc import Mapping
from functools import lru_cache

import torch

from redistill.findings import Finding
from redistill.students import loading

ROWS, INNER, OUTER = 128, 512, 512  # of the matrices that are timed: a millisecond or ten
TURNS = 5
SLOW = 1.5  # times as long as fp32: more than the noise of a busy machine


@lru_cache
def ratio(device: str) -> float:
    """
    How many times as long a product of bf16 matrices takes on *device* as one of fp32 matrices.

    The best of five turns each, measured once in a process. On a CPU it is the processor's time on
    one thread, which other work on the machine does not lengthen.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        took = {dtype: _seconds(dtype, device) for dtype in (torch.float32, torch.bfloat16)}
    finally:
        torch.set_num_threads(threads)
    return took[torch.bfloat16] / took[torch.float32]


def finding(asked: Mapping[str, loading.Precision]) -> Finding:
    """
    What bf16 costs here, for the settings *asked*, by their names; measured where one comes to it.

    It never stands in the way: emulated numbers are right, only late.
    """
    halved = [name for name, precision in asked.items() if loading.precision(precision) == "bf16"]
    if not halved:
        return Finding("precision", "holds", "fp32")
    device = loading.device()
    times = ratio(device)
    if times < SLOW:
        return Finding("precision", "holds", f"bf16 takes {times:.1f} times as long as fp32 here")
    return Finding(
        "precision",
        "note",
        f"bf16 takes {times:.1f} times as long as fp32 on this {device}, which emulates it; "
        f"set {' and '.join(halved)} to fp32, or to auto",
    )


def warn(who: str, setting: str, precision: loading.Precision) -> None:
    """Say on stderr, for the stage of *who*, where *setting* has it compute in a slow bf16."""
    found = finding({setting: precision})
    if found.state == "note":
        print(f"{who}: {found.told}", file=sys.stderr, flush=True)


def _seconds(dtype: torch.dtype, device: str) -> float:
    clock = time.process_time if torch.device(device).type == "cpu" else time.perf_counter
    left = torch.ones(ROWS, INNER, dtype=dtype, device=device)
    weight = torch.ones(OUTER, INNER, dtype=dtype, device=device)
    turns = []
    for _ in range(TURNS + 1):  # the first turn sets kernels up
        started = clock()
        torch.nn.functional.linear(left, weight).sum().item()  # waits for a GPU
        turns.append(clock() - started)
    return min(turns[1:])
