"""A causal language model in this process as the teacher, its answers stored like paid ones."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from redistill.llm import answers, response, store
from redistill.llm.request import Request
from redistill.llm.store import Intent, Result, Writer
from redistill.rationales import prompt as rationales_prompt
from redistill.rationales import stored
from redistill.rationales.teacher import Reply, Sitting
from redistill.rationales.teacher import Request as Refinement
from redistill.records.types import Problem
from redistill.settings.bounds import Above, Length, Seed, Temperature, Text, Width
from redistill.settings.sections import Section

ASKS = True


class Settings(Section):
    """
    Section ``local``: a Hugging Face directory, hub id or ``.gguf`` file, and how it draws.

    A *temperature* of 0 is greedy: then every draw is the same, and one is enough.
    """

    model: Text
    system: Text | None
    max_new_tokens: Length
    temperature: Temperature
    top_p: Above
    seed: Seed
    batch_size: Width


def explain(problems: Sequence[Problem], settings: Settings, sitting: Sitting) -> list[list[Reply]]:
    """Have the model write the first rationale of each problem, once for each draw."""
    prompts = ((rationales_prompt.explain(p, sitting.prompts), p.id) for p in problems)
    return _replies(prompts, settings, sitting)


def refine(
    requests: Sequence[Refinement], settings: Settings, sitting: Sitting
) -> list[list[Reply]]:
    """Have the model write a better rationale for each request, once for each draw."""
    prompts = ((rationales_prompt.refine(r, sitting.prompts), r.problem.id) for r in requests)
    return _replies(prompts, settings, sitting)


def _replies(
    prompts: Iterable[tuple[str, str]], settings: Settings, sitting: Sitting
) -> list[list[Reply]]:
    identity = _identity(settings.model)
    rows = (
        [_request(prompt, problem, draw, identity, settings) for draw in sitting.draws]
        for prompt, problem in prompts
    )
    file = store.path()
    with store.reading(file) as known:
        found = stored.find(known, rows)
    if sitting.plan is not None:
        found.note(sitting.plan)
    elif found.missing:
        with store.writing(file) as writer:
            _write(list(found.missing.values()), settings, sitting, writer)
            return found.filled(answers.known(writer, found.missing))
    return found.filled({})


def _request(prompt: str, problem: str, draw: int, identity: str, settings: Settings) -> Request:
    messages = [{"role": "user", "content": prompt}]
    if settings.system:
        messages.insert(0, {"role": "system", "content": settings.system})
    body = settings.model_dump(include={"temperature", "top_p", "seed"})
    body["max_tokens"] = settings.max_new_tokens
    return Request(identity, settings.model, messages, body, draw, problem)


def _identity(model: str) -> str:
    """What stands for the weights of *model* in a key: the hash of its files, or its hub id."""
    path = Path(model)
    files = [path] if path.is_file() else sorted(path.glob("*.safetensors"))
    if not files:
        return f"local:{model}"
    whole = hashlib.sha256()
    for file in files:
        with file.open("rb") as opened:
            whole.update(hashlib.file_digest(opened, "sha256").digest())
    return f"local:{whole.hexdigest()[:16]}"


def _write(
    requests: Sequence[Request], settings: Settings, sitting: Sitting, writer: Writer
) -> None:
    """Answer *requests* in batches, each of which is on disk before the next begins."""
    from redistill.students.answer import sampling
    from redistill.students.model import load

    load.quiet()
    model, tokenizer = load.pretrained(settings.model, place="local.model")
    for start in range(0, len(requests), settings.batch_size):
        batch = requests[start : start + settings.batch_size]
        written = sampling.reply(
            model,
            tokenizer,
            [list(request.messages) for request in batch],
            max_new_tokens=settings.max_new_tokens,
            temperature=settings.temperature,
            top_p=settings.top_p,
            seeds=[settings.seed + int(request.key[:12], 16) for request in batch],
            say=f"{sitting.round} {start + 1} to {start + len(batch)} of {len(requests)}",
        )
        with writer.transaction() as connection:
            for request, (text, tokens, ended) in zip(batch, written, strict=True):
                body = json.dumps(_body(settings.model, text, tokens, ended)).encode()
                number = writer.intend(connection, _intent(request, sitting))
                writer.receive(connection, number, 200, body)
                writer.settle(connection, _result(number, request, body, tokens))


def _body(model: str, text: str, tokens: int, ended: bool) -> dict[str, Any]:
    """The answer in the shape of a chat endpoint's, so that one reader serves both."""
    message = {"role": "assistant", "content": text}
    return {
        "model": model,
        "choices": [{"message": message, "finish_reason": "stop" if ended else "length"}],
        "usage": {"prompt_tokens": 0, "completion_tokens": tokens},
    }


def _intent(request: Request, sitting: Sitting) -> Intent:
    names = {"stage": sitting.stage, "round": sitting.round, "problem": request.problem}
    return Intent(
        request.key, request.canonical, **names, model=request.model,
        prompt_tokens=0, completion_tokens=0, nano=0,
    )  # fmt: skip


def _result(number: int, request: Request, body: bytes, tokens: int) -> Result:
    reading = response.read(200, body)
    return Result(
        id=number, key=request.key, outcome=reading.outcome, status=200, body=body,
        detail=reading.detail, finish_reason=reading.finish_reason, returned_model=request.model,
        prompt_tokens=0, completion_tokens=tokens, nano=0, measured=True, seconds=0.0,
    )  # fmt: skip
