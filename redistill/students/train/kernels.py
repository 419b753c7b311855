"""Kernels that a training may ask for, and whether they are to be had here."""

from typing import Any

import torch

from redistill.console.exceptions import CONFIG, RefusedError

EXTRA = "pip install 'redistill[gpu]'"


def check_liger(model: Any) -> None:
    """Refuse ``train.liger`` where liger-kernel is not there, or has nothing for *model*."""
    if model.device.type == "cpu":
        raise RefusedError("train.liger: liger's kernels need a GPU; set it to false", code=CONFIG)
    try:
        from liger_kernel.transformers.monkey_patch import MODEL_TYPE_TO_APPLY_LIGER_FN as known
    except ImportError:
        raise RefusedError(f"train.liger: needs liger-kernel ({EXTRA})", code=CONFIG) from None
    kind = model.config.model_type
    if kind not in known:
        raise RefusedError(
            f"train.liger: liger-kernel has no kernels for a model of type {kind}; set it to false",
            code=CONFIG,
        )


def check_compiler(device: torch.device) -> None:
    """Refuse ``train.compile`` where torch.compile fails on *device*: tried on one sum."""
    try:
        torch.compile(lambda number: number.sin() + 1)(torch.ones(8, device=device))
    except RuntimeError as problem:  # of torch._dynamo and torch._inductor alike
        told = " ".join(str(problem).split())[:200]
        raise RefusedError(
            f"train.compile: nothing can be compiled on this {device.type}: {told}; install a "
            "compiler (g++ for a CPU, triton for a GPU), or set it to false",
            code=CONFIG,
        ) from None
