"""Linear layers and attention of a student on the CPU, by kernels faster than the usual ones."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

LARGEST = 2 * 1024**3  # bytes of weights; packing keeps a second copy of them


@contextmanager
def prepared(model: Any) -> Iterator[None]:
    """
    Have the linear layers of an fp32 *model* on the CPU use packed weights while the block runs.

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


SDPA = "sdpa"
UNUSUAL = ("position_bias", "cache", "softcap")  # what `_attend` leaves to transformers


@contextmanager
def streamed(model: Any) -> Iterator[None]:
    """
    Have an fp32 *model* on the CPU attend by plain products, where it can, while the block runs.

    When each row has one new token, PyTorch's fused kernel reads keys and values at half of the
    speed that two batched products do. Everything else is computed as before.
    """
    suitable = model.device.type == "cpu" and model.dtype == torch.float32
    if not suitable or model.config._attn_implementation != SDPA:
        yield
        return
    ALL_ATTENTION_FUNCTIONS[SDPA] = _attend
    try:
        yield
    finally:
        del ALL_ATTENTION_FUNCTIONS[SDPA]  # ours alone: what was there before shows again


def _attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **more: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of *query* (rows x heads x tokens x width); several heads may share a key."""
    rows, heads, tokens, width = query.shape
    plain = attention_mask is None or (
        attention_mask.dtype == torch.bool and attention_mask.shape[1:3] == (1, 1)
    )
    if tokens > 1 or not plain or any(more.get(name) is not None for name in UNUSUAL):
        result: tuple[torch.Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **more
        )
        return result
    scale = width**-0.5 if scaling is None else scaling
    grouped = query.reshape(rows, key.shape[1], -1, width) * scale
    weights = grouped @ key.transpose(2, 3)
    if attention_mask is not None:
        weights = weights.masked_fill_(~attention_mask, -torch.inf)
    seen = weights.softmax(-1) @ value
    return seen.reshape(rows, 1, heads, value.shape[-1]), None
