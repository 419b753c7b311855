"""Which engine answers, by its name in the settings."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal

from redistill.students.answer import local, server
from redistill.students.answer.local import Engine
from redistill.students.answer.settings import EvaluateSettings
from redistill.students.model import precision
from redistill.students.model.settings import StudentSettings
from redistill.students.model.tokens import Encoder

# What auto takes on a device: what won there in benchmarks/engines.py (docs/answering.md). No GPU
# was measured: there it is what was run on one before.
WON: dict[str, Literal["local", "transformers"]] = {"cpu": "local", "cuda": "local"}


def opened(
    student: Path,
    tokenizer: Any,
    encoder: Encoder,
    asked: StudentSettings,
    settings: EvaluateSettings,
) -> AbstractContextManager[Engine]:
    """
    Open *student* by the engine of *settings*, for as long as the block lasts.

    Raises RefusedError for an engine that is not installed or does not take this student.
    """
    if settings.engine == "server":
        return server.served(
            student,
            eos=encoder.eos,
            max_new_tokens=settings.max_new_tokens,
            text_of=lambda ids: str(tokenizer.decode(ids, clean_up_tokenization_spaces=False)),
        )
    precision.warn(student.name, "evaluate.precision", settings.precision)
    if settings.engine == "vllm":
        from redistill.students.answer import offline

        return offline.offline(student, encoder, settings)
    opening = local.local
    if _in_process(settings.engine) == "transformers":
        from redistill.students.answer import continuous

        opening = continuous.continuous
    return opening(
        student,
        tokenizer,
        encoder,
        max_new_tokens=settings.max_new_tokens,
        batch_size=settings.batch_size,
        precision=settings.precision,
        attention=asked.attention,
    )


def _in_process(engine: str) -> str:
    """The engine that auto stands for here."""
    return WON["cuda" if precision.on_gpu() else "cpu"] if engine == "auto" else engine
