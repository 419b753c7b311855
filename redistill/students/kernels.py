"""Linear layers of a model on the CPU, their weights laid out once for the kernels of oneDNN."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch

LARGEST = 2 * 1024**3  # bytes of weights; packing keeps a second copy of them


@contextmanager
def prepared(model: Any) -> Iterator[None]:
    """
    While the block runs, the linear layers of an fp32 *model* on the CPU use packed weights.

    PyTorch multiplies fp32 matrices with MKL, which on CPUs of other makers than its own reaches
    half of what oneDNN does. Other models stay as they are, and so do weights of over 2 GiB.
    """
    layers = [module for module in model.modules() if type(module) is torch.nn.Linear]
    if not _suitable(layers):
        layers = []
    try:
        for layer in layers:
            weight = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach())
            layer.forward = partial(_linear, weight, layer.bias)  # type: ignore[method-assign]
        yield
    finally:
        for layer in layers:
            layer.__dict__.pop("forward", None)


def _suitable(layers: list[torch.nn.Linear]) -> bool:
    weights = [layer.weight for layer in layers]
    return (
        torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and all(w.device.type == "cpu" and w.dtype == torch.float32 for w in weights)
        and sum(w.numel() * w.element_size() for w in weights) <= LARGEST
    )


def _linear(weight: torch.Tensor, bias: torch.Tensor | None, given: torch.Tensor) -> torch.Tensor:
    result: torch.Tensor = torch.ops.mkldnn._linear_pointwise(given, weight, bias, "none", [], "")
    return result
