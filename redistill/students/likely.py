"""How likely a student finds texts: the gauge by which GRAPE and RSR choose what to teach."""

from collections.abc import Sequence
from pathlib import Path

import torch

from redistill import params as reading
from redistill.records import Problem
from redistill.students import labelling, loading, measuring

BATCH = 16


def mean_nll(student: Path, rows: Sequence[tuple[Problem, str]], params: Path) -> list[float]:
    """The mean negative log-likelihood, in nats a token, of each text as an answer to its problem.

    EOS counts as a token of the text. *params* says how the student is prompted.
    """
    loading.quiet()
    asked = reading.load(params, "student", loading.Settings)
    model = loading.model(student, attention=asked.attention)
    tokenizer = loading.tokenizer(student)
    encoder = labelling.Encoder(tokenizer, asked.prompt, chat=asked.chat, system=asked.system)
    examples = [encoder.example(problem, text) for problem, text in rows]
    order = sorted(range(len(examples)), key=lambda place: len(examples[place].ids))
    scores = [0.0] * len(examples)
    model.eval()
    with torch.inference_mode():
        for start in range(0, len(order), BATCH):
            places = order[start : start + BATCH]
            found = measuring.token_nll(
                model, [examples[p] for p in places], tokenizer.pad_token_id
            )
            for place, (total, tokens) in zip(places, found, strict=True):
                scores[place] = total / tokens
    return scores
