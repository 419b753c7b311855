"""How a student is fine-tuned, as the sections ``train`` and ``lora`` say."""

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from redistill.settings.bounds import Above, Count, CountFromZero, Length, Scale, Share, Text, Width
from redistill.settings.sections import Params, Section
from redistill.students.model.settings import Precision

Attention = Literal[
    "auto", "sdpa", "eager", "flash_attention_2", "flash_attention_3", "flex_attention"
]


class TrainSettings(Section):
    """
    Section ``train``: one training of *steps* optimiser steps, times those of the branch.

    *attention* is that of ``student`` where it is null. With *batch_tokens* the steps of an epoch
    have about as many tokens each, and are computed in parts of at most so many.
    """

    method: Literal["full", "lora"]
    steps: Count
    batch_size: Width
    accumulate: Width
    batch_tokens: Length | None
    learning_rate: Above
    warmup: Share
    weight_decay: Share
    precision: Precision
    packing: bool
    attention: Attention | None
    liger: bool
    compile: bool
    checkpointing: bool
    save_every: CountFromZero
    max_tokens: Length
    nll_rows: CountFromZero
    max_loss: Share

    @model_validator(mode="after")
    def _parts(self) -> "TrainSettings":
        """Refuse two sizes of what is computed at a time."""
        if self.batch_tokens and self.accumulate > 1:
            raise PydanticCustomError(
                "parts", "accumulate: batch_tokens says how much is computed at a time; set it to 1"
            )
        return self


class LoraSettings(Section):
    """
    Section ``lora``, read where ``train.method`` is lora.

    *alpha* / *rank* scales what is learnt, *targets* are the names of the layers that get it, or
    "all-linear" for every linear layer but the head (arXiv 2106.09685).
    """

    rank: Annotated[int, Field(ge=1, le=10_000)]
    alpha: Scale
    dropout: Annotated[float, Field(ge=0, lt=1)]
    targets: Text | Annotated[list[Text], Field(min_length=1)]


def lora(params: Params, settings: TrainSettings) -> LoraSettings | None:
    """Return the section ``lora`` where ``train.method`` is lora, else None."""
    return params.section("lora", LoraSettings) if settings.method == "lora" else None
