"""Where students are computed, and whether bf16 pays there: many processors emulate it."""

import os
import sys
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Literal

import torch

from redistill.console.preflight import Finding
from redistill.students.model.settings import Precision


def device() -> str:
    """Say where students are computed: REDISTILL_DEVICE, else the GPU where there is one."""
    return os.environ.get("REDISTILL_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu")


def on_gpu() -> bool:
    """Say whether students are computed on a GPU."""
    return torch.device(device()).type == "cuda"


def precision(wanted: Precision) -> Literal["fp32", "bf16"]:
    """Choose what *wanted* comes to here: auto is bf16 on a GPU that has it, else fp32."""
    if wanted != "auto":
        return wanted
    return (
        "bf16" if on_gpu() and torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    )


ROWS, INNER, OUTER = 128, 512, 512  # of the matrices that are timed: a millisecond or ten
TURNS = 5
SLOW = 1.5  # times as long as fp32: more than the noise of a busy machine


@lru_cache
def ratio() -> float:
    """
    Measure how many times as long a product of bf16 matrices takes on the CPU as one of fp32.

    The best of five turns each, measured once in a process, as the processor's time on one thread,
    which other work on the machine does not lengthen.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        took = {dtype: _seconds(dtype) for dtype in (torch.float32, torch.bfloat16)}
    finally:
        torch.set_num_threads(threads)
    return took[torch.bfloat16] / took[torch.float32]


def finding(settings: Mapping[str, Precision]) -> Finding:
    """
    Say what bf16 costs here, for *settings* of a precision by their names.

    A GPU is asked whether it has bf16; on a CPU it is measured. It never stands in the way:
    emulated numbers are right, only late.
    """
    halved = [name for name, wanted in settings.items() if precision(wanted) == "bf16"]
    if not halved:
        return Finding("precision", "holds", "fp32")
    way_out = f"set {' and '.join(halved)} to fp32, or to auto"
    if on_gpu():
        if precision("auto") == "bf16":
            return Finding("precision", "holds", "bf16, which this GPU has")
        return Finding("precision", "note", f"this GPU emulates bf16; {way_out}")
    times = ratio()
    if times < SLOW:
        return Finding("precision", "holds", f"bf16 takes {times:.1f} times as long as fp32 here")
    return Finding(
        "precision",
        "note",
        f"bf16 takes {times:.1f} times as long as fp32 on this CPU, which emulates it; {way_out}",
    )


def warn(who: str, setting: str, precision: Precision) -> None:
    """Say on stderr, for the stage of *who*, where *setting* has it compute in a slow bf16."""
    found = finding({setting: precision})
    if found.state == "note":
        print(f"{who}: {found.told}", file=sys.stderr, flush=True)


def _seconds(dtype: torch.dtype) -> float:
    left = torch.ones(ROWS, INNER, dtype=dtype)
    weight = torch.ones(OUTER, INNER, dtype=dtype)
    turns = []
    for _ in range(TURNS + 1):  # the first turn sets kernels up
        started = time.process_time()
        torch.nn.functional.linear(left, weight)
        turns.append(time.process_time() - started)
    return min(turns[1:])
