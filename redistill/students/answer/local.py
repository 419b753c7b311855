"""A student's completions of prompts: greedy or drawn, by a model in this process."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from redistill.records.types import Output
from redistill.students.answer import engine, sampling
from redistill.students.model import load
from redistill.students.model.settings import Attention, Precision
from redistill.students.model.tokens import Encoder


@dataclass(frozen=True)
class Draws:
    """How completions are drawn: each with a seed of its own, from the nucleus of *top_p*."""

    temperature: float
    top_p: float
    seeds: Sequence[int]


class Engine(Protocol):
    """Whatever writes completions."""

    def __call__(
        self, prompts: Sequence[Sequence[int]], draws: Draws | None, say: str
    ) -> list[Output]:
        """Complete *prompts*, in the order given; greedy without *draws*."""
        ...


@contextmanager
def local(
    student: Path,
    tokenizer: Any,
    encoder: Encoder,
    *,
    max_new_tokens: int,
    batch_size: int,
    precision: Precision,
    attention: Attention | None = None,
) -> Iterator[Engine]:
    """Open the model of *student* in this process, once for everything that is asked of it."""
    model = load.model(student, dtype=precision, attention=attention)

    def complete(prompts: Sequence[Sequence[int]], draws: Draws | None, say: str) -> list[Output]:
        answers = engine.answer(
            model,
            prompts,
            eos=encoder.eos,
            pad=int(tokenizer.pad_token_id),
            max_new_tokens=max_new_tokens,
            batch_size=batch_size,
            say=say,
            pick=sampling.nucleus(draws.temperature, draws.top_p, draws.seeds) if draws else None,
        )
        return [Output(text=encoder.decode(a.ids), eos=a.eos, tokens=len(a.ids)) for a in answers]

    yield complete
