"""A student's completions of prompts: greedy or drawn, by a model in this process."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from redistill.records.types import Output
from redistill.students.answer import engine, kv_cache, rows, sampling
from redistill.students.answer.settings import Rows
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
    batch_size: Rows,
    precision: Precision,
    attention: Attention | None = None,
) -> Iterator[Engine]:
    """
    Open the model of *student* in this process, once for everything that is asked of it.

    With auto as the *batch_size*, the rows follow from the prompts and the memory that is free.
    """
    model = load.model(student, dtype=precision, attention=attention)

    def complete(prompts: Sequence[Sequence[int]], draws: Draws | None, say: str) -> list[Output]:
        answers = engine.answer(
            model,
            prompts,
            eos=encoder.eos,
            pad=int(tokenizer.pad_token_id),
            max_new_tokens=max_new_tokens,
            batch_size=_rows(batch_size, model, prompts, max_new_tokens),
            say=say,
            pick=sampling.Nucleus(draws.temperature, draws.top_p, draws.seeds) if draws else None,
        )
        return [Output(text=encoder.decode(a.ids), eos=a.eos, tokens=len(a.ids)) for a in answers]

    yield complete


def _rows(wanted: Rows, model: Any, prompts: Sequence[Sequence[int]], new: int) -> int:
    """The rows at work; auto plans a window of keys and values as wide as the longest can get."""
    if wanted != "auto":
        return wanted
    longest = max((len(prompt) for prompt in prompts), default=0)
    cost = rows.Cost.of(model.config, model.dtype.itemsize)
    joins = kv_cache.cache(model.config, 0, "cpu").joins
    row = cost.row(longest, new + kv_cache.GROWTH, at_once=not joins)
    device = torch.device(model.device)
    return rows.planned(rows.room(device), rows.most(device), lambda count: count * row)
