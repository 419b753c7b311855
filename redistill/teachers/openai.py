"""Any OpenAI-compatible chat endpoint as the teacher, every answer stored and paid for once."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import Field

from redistill.console.exceptions import CONFIG, RefusedError
from redistill.llm import budget, chat_service, client, other_models, store
from redistill.llm.chat_service import Service
from redistill.llm.headers import Variable
from redistill.llm.request import Request
from redistill.llm.response import Reading
from redistill.rationales import prompt as rationales_prompt
from redistill.rationales import stored
from redistill.rationales.teacher import Reply, Sitting
from redistill.rationales.teacher import Request as Refinement
from redistill.records.types import Problem
from redistill.settings.bounds import Seed, Text
from redistill.settings.sections import Section

ASKS = PAID = True
PLACE = "openai"


class Example(Section):
    """A question and its answer as turns before the prompt, for a model that learns by examples."""

    user: Text
    assistant: Text


class Settings(Section):
    """
    Section ``openai``: the service, the model, and the request's body beside model and messages.

    *examples* are turns that stand between the system prompt and the prompt, in every call.
    *key* is the name of the environment variable that holds the key, null where none is needed.
    *headers* are sent with each call, and *query* stands behind its path; a value of either is
    text, or ``{env: NAME}`` for what the environment variable NAME holds. Neither needs to be
    there.
    *seed* is sent, increased by the number of the draw, where it is not null. *together* asks for
    all draws of a prompt in one call with ``n``, for a server that knows it; without a seed.
    """

    base_url: Text
    key: Text | None
    model: Text
    system: Text | None
    examples: list[Example]
    seed: Seed | None
    together: bool
    body: dict[str, Any]
    headers: dict[str, str | Variable] = Field(default_factory=dict)  # older projects have neither
    query: dict[str, str | Variable] = Field(default_factory=dict)


def explain(problems: Sequence[Problem], settings: Settings, sitting: Sitting) -> list[list[Reply]]:
    """Ask for the first rationale of each problem; raises RefusedError as `client.ask` does."""
    rows = (
        [explanation(p, settings, sitting.prompts, draw) for draw in sitting.draws]
        for p in problems
    )
    return _replies(rows, settings, sitting)


def refine(
    requests: Sequence[Refinement], settings: Settings, sitting: Sitting
) -> list[list[Reply]]:
    """Ask for a better rationale of each request; raises RefusedError as `client.ask` does."""
    rows = (
        [refinement(r, settings, sitting.prompts, draw) for draw in sitting.draws] for r in requests
    )
    return _replies(rows, settings, sitting)


def explanation(problem: Problem, settings: Settings, prompts: str, draw: int) -> Request:
    """Build the call that asks for the first rationale of *problem*."""
    return _request(rationales_prompt.explain(problem, prompts), settings, draw, problem.id)


def refinement(request: Refinement, settings: Settings, prompts: str, draw: int) -> Request:
    """Build the call that asks for a better rationale."""
    return _request(rationales_prompt.refine(request, prompts), settings, draw, request.problem.id)


def service(settings: Settings) -> Service:
    """Return the service that *settings* name."""
    s = settings
    return Service(PLACE, s.base_url, s.key, s.model, s.body, s.headers, s.query, s.together)


def check(settings: Settings, spending: budget.SpendingSettings | None) -> None:
    """Refuse an address, a name of a key or a body with which nothing could be asked."""
    service(settings).check(spending)
    _request("", settings, 0, "")


def ready(settings: Settings) -> None:
    """Refuse where what a call needs of this machine is missing: a key, or a way to the service."""
    service(settings).ready()


def _request(prompt: str, settings: Settings, draw: int, problem: str) -> Request:
    messages = [{"role": "system", "content": settings.system}] if settings.system else []
    for example in settings.examples:
        messages.append({"role": "user", "content": example.user})
        messages.append({"role": "assistant", "content": example.assistant})
    messages.append({"role": "user", "content": prompt})
    return service(settings).request(messages, draw, problem, settings.seed)


def _replies(
    rows: Iterable[list[Request]], settings: Settings, sitting: Sitting
) -> list[list[Reply]]:
    """The replies to *rows*: without key, budget or network where the store has them all."""
    file, limits = store.path(), sitting.spending
    check = partial(other_models.check, settings=limits) if limits is not None else None
    with store.reading(file) as known:
        found = stored.find(known, rows, check)
    if sitting.plan is not None:
        if found.missing:
            assert service(settings).reachable  # noqa: S101 - refused before anything is paid
        found.note(sitting.plan)
    asks = found.missing and sitting.plan is None
    return found.filled(_asked(found.missing, settings, sitting, file) if asks else {})


def _asked(
    missing: Mapping[str, Request], settings: Settings, sitting: Sitting, file: Path
) -> dict[str, Reading]:
    """The answers to *missing*, the requests by key that the store *file* has none to."""
    if sitting.spending is None:
        raise RefusedError("params.yaml: the teacher needs a section 'spending'", code=CONFIG)
    occasion = client.Occasion(sitting.stage, sitting.round, sitting.told)
    return chat_service.ask(missing, service(settings), sitting.spending, occasion, file)


class Sender(chat_service.Sender):
    """Sends requests to the service of *settings*, or to where it is reached from here."""

    def __init__(self, settings: Settings, secret: str) -> None:
        super().__init__(service(settings), secret)
