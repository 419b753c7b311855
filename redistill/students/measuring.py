"""How likely a student finds completions: their negative log-likelihood, in nats."""

import math
from collections.abc import Sequence
from typing import Any

import torch

from redistill.students.labelling import IGNORED, Example


def mean_nll(model: Any, examples: Sequence[Example], *, pad: int, batch_size: int) -> float:
    """The mean negative log-likelihood, in nats, of the completions' tokens under *model*."""
    model.eval()
    total, tokens = 0.0, 0
    ordered = sorted(examples, key=lambda example: len(example.ids))
    for start in range(0, len(ordered), batch_size):
        for nll, count in token_nll(model, ordered[start : start + batch_size], pad):
            total, tokens = total + nll, tokens + count
    return total / tokens if tokens else math.nan


@torch.inference_mode()
def token_nll(model: Any, examples: Sequence[Example], pad: int) -> list[tuple[float, int]]:
    """For each of *examples* the summed NLL of its completion, in nats, and its tokens."""
    rows = [row(example) for example in examples]
    batch = {name: values.to(model.device) for name, values in collate(rows, pad).items()}
    labels = batch.pop("labels")[:, 1:]
    with _as_attention_needs(model):
        logits = model(**batch).logits[:, :-1].float()
    nll = torch.nn.functional.cross_entropy(
        logits.transpose(1, 2), labels, ignore_index=IGNORED, reduction="none"
    ).sum(1)
    counts = (labels != IGNORED).sum(1)
    return list(zip(nll.tolist(), counts.tolist(), strict=True))


def _as_attention_needs(model: Any) -> Any:
    """Flash attention has no fp32; the other kernels compute in the weights' precision."""
    flash = str(model.config._attn_implementation).startswith("flash")
    return torch.autocast(model.device.type, torch.bfloat16, enabled=flash)


def collate(rows: Sequence[dict[str, Any]], pad: int) -> dict[str, torch.Tensor]:
    """Right-pad *rows* to the longest; padding is masked by length, never by id."""
    width = max(len(each["input_ids"]) for each in rows)
    ids = torch.full((len(rows), width), pad)
    labels = torch.full((len(rows), width), IGNORED)
    mask = torch.zeros((len(rows), width), dtype=torch.long)
    for place, each in enumerate(rows):
        size = len(each["input_ids"])
        ids[place, :size] = torch.tensor(each["input_ids"])
        labels[place, :size] = torch.tensor(each["labels"])
        mask[place, :size] = 1
    return {"input_ids": ids, "labels": labels, "attention_mask": mask}


def row(example: Example) -> dict[str, Any]:
    """*example* as a collator takes it."""
    return {"input_ids": example.ids, "labels": example.labels, "length": len(example.ids)}
