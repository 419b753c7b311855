"""Rows of a batch as tensors of one width."""

from collections.abc import Sequence
from typing import Any

import torch

from redistill.students.model.tokens import IGNORED, Example


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
    """Return *example* as a collator takes it."""
    return {"input_ids": example.ids, "labels": example.labels}
