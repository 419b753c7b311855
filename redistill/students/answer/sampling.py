"""Chat replies of a causal LM in batches, each row drawn with a seed of its own."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from redistill.console.exceptions import RefusedError
from redistill.students.answer import engine
from redistill.students.model.tokens import Encoder


def reply(
    model: Any,
    tokenizer: Any,
    chats: Sequence[Sequence[Mapping[str, str]]],
    *,
    max_new_tokens: int,
    temperature: float,
    top_p: float,
    seeds: Sequence[int],
    say: str,
) -> list[tuple[str, int, bool]]:
    """
    Answer each of *chats* through the chat template: text, tokens and whether it ended by itself.

    A *temperature* of 0 is greedy. Otherwise tokens are drawn from the smallest set of at least
    *top_p* (nucleus sampling, arXiv 1904.09751), each row by its own seed, so that a row does not
    depend on its neighbours' draws. Without a chat template the last message is the prompt. A
    reply ends with the token by which the template ends an assistant's turn, which is not the
    tokenizer's EOS for every model; with EOS where the template has no such token.
    """
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    answers = engine.answer(
        model,
        [_ids(tokenizer, chat) for chat in chats],
        eos=_end(tokenizer),
        pad=pad,
        max_new_tokens=max_new_tokens,
        batch_size=len(chats),
        say=say,
        pick=Nucleus(temperature, top_p, seeds) if temperature else None,
    )
    return [
        (str(tokenizer.decode(answer.ids, skip_special_tokens=True)), len(answer.ids), answer.eos)
        for answer in answers
    ]


def _end(tokenizer: Any) -> int:
    try:
        return Encoder(tokenizer, "[[question]]").eos
    except RefusedError:  # a template that could not be learnt, but a reply to it can be read
        return int(tokenizer.eos_token_id)


def _ids(tokenizer: Any, chat: Sequence[Mapping[str, str]]) -> list[int]:
    if not tokenizer.chat_template:
        return list(tokenizer(chat[-1]["content"])["input_ids"])
    text = tokenizer.apply_chat_template(list(chat), tokenize=False, add_generation_prompt=True)
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


class Nucleus:
    """Draw each token as `reply` does, the row at a place with the seed at that place."""

    def __init__(self, temperature: float, top_p: float, seeds: Sequence[int]) -> None:
        self.temperature, self.top_p, self.seeds = temperature, top_p, seeds
        self.draws: dict[int, torch.Generator] = {}

    def begin(self, places: Sequence[int]) -> None:
        """Start the draws of the rows at *places* from their seeds."""
        for place in places:
            self.draws[place] = torch.Generator().manual_seed(self.seeds[place] % 2**63)

    def __call__(self, logits: torch.Tensor, places: Sequence[int]) -> torch.Tensor:
        """Draw the next token of each row, on the CPU, where a seed gives the same everywhere."""
        heated = logits.float().cpu() / self.temperature
        shares, order = heated.softmax(-1).sort(-1, descending=True)
        shares[shares.cumsum(-1) - shares >= self.top_p] = 0.0
        chosen = [
            order[row, torch.multinomial(shares[row], 1, generator=self.draws[place])]
            for row, place in enumerate(places)
        ]
        return torch.cat(chosen).to(logits.device)
