"""Any OpenAI-compatible chat endpoint as the teacher, every answer stored and paid for once."""

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import Field

from redistill.console.exceptions import CONFIG, RefusedError
from redistill.llm import (
    address,
    batch_orders,
    batches,
    budget,
    choices,
    client,
    headers,
    lost_store,
    other_models,
    purchase,
    response,
    store,
)
from redistill.llm.connection import Connection
from redistill.llm.endpoint import Raw, policy
from redistill.llm.headers import Variable
from redistill.llm.request import Request
from redistill.llm.response import Reading
from redistill.llm.secret import secret_in, variable
from redistill.rationales import prompt as rationales_prompt
from redistill.rationales import stored
from redistill.rationales.teacher import Reply, Sitting
from redistill.rationales.teacher import Request as Refinement
from redistill.records.types import Problem
from redistill.settings.bounds import Seed, Text
from redistill.settings.sections import Section

ASKS = PAID = True
URL, KEY = "openai.base_url", "openai.key"
HEADERS, QUERY = "openai.headers", "openai.query"
ADDRESS = "REDISTILL_BASE_URL"  # where the same service is reached from this machine
WITHHELD = b'{"error": {"message": "the answer has the key in pieces, and is not kept"}}'
BOUNDED = {"temperature": 10, "top_p": 1}  # of the body, the most that a server knows
RESERVED = ("model", "messages", "stream", "n", "seed")  # set by us, or not understood by us


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


def check(settings: Settings, spending: budget.SpendingSettings | None) -> None:
    """Refuse an address, a name of a key or a body with which nothing could be asked."""
    address.service(settings.base_url, URL)
    for name, most in BOUNDED.items():
        value = settings.body.get(name)
        if value is not None and (isinstance(value, bool | str) or not _within(value, most)):
            raise RefusedError(
                f"openai.body.{name}: expected a number from 0 to {most}, got {value!r}",
                code=CONFIG,
            )
    variable(settings.key, KEY)
    _request("", settings, 0, "")
    if spending is not None:
        budget.check(spending, settings.body, what="openai")


def _within(value: Any, most: float) -> bool:
    return isinstance(value, int | float) and 0 <= value <= most


def ready(settings: Settings) -> None:
    """Refuse where what a call needs of this machine is missing: a key, or a way to the service."""
    policy()
    if purchase.manner_at(settings.base_url) != "files":
        _connection(settings, secret_in(settings.key, KEY))


def _request(prompt: str, settings: Settings, draw: int, problem: str) -> Request:
    messages = [{"role": "system", "content": settings.system}] if settings.system else []
    for example in settings.examples:
        messages.append({"role": "user", "content": example.user})
        messages.append({"role": "assistant", "content": example.assistant})
    messages.append({"role": "user", "content": prompt})
    body = dict(settings.body)
    for name in RESERVED:
        if name in body:
            raise RefusedError(f"openai.body: {name} is not set there", code=CONFIG)
    if settings.seed is not None and settings.together:
        raise RefusedError(
            "openai.together: draws that one call asks for have no seeds of their own; set "
            "openai.seed to null, or together to false",
            code=CONFIG,
        )
    if settings.seed is not None:
        body["seed"] = settings.seed + draw
    return Request(_identity(settings), settings.model, messages, body, draw, problem)


def _identity(settings: Settings) -> str:
    """What answers: the service with its query and its headers, but for those that are secret."""
    headers.check(settings.headers, HEADERS)
    headers.check_query(settings.query, QUERY)
    query, told = headers.plain(settings.query), headers.plain(settings.headers)
    return address.identity(settings.base_url, URL, query, told)


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
            _reachable(settings)  # before anything is paid
        found.note(sitting.plan)
    asks = found.missing and sitting.plan is None
    return found.filled(_asked(found.missing, settings, sitting, file) if asks else {})


def _asked(
    missing: Mapping[str, Request], settings: Settings, sitting: Sitting, file: Path
) -> dict[str, Reading]:
    """The answers to *missing*, the requests by key that the store *file* has none to."""
    limits, requests = sitting.spending, missing.values()
    if limits is None:
        raise RefusedError("params.yaml: the teacher needs a section 'spending'", code=CONFIG)
    budget.check(limits, settings.body, what="openai")
    occasion = client.Occasion(sitting.stage, sitting.round, sitting.told)
    lost_store.tell(file, "openai")
    manner = purchase.manner_at(settings.base_url)
    with store.writing(file) as writer:
        writer.priced(settings.model, limits.prices)
        batches.refuse_held(writer, missing, manner)
    if manner == "files":
        return batches.ask_by_files(requests, limits, occasion, file)
    secret, pace = secret_in(settings.key, KEY), policy()
    if manner is not None:
        connect = partial(_connection, settings, secret)
        return batch_orders.ask(requests, manner, connect, limits, pace, occasion, file)
    with store.writing(file) as writer:
        batches.refuse_held(writer, missing, manner)  # a batch may have been made since
        sender = Sender(settings, secret)
        try:
            return client.ask(
                requests, sender, writer, limits, pace, occasion, together=settings.together
            )
        except RefusedError as refusal:
            raise RefusedError(f"{refusal}{sender.advice}", code=refusal.code) from None


def _reachable(settings: Settings) -> str:
    """The address that calls go to from here."""
    here = os.environ.get(ADDRESS)
    return address.reachable(here or settings.base_url, ADDRESS if here else URL)


def _connection(settings: Settings, secret: str, kind: type[Connection] = Connection) -> Connection:
    values = headers.read(settings.headers, HEADERS)
    query = headers.read_query(settings.query, QUERY)
    hidden = [*headers.hidden(settings.headers, values), *headers.hidden(settings.query, query)]
    return kind(_reachable(settings), secret, values, query, hidden)


class Sender:
    """Sends requests to the service of *settings*, or to where it is reached from here."""

    def __init__(self, settings: Settings, secret: str) -> None:
        self._connection = _connection(settings, secret)

    @property
    def advice(self) -> str:
        """What is likely wrong with the address, after a semicolon; empty where nothing is."""
        return self._connection.advice

    async def __call__(self, request: Request) -> Raw:
        """Send *request*; raises TimeoutError, or OSError where there is no connection."""
        raw = await self._connection.post("/chat/completions", request.content)
        for part in choices.divided(raw, int(request.body.get("n", 1))):
            if part is not None and self._joins_a_secret(part):
                return Raw(raw.status, WITHHELD, raw.retry_after)
        return raw

    def _joins_a_secret(self, raw: Raw) -> bool:
        """Whether *raw* has a secret in pieces, which are one only in the text that is read."""
        found = response.read(raw.status, raw.body)
        texts = (found.text, found.detail, found.model or "")
        return any(self._connection.redaction.text(text) != text for text in texts)

    async def close(self) -> None:
        """Let go of the connections."""
        await self._connection.close()
