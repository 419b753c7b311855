"""A student whose weights are cut up among processes while it is trained (FSDP), then whole."""

import copy
import os
from dataclasses import replace
from typing import Any

import torch

from redistill.console import rank
from redistill.console.exceptions import CONFIG, RefusedError


def sharded() -> bool:
    """
    Say whether the launcher asks for FSDP, by which each process holds a part of the weights.

    Raises RefusedError for the first version of FSDP.
    """
    if not rank.launched() or os.environ.get("ACCELERATE_USE_FSDP", "").lower() != "true":
        return False
    if os.environ.get("FSDP_VERSION") != "2":
        raise RefusedError(
            "REDISTILL_LAUNCH: students are trained under the second version of FSDP; set "
            "fsdp_version to 2 in the launcher's fsdp_config",
            code=CONFIG,
        )
    return True


def trainee(model: Any) -> Any:
    """
    Return what is trained in place of *model*: itself, or under FSDP its copy, which is cut up.

    The first process keeps *model* off the GPU meanwhile.
    """
    if not sharded() or not rank.first():
        return model
    device = model.device
    return copy.deepcopy(model.to("cpu")).to(device)


def sum_exactly(trainer: Any) -> None:
    """Have the processes' gradients summed in fp32 under FSDP, as one process and DDP sum them."""
    if not sharded():
        return
    plugin = trainer.accelerator.state.fsdp_plugin
    if policy := plugin.mixed_precision_policy:
        plugin.mixed_precision_policy = replace(policy, reduce_dtype=torch.float32)


def collect(trainer: Any, model: Any) -> None:
    """Give *model* the weights that the *trainer* has trained a copy to, in the first process."""
    if not sharded():
        return
    device = trainer.args.device
    weights = trainer.accelerator.get_state_dict(trainer.model)
    if rank.first():
        model.load_state_dict(weights)
        model.to(device)
