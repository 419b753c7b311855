"""Rows of a batch side by side without padding, none of which can see another."""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import torch

from redistill.console.exceptions import CONFIG, RefusedError
from redistill.students.model.tokens import IGNORED, Example

PROBED = 24  # tokens of a row that the check looks at
CLOSE = {torch.float32: 1e-3, torch.bfloat16: 0.1}  # share of the logits' spread, by precision


def collate(rows: Sequence[dict[str, Any]], *, borders: bool = False) -> dict[str, Any]:
    """
    Make one row of all *rows*, in which positions begin anew with each: shape 1 x all their tokens.

    There is no attention mask: the kernels tell the rows apart by their positions, which
    transformers looks at only where there is no cache either. A row's first token is never a
    target, which it is not by itself either. *borders* says where each row begins as well, which
    flash attention would find out anew in every layer, and have the host wait for.
    """
    ids = [token for row in rows for token in row["input_ids"]]
    labels = [label for row in rows for label in [IGNORED, *row["labels"][1:]]]
    positions = [place for row in rows for place in range(len(row["input_ids"]))]
    return {
        "input_ids": torch.tensor([ids]),
        "labels": torch.tensor([labels]),
        "position_ids": torch.tensor([positions]),
        "use_cache": False,
        **(_borders([len(row["input_ids"]) for row in rows]) if borders else {}),
    }


def flash(model: Any) -> bool:
    """Say whether *model* computes its attention by a kernel of flash attention."""
    return "flash" in str(model.config._attn_implementation)


def _borders(sizes: Sequence[int]) -> dict[str, Any]:
    """What flash attention is to be told of rows of *sizes*, as transformers names it."""
    ends = torch.tensor([0, *accumulate(sizes)], dtype=torch.int32)
    longest = max(sizes)
    return {
        "cu_seq_lens_q": ends,
        "cu_seq_lens_k": ends,
        "max_length_q": longest,
        "max_length_k": longest,
    }


@torch.inference_mode()
def check(model: Any, examples: Sequence[Example], *, half: bool) -> None:
    """
    Refuse packing where *model* lets one row see another: tried on two short rows, not assumed.

    The second row's logits must be the same to the bit whatever the first row says, and must be,
    up to rounding, those that the row has alone. *half* tries it under bf16 autocast, as trained.
    """
    second = examples[-1].ids[:PROBED]
    first = (examples[0].ids * PROBED)[: max(2, PROBED - 7)]
    was_training = model.training
    model.eval()
    with torch.autocast(model.device.type, torch.bfloat16, enabled=half):
        alone = _logits(model, [second])
        packed, other = (
            _logits(model, [row, second])[-len(second) :] for row in (first, first[::-1])
        )
    model.train(was_training)
    spread = (alone.max() - alone.min()).item()
    near = CLOSE[torch.bfloat16 if half else torch.float32] * spread
    if not torch.equal(packed, other) or (packed - alone).abs().max().item() > near:
        raise RefusedError(
            f"train.packing: rows packed together change each other's answers in this model "
            f"({model.config.model_type}, attention {model.config._attn_implementation}); "
            "set it to false",
            code=CONFIG,
        )


def _logits(model: Any, rows: Sequence[Sequence[int]]) -> torch.Tensor:
    made = [{"input_ids": list(row), "labels": list(row)} for row in rows]
    batch = collate(made, borders=flash(model))
    del batch["labels"]
    moved = {
        name: value.to(model.device) if isinstance(value, torch.Tensor) else value
        for name, value in batch.items()
    }
    found: torch.Tensor = model(**moved).logits[0].float()
    return found
