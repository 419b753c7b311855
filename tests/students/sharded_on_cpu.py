"""
Run a module as `python -m` does, with FSDP on CPU processes, which accelerate has for GPUs alone.

accelerate asks what kind of processes there are before it takes its settings of FSDP: here it is
told that they are a GPU's. Torch cuts weights up over gloo as it does over NCCL.
"""

import runpy
import sys
from typing import Any

from accelerate import state
from accelerate.utils import DistributedType
from torch.distributed.tensor import DTensor

from redistill.students.train import sharding


def main(module: str) -> None:
    """Run *module*, in which whatever is trained has to be cut up."""
    begin, collect = state.PartialState.__init__, sharding.collect

    def begun(self: Any, *words: Any, **options: Any) -> None:
        begin(self, *words, **options)
        if self.distributed_type is DistributedType.MULTI_CPU:
            state.PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU

    def collected(trainer: Any, model: Any) -> None:
        weights = list(trainer.model.parameters())
        assert all(isinstance(weight, DTensor) for weight in weights)
        assert sum(weight.to_local().numel() for weight in weights) < sum(
            weight.numel() for weight in weights
        )
        collect(trainer, model)

    state.PartialState.__init__ = begun
    sharding.collect = collected
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    del sys.argv[:2]  # this file, and -m
    main(sys.argv[0])
