"""How a student answers problems, as the section ``evaluate`` says."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from redistill.settings.bounds import Above, Length, Temperature, Width
from redistill.settings.sections import Params, Section
from redistill.students.model.settings import Precision


class EvaluateSettings(Section):
    """
    Section ``evaluate``: who computes, how long an answer may get, and how many are drawn.

    Every problem is answered greedily, and that answer is its score. *samples* more are drawn for
    each problem of train and dev, at *temperature* from the nucleus of *top_p*: its pass rate.
    """

    engine: Literal["local", "server"]
    max_new_tokens: Length
    batch_size: Width
    precision: Precision
    samples: Annotated[int, Field(ge=0, le=1000)]
    temperature: Temperature
    top_p: Above


def computed_here(params: Params, options: Mapping[str, Any]) -> bool:
    """Say whether answers are computed by the stage itself, so that processes can share them."""
    return params.section("evaluate", EvaluateSettings).engine != "server"
