"""How a student answers problems, as the section ``evaluate`` says."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, ValidatorFunctionWrapHandler, WrapValidator
from pydantic_core import PydanticCustomError

from redistill.settings.bounds import WIDE, Above, Length, Temperature, Width
from redistill.settings.sections import Params, Section
from redistill.students.model.settings import Precision


def _one_fault(value: Any, hold: ValidatorFunctionWrapHandler) -> Any:
    """Say once what rows may be, not once for each kind."""
    try:
        return hold(value)
    except ValidationError:
        told = f"expected a whole number of rows from 1 to {WIDE}, or auto"
        raise PydanticCustomError("rows", told) from None


# Rows at once: a number, or as many as memory holds.
Rows = Annotated[Width | Literal["auto"], WrapValidator(_one_fault)]


class EvaluateSettings(Section):
    """
    Section ``evaluate``: who computes, how long an answer may get, and how many are drawn.

    *engine* is a file of ours or a server, see `engines`; auto is what won on the device at hand.
    Every problem is answered greedily, and that answer is its score. *samples* more are drawn for
    each problem of train and dev, at *temperature* from the nucleus of *top_p*: its pass rate.
    """

    engine: Literal["local", "transformers", "vllm", "server", "auto"]
    max_new_tokens: Length
    batch_size: Rows
    precision: Precision
    samples: Annotated[int, Field(ge=0, le=1000)]
    temperature: Temperature
    top_p: Above


def computed_here(params: Params, options: Mapping[str, Any]) -> bool:
    """Say whether answers are computed by the stage itself, so that processes can share them."""
    return params.section("evaluate", EvaluateSettings).engine not in ("server", "vllm")
