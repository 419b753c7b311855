"""A student whose weights are cut up among processes while it is trained (FSDP), then whole."""

import copy
import os
from typing import Any

from redistill.console import rank


def sharded() -> bool:
    """Say whether the launcher asks for FSDP, by which each process holds a part of the weights."""
    return rank.launched() and os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true"


def trainee(model: Any) -> Any:
    """
    Return what is trained in place of *model*: itself, or under FSDP its copy, which is cut up.

    The first process keeps *model* off the GPU meanwhile.
    """
    if not sharded() or not rank.first():
        return model
    device = model.device
    return copy.deepcopy(model.to("cpu")).to(device)


def collect(trainer: Any, model: Any) -> None:
    """Give *model* the weights that the *trainer* has trained a copy to, in the first process."""
    if not sharded():
        return
    device = trainer.args.device
    weights = trainer.accelerator.get_state_dict(trainer.model)
    if rank.first():
        model.load_state_dict(weights)
        model.to(device)
