"""How a student answers problems, as the section ``evaluate`` says."""

from typing import Annotated, Literal

from pydantic import Field

from redistill.settings.bounds import Above, Length, Temperature, Width
from redistill.settings.sections import Section
from redistill.students.model.settings import Precision

Rows = Width | Literal["auto"]  # rows at once: a number, or as many as memory holds


class EvaluateSettings(Section):
    """
    Section ``evaluate``: who computes, how long an answer may get, and how many are drawn.

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
