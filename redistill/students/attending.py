"""Attention of single tokens to long rows on the CPU, as fast as memory gives the rows."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

SDPA = "sdpa"
UNUSUAL = ("position_bias", "cache", "softcap")  # what `_attend` leaves to transformers


@contextmanager
def streamed(model: Any) -> Iterator[None]:
    """
    While the block runs, an fp32 *model* on the CPU attends by plain products where it can.

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
