"""How a student is opened and asked, as the section ``student`` says."""

from typing import Literal

from redistill.settings.bounds import Text
from redistill.settings.sections import Section

Attention = Literal["sdpa", "eager", "flash_attention_2"]
Precision = Literal["auto", "fp32", "bf16"]


class StudentSettings(Section):
    """Section ``student``: its base weights, how it is asked, and how its attention is computed."""

    model: Text
    revision: Text | None
    prompt: Text
    chat: bool | None
    system: Text | None
    attention: Attention | None
