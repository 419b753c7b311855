"""Rows of a step as tensors, with all that is known of them before they are on the device."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from redistill.students.model.tokens import IGNORED
from redistill.students.train import batch, packing


@dataclass(frozen=True)
class Collator:
    """
    Makes a batch of rows.

    *packed* puts them side by side, with their borders where *flash* attention computes them.
    *masked* says which tokens are padding; a causal model never sees what is to the right of a row.
    *taught* names the places where something is taught. What is found out here costs nothing; asked
    of tensors on a GPU, each answer would have the host wait for all work before it.
    """

    pad: int
    packed: bool
    flash: bool
    masked: bool
    taught: bool

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Make the batch of *rows*, and count their tokens; one that teaches nothing has none."""
        if self.packed:
            made = packing.collate(rows, borders=self.flash)
        else:
            made = dict(batch.collate(rows, self.pad))
            if not self.masked:
                del made["attention_mask"]
        if self.taught:
            made |= taught(made["labels"])
        made["tokens"] = sum(len(row["input_ids"]) for row in rows if row["labels"][-1] != IGNORED)
        return made


def taught(labels: torch.Tensor) -> dict[str, torch.Tensor]:
    """
    Find where *labels*, rows x tokens, teach something.

    *places* are the columns whose logits are needed; of these, row by row, *cells* are the numbers
    of those that teach a token, *targets* the tokens. *shifted* has the columns' labels, rows x
    columns. Where nothing is taught there is one column, if rows have two tokens.
    """
    following = labels[:, 1:]
    found = (following != IGNORED).any(0).nonzero().flatten()
    places = found if len(found) else torch.arange(min(1, following.shape[1]))
    shifted = following[:, places]
    cells = (shifted != IGNORED).flatten().nonzero().flatten()
    return {
        "places": places,
        "cells": cells,
        "targets": shifted.flatten()[cells],
        "shifted": shifted,
    }
