"""How a student answers problems, as the section ``evaluate`` says."""

from typing import Literal

from redistill.settings.sections import Section
from redistill.students.model.settings import Precision


class EvaluateSettings(Section):
    """
    Section ``evaluate``: who computes, how long an answer may get, and how many are drawn.

    Every problem is answered greedily, and that answer is its score. *samples* more are drawn for
    each problem of train and dev, at *temperature* from the nucleus of *top_p*: its pass rate.
    """

    engine: Literal["local", "server"]
    max_new_tokens: int
    batch_size: int
    precision: Precision
    samples: int
    temperature: float
    top_p: float
