"""Chat replies of a causal LM in batches, each row drawn with a seed of its own."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from transformers import DynamicCache


@torch.inference_mode()
def reply(
    model: Any,
    tokenizer: Any,
    chats: Sequence[Sequence[Mapping[str, str]]],
    *,
    max_new_tokens: int,
    temperature: float,
    top_p: float,
    seeds: Sequence[int],
) -> list[tuple[str, int, bool]]:
    """
    Text, tokens and whether it ended by itself, for each of *chats* through the chat template.

    A *temperature* of 0 is greedy. Otherwise tokens are drawn from the smallest set of at least
    *top_p* (nucleus sampling, arXiv 1904.09751), each row by its own seed, so that a row does not
    depend on its neighbours' draws. Without a chat template the last message is the prompt.
    """
    model.eval()
    prompts = [_ids(tokenizer, chat) for chat in chats]
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    width = max(len(prompt) for prompt in prompts)
    ids = torch.tensor([[pad] * (width - len(p)) + p for p in prompts], device=model.device)
    mask = torch.tensor(
        [[0] * (width - len(p)) + [1] * len(p) for p in prompts], device=model.device
    )
    draws = [torch.Generator().manual_seed(seed % 2**63) for seed in seeds]
    cache = DynamicCache(config=model.config)
    position = (mask.cumsum(-1) - 1).clamp(min=0)
    written: list[list[int]] = [[] for _ in prompts]
    ended = [False] * len(prompts)
    for _ in range(max_new_tokens):
        logits = model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=position,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
        tokens = _draw(logits.float().cpu(), temperature, top_p, draws)
        for row, token in enumerate(tokens):
            if not ended[row]:
                ended[row] = token == tokenizer.eos_token_id
                if not ended[row]:
                    written[row].append(token)
        if all(ended):
            break
        ids = torch.tensor(tokens, device=model.device)[:, None]
        mask = torch.cat([mask, mask.new_ones((len(prompts), 1))], dim=-1)
        position = position[:, -1:] + 1
    return [
        (str(tokenizer.decode(row, skip_special_tokens=True)), len(row), stop)
        for row, stop in zip(written, ended, strict=True)
    ]


def _ids(tokenizer: Any, chat: Sequence[Mapping[str, str]]) -> list[int]:
    if not tokenizer.chat_template:
        return list(tokenizer(chat[-1]["content"])["input_ids"])
    text = tokenizer.apply_chat_template(list(chat), tokenize=False, add_generation_prompt=True)
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def _draw(
    logits: torch.Tensor, temperature: float, top_p: float, draws: Sequence[torch.Generator]
) -> list[int]:
    if temperature == 0:
        return [int(token) for token in logits.argmax(-1)]
    shares, order = (logits / temperature).softmax(-1).sort(-1, descending=True)
    shares[shares.cumsum(-1) - shares >= top_p] = 0.0
    return [
        int(order[row, torch.multinomial(shares[row], 1, generator=draw)])
        for row, draw in enumerate(draws)
    ]
