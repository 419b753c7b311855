"""What a number or a text of the settings may be: kinds of values that several sections share."""

from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

SEEDS = 2**32  # numpy and torch take whole numbers below that
MANY = 1_000_000_000  # rows, steps and calls: more than any run has
LONG = 10_000_000  # tokens or characters of a text
WIDE = 1_000_000  # rows at once, or the width of a layer
SMALL = 1e-12  # what is less is nothing, but for its sign
COLD = 0.001  # a temperature below which logits divided by it are no numbers any more


def _drawn(temperature: float) -> float:
    """Let 0 through, and what is not so cold that nothing can be drawn."""
    if 0 < temperature < COLD:
        raise PydanticCustomError("cold", "a temperature is 0, for greedy, or from 0.001")
    return temperature


Seed = Annotated[int, Field(ge=0, lt=SEEDS)]
Count = Annotated[int, Field(ge=1, le=MANY)]
CountFromZero = Annotated[int, Field(ge=0, le=MANY)]  # of rows or steps, zero of them as well
Length = Annotated[int, Field(ge=1, le=LONG)]
Width = Annotated[int, Field(ge=1, le=WIDE)]
Few = Annotated[int, Field(ge=1, le=100)]
Share = Annotated[float, Field(ge=0, le=1)]
Above = Annotated[float, Field(ge=SMALL, le=1)]  # a share, or a rate of learning, above zero
Temperature = Annotated[float, Field(ge=0, le=10), AfterValidator(_drawn)]  # 0 is greedy
Growth = Annotated[float, Field(ge=0.01, le=WIDE)]
Scale = Annotated[float, Field(ge=SMALL, le=WIDE)]
Money = Annotated[float, Field(ge=0, lt=MANY)]
Text = Annotated[str, Field(min_length=1)]
Module = Annotated[str, Field(min_length=1, max_length=64)]  # the name of a file of ours
