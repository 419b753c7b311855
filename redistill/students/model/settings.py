"""How a student is opened and asked, as the section ``student`` says."""

from typing import Literal

from redistill.settings.sections import Section

Attention = Literal["sdpa", "eager", "flash_attention_2"]
Precision = Literal["auto", "fp32", "bf16"]


class StudentSettings(Section):
    """Section ``student``: its base weights, how it is asked, and how its attention is computed."""

    model: str
    revision: str | None
    prompt: str
    chat: bool | None
    system: str | None
    attention: Attention | None
