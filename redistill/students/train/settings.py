"""How a student is fine-tuned, as the sections ``train`` and ``lora`` say."""

from typing import Literal

from redistill.settings.sections import Params, Section
from redistill.students.model.settings import Precision


class TrainSettings(Section):
    """Section ``train``: one training of *steps* optimiser steps, times those of the branch."""

    method: Literal["full", "lora"]
    steps: int
    batch_size: int
    accumulate: int
    learning_rate: float
    warmup: float
    weight_decay: float
    precision: Precision
    packing: bool
    checkpointing: bool
    save_every: int
    max_tokens: int
    nll_rows: int
    max_loss: float


class LoraSettings(Section):
    """
    Section ``lora``, read where ``train.method`` is lora.

    *alpha* / *rank* scales what is learnt, *targets* are the names of the layers that get it, or
    "all-linear" for every linear layer but the head (arXiv 2106.09685).
    """

    rank: int
    alpha: float
    dropout: float
    targets: str | list[str]


def lora(params: Params, settings: TrainSettings) -> LoraSettings | None:
    """Return the section ``lora`` where ``train.method`` is lora, else None."""
    return params.section("lora", LoraSettings) if settings.method == "lora" else None
