"""How likely a student finds completions: their negative log-likelihood, in nats."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from redistill.records.types import Problem
from redistill.students.model import load
from redistill.students.model.settings import StudentSettings
from redistill.students.model.tokens import IGNORED, Encoder, Example
from redistill.students.train.batch import collate, row


def mean_nll(model: Any, examples: Sequence[Example], *, pad: int, batch_size: int) -> float:
    """Measure the mean negative log-likelihood of the completions' tokens by *model*, in nats."""
    model.eval()
    total, tokens = 0.0, 0
    ordered = sorted(examples, key=lambda example: len(example.ids))
    for start in range(0, len(ordered), batch_size):
        for nll, count in token_nll(model, ordered[start : start + batch_size], pad):
            total, tokens = total + nll, tokens + count
    return total / tokens if tokens else math.nan


@torch.inference_mode()
def token_nll(model: Any, examples: Sequence[Example], pad: int) -> list[tuple[float, int]]:
    """Measure the summed NLL, in nats, and the tokens of the completion of each of *examples*."""
    rows = [row(example) for example in examples]
    batch = {name: values.to(model.device) for name, values in collate(rows, pad).items()}
    labels = batch.pop("labels")[:, 1:]
    with _as_attention_needs(model):
        logits = model(**batch).logits[:, :-1].float()
    nll = torch.nn.functional.cross_entropy(
        logits.transpose(1, 2), labels, ignore_index=IGNORED, reduction="none"
    ).sum(1)
    counts = (labels != IGNORED).sum(1)
    return list(zip(nll.tolist(), counts.tolist(), strict=True))


def _as_attention_needs(model: Any) -> Any:
    """Flash attention has no fp32; the other kernels compute in the weights' precision."""
    flash = str(model.config._attn_implementation).startswith("flash")
    return torch.autocast(model.device.type, torch.bfloat16, enabled=flash)


BATCH = 16


def mean_nll_each(
    student: Path, rows: Sequence[tuple[Problem, str]], settings: StudentSettings
) -> list[float]:
    """
    Measure the mean negative log-likelihood, in nats a token, of each text as an answer.

    EOS counts as a token of the text. *settings* say how the student is prompted.
    """
    load.quiet()
    model = load.model(student, attention=settings.attention)
    tokenizer = load.tokenizer(student)
    encoder = Encoder.of(tokenizer, settings)
    examples = [encoder.example(problem, text) for problem, text in rows]
    order = sorted(range(len(examples)), key=lambda place: len(examples[place].ids))
    scores = [0.0] * len(examples)
    model.eval()
    with torch.inference_mode():
        for start in range(0, len(order), BATCH):
            places = order[start : start + BATCH]
            found = token_nll(model, [examples[p] for p in places], tokenizer.pad_token_id)
            for place, (total, tokens) in zip(places, found, strict=True):
                scores[place] = total / tokens
    return scores
