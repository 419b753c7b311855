"""Answering problems in batches: sorted by length, padded on the left, greedy."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache

from redistill.progress import Progress
from redistill.students import memory

# the next token of each row, from its logits (rows x vocabulary) and the places of the rows
Pick = Callable[[torch.Tensor, Sequence[int]], torch.Tensor]


@dataclass(frozen=True)
class Answer:
    """What a student wrote: ids without EOS, and whether it stopped by itself."""

    ids: list[int]
    eos: bool


@memory.watched_answers
def answer(
    model: Any,
    prompts: Sequence[Sequence[int]],
    *,
    eos: int,
    pad: int,
    max_new_tokens: int,
    batch_size: int,
    say: str = "answering",
    pick: Pick | None = None,
) -> list[Answer]:
    """
    Complete every prompt, in the order given, with at most *max_new_tokens* tokens.

    *pick* chooses each next token, given the places of the rows in *prompts*; None is greedy.

    Rows that have stopped leave their batch, so that a batch costs what its rows need. In fp32
    the tokens do not depend on *batch_size*.
    """
    model.eval()
    answers: list[Answer | None] = [None] * len(prompts)
    order = sorted(range(len(prompts)), key=lambda place: -len(prompts[place]))
    progress = Progress(say, len(prompts))
    for start in range(0, len(order), batch_size):
        places = order[start : start + batch_size]
        given = [prompts[place] for place in places]
        rows = _batch(model, given, places, eos, pad, max_new_tokens, pick or _greedy)
        for place, row in zip(places, rows, strict=True):
            answers[place] = row
        progress.to(start + len(places))
    progress.close()
    return [row for row in answers if row is not None]


def _greedy(logits: torch.Tensor, places: Sequence[int]) -> torch.Tensor:
    return logits.argmax(-1)


@torch.inference_mode()
def _batch(
    model: Any,
    prompts: list[Sequence[int]],
    places: Sequence[int],
    eos: int,
    pad: int,
    max_new_tokens: int,
    pick: Pick,
) -> list[Answer]:
    width = max(len(prompt) for prompt in prompts)
    padding = [width - len(prompt) for prompt in prompts]
    device = model.device
    ids = torch.tensor(
        [[pad] * short + list(prompt) for short, prompt in zip(padding, prompts, strict=True)],
        device=device,
    )
    mask = torch.tensor([[0] * short + [1] * (width - short) for short in padding], device=device)
    position = (mask.cumsum(-1) - 1).clamp(min=0)
    cache = DynamicCache(config=model.config)
    alive = list(range(len(prompts)))
    written: list[list[int]] = [[] for _ in prompts]
    stopped = [False] * len(prompts)
    for _ in range(max_new_tokens):
        logits = model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=position,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
        chosen = pick(logits, [places[row] for row in alive])
        keep = []
        for row, token in enumerate(chosen.tolist()):
            if token == eos:
                stopped[alive[row]] = True
            else:
                written[alive[row]].append(token)
                keep.append(row)
        if not keep:
            break
        if len(keep) < len(alive):
            rows = torch.tensor(keep, device=device)
            cache.batch_select_indices(rows)
            chosen, mask, position = chosen[rows], mask[rows], position[rows]
            alive = [alive[row] for row in keep]
        ids = chosen[:, None]
        mask = torch.cat([mask, mask.new_ones((len(alive), 1))], dim=-1)
        position = position[:, -1:] + 1
    return [Answer(row, stop) for row, stop in zip(written, stopped, strict=True)]
