"""How a student is opened and asked, as the section ``student`` says."""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, JsonValue

from redistill.settings.bounds import Text
from redistill.settings.sections import Section

Attention = Literal["sdpa", "eager", "flash_attention_2"]
Precision = Literal["auto", "fp32", "bf16"]


# What a conversation is given to its template by, and how: no variables of a template's own.
TAKEN = {
    "add_generation_prompt", "chat_template", "continue_final_message", "conversation", "documents",
    "max_length", "messages", "padding", "raise_exception", "return_assistant_tokens_mask",
    "return_dict", "return_tensors", "sanitize_control_tokens", "self", "strftime_now", "tokenize",
    "tokenizer_kwargs", "tools", "truncation",
}  # fmt: skip


def _free(arguments: dict[str, Any]) -> dict[str, Any]:
    """Refuse names that are no variables, and those that stand for the conversation itself."""
    for name in arguments:
        if name in TAKEN or not re.fullmatch(r"[A-Za-z_]\w*", name):
            raise ValueError(f"{name!r} is no variable that a chat template can be given")
    return arguments


class StudentSettings(Section):
    """
    Section ``student``: its base weights, how it is asked, and how its attention is computed.

    *template* names one of the chat templates of the tokenizer, or a file in data/pretrained;
    *template_arguments* are the variables that it is given.
    """

    model: Text
    revision: Text | None
    prompt: Text
    chat: bool | None
    template: Text | None
    template_arguments: Annotated[dict[str, JsonValue], AfterValidator(_free)]
    system: Text | None
    attention: Attention | None
