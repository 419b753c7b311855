"""How likely a student finds completions: their negative log-likelihood, and their ranks."""

import math
import sys
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from redistill.records.types import Problem
from redistill.students.model import load, ranks
from redistill.students.model.chat import UntaughtError
from redistill.students.model.settings import StudentSettings
from redistill.students.model.tokens import IGNORED, Encoder, Example
from redistill.students.train.batch import collate, row


def mean_nll(
    model: Any, examples: Sequence[Example], *, pad: int, batch_size: int, shared: bool = False
) -> float:
    """
    Measure the mean negative log-likelihood of the completions' tokens by *model*, in nats.

    *shared* has the processes of a stage share the batches; all of them return the same.
    """
    model.eval()
    total, tokens = 0.0, 0
    ordered = sorted(examples, key=lambda example: len(example.ids))
    batches = [ordered[at : at + batch_size] for at in range(0, len(ordered), batch_size)]

    def measure(own: Sequence[Sequence[Example]]) -> list[list[tuple[float, int]]]:
        return [token_nll(model, one, pad) for one in own]

    measured = ranks.dealt(batches, measure) if shared else measure(batches)
    for nll, count in chain.from_iterable(measured):
        total, tokens = total + nll, tokens + count
    return total / tokens if tokens else math.nan


@torch.inference_mode()
def token_nll(model: Any, examples: Sequence[Example], pad: int) -> list[tuple[float, int]]:
    """Measure the summed NLL, in nats, and the tokens of the completion of each of *examples*."""
    logits, labels = _predicted(model, examples, pad)
    counts = (labels != IGNORED).sum(1)
    return list(zip(_nll(logits, labels).tolist(), counts.tolist(), strict=True))


@torch.inference_mode()
def rank_surprisal(model: Any, examples: Sequence[Example], pad: int) -> list[float]:
    """
    Measure the rank-surprisal ratio of the completion of each of *examples*; lower is better.

    It is the mean rank of the tokens over their mean surprisal, in nats, both by *model* (arXiv
    2601.14249, whose abstract has this definition). A rank is 1 for the likeliest token, and at
    most CLIP. A completion that surprises in no token teaches nothing: its ratio is infinite.
    """
    logits, labels = _predicted(model, examples, pad)
    taught = labels != IGNORED
    own = logits.gather(2, labels.clamp(min=0).unsqueeze(2))
    ranks = (1 + (logits > own).sum(2)).clamp(max=CLIP)
    sums = zip((ranks * taught).sum(1).tolist(), _nll(logits, labels).tolist(), strict=True)
    return [rank / nll if nll > 0 else math.inf for rank, nll in sums]


def _predicted(
    model: Any, examples: Sequence[Example], pad: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The logits before each token of *examples*, and the tokens; IGNORED where none is taught."""
    rows = [row(example) for example in examples]
    batch = {name: values.to(model.device) for name, values in collate(rows, pad).items()}
    labels = batch.pop("labels")[:, 1:]
    with _as_attention_needs(model):
        return model(**batch).logits[:, :-1].float(), labels


def _nll(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The negative log-likelihood of each row of *labels*, in nats, summed over its tokens."""
    return torch.nn.functional.cross_entropy(
        logits.transpose(1, 2), labels, ignore_index=IGNORED, reduction="none"
    ).sum(1)


def _as_attention_needs(model: Any) -> Any:
    """Flash attention has no fp32; the other kernels compute in the weights' precision."""
    flash = str(model.config._attn_implementation).startswith("flash")
    return torch.autocast(model.device.type, torch.bfloat16, enabled=flash)


BATCH = 16
# Where ranks are cut off. The authors' program does so, at 100 by default, counts the tokens of
# strictly higher logit, and divides sums over the trajectory (repository UmeanNever/
# RankSurprisalRatio, rsr_cal.py). What the paper's own text says of the value was not open to us.
CLIP = 100

Measure = Callable[[Any, Sequence[Example], int], list[float]]  # model, examples and pad to scores


def mean_nll_each(
    student: Path, rows: Sequence[tuple[Problem, str]], settings: StudentSettings
) -> list[float]:
    """
    Measure the mean negative log-likelihood, in nats a token, of each text as an answer.

    EOS counts as a token of the text. *settings* say how the student is prompted.
    """

    def mean(model: Any, examples: Sequence[Example], pad: int) -> list[float]:
        return [total / tokens for total, tokens in token_nll(model, examples, pad)]

    return _each(student, rows, settings, mean)


def rank_surprisal_each(
    student: Path, rows: Sequence[tuple[Problem, str]], settings: StudentSettings
) -> list[float]:
    """
    Measure the rank-surprisal ratio of each text as an answer, as `rank_surprisal` does.

    EOS counts as a token of the text. *settings* say how the student is prompted.
    """
    return _each(student, rows, settings, rank_surprisal)


def _each(
    student: Path,
    rows: Sequence[tuple[Problem, str]],
    settings: StudentSettings,
    measure: Measure,
) -> list[float]:
    """
    The scores that *measure* gives *rows* by *student*, in batches of about the same length.

    A text that cannot be taught, or is longer than the student can read, has the worst: infinity.
    """
    load.quiet()
    model = load.model(student, attention=settings.attention)
    tokenizer = load.tokenizer(student)
    encoder = Encoder.of(tokenizer, settings)
    most = load.context(model.config) or sys.maxsize
    examples = {
        place: found
        for place, (problem, text) in enumerate(rows)
        if (found := _taught(encoder, problem, text)) and len(found.ids) <= most
    }
    order = sorted(examples, key=lambda place: len(examples[place].ids))
    scores = [math.inf] * len(rows)
    model.eval()
    for start in range(0, len(order), BATCH):
        places = order[start : start + BATCH]
        batch = [examples[place] for place in places]
        for place, score in zip(places, measure(model, batch, tokenizer.pad_token_id), strict=True):
            scores[place] = score
    return scores


def _taught(encoder: Encoder, problem: Problem, text: str) -> Example | None:
    try:
        return encoder.example(problem, text)
    except UntaughtError:  # train will leave it out and count it
        return None
