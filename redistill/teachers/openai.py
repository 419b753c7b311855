"""Any OpenAI-compatible chat endpoint as the teacher, every answer stored and paid for once."""

import ipaddress
import os
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from redistill import calling, prompting, responses, spending, store
from redistill.params import Section
from redistill.records import Problem
from redistill.refusals import CONFIG, PERMISSION, RefusedError
from redistill.requesting import Request
from redistill.responses import Reading
from redistill.teaching import Reply, Sitting
from redistill.teaching import Request as Refinement

ASKS = PAID = True
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
MAX_DIGITS = 8  # in the name of a variable; a key has more
MIN_SECRET = 12  # characters; a shorter key is a dummy, and masking it would change texts
ADDRESS = "REDISTILL_BASE_URL"  # where the same service is reached from this machine
RESERVED = ("model", "messages", "stream", "n", "seed")  # set by us, or not understood by us


class Example(Section):
    """A question and its answer as turns before the prompt, for a model that learns by examples."""

    user: str
    assistant: str


class Settings(Section):
    """
    Section ``openai``: the service, the model, and the request's body beside model and messages.

    *examples* are turns that stand between the system prompt and the prompt, in every call.
    *key* is the name of the environment variable that holds the key, null where none is needed.
    *seed* is sent, increased by the number of the draw, where it is not null.
    """

    base_url: str
    key: str | None
    model: str
    system: str | None
    examples: list[Example]
    seed: int | None
    body: dict[str, Any]


def explain(problems: Sequence[Problem], settings: Settings, sitting: Sitting) -> list[list[Reply]]:
    """Ask for the first rationale of each problem; raises RefusedError as `calling.ask` does."""
    rows = [
        [explanation(p, settings, sitting.prompts, draw) for draw in sitting.draws]
        for p in problems
    ]
    return _replies(rows, settings, sitting)


def refine(
    requests: Sequence[Refinement], settings: Settings, sitting: Sitting
) -> list[list[Reply]]:
    """Ask for a better rationale of each request; raises RefusedError as `calling.ask` does."""
    rows = [
        [refinement(r, settings, sitting.prompts, draw) for draw in sitting.draws] for r in requests
    ]
    return _replies(rows, settings, sitting)


def explanation(problem: Problem, settings: Settings, prompts: str, draw: int) -> Request:
    """The call that asks for the first rationale of *problem*."""
    return _request(prompting.explain(problem, prompts), settings, draw, problem.id)


def refinement(request: Refinement, settings: Settings, prompts: str, draw: int) -> Request:
    """The call that asks for a better rationale."""
    return _request(prompting.refine(request, prompts), settings, draw, request.problem.id)


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
    if settings.seed is not None:
        body["seed"] = settings.seed + draw
    endpoint = _endpoint(settings.base_url)
    return Request(endpoint, settings.model, messages, body, draw, problem)


def _replies(
    rows: Sequence[Sequence[Request]], settings: Settings, sitting: Sitting
) -> list[list[Reply]]:
    readings = _readings([request for row in rows for request in row], settings, sitting)
    return [[prompting.reply(readings[r.key], r) for r in row if r.key in readings] for row in rows]


def _readings(
    requests: Sequence[Request], settings: Settings, sitting: Sitting
) -> dict[str, Reading]:
    """The answers to *requests*: without key, budget or network where the store has them all."""
    file = store.path()
    with store.reading(file) as known:
        stored = known.answers(request.key for request in requests)
    missing = {request.key: request for request in requests if request.key not in stored}
    if sitting.plan is not None:
        sitting.plan.cached += len(stored)
        sitting.plan.new += missing.values()
    if sitting.plan is not None or not missing:
        readings = {key: responses.read(a.status, a.body) for key, a in stored.items()}
        if sitting.spending is not None:
            calling.check_models({r.key: r for r in requests}, readings, sitting.spending)
        return readings
    limits = sitting.spending
    if limits is None:
        raise RefusedError("params.yaml: the teacher needs a section 'spending'", code=CONFIG)
    spending.check(limits, settings.body, what="openai")
    occasion = calling.Occasion(sitting.stage, sitting.round)
    secret = _secret(settings.key)
    with store.writing(file) as writer:
        writer.priced(settings.model, limits.prices)
        return calling.ask(
            requests, Sender(settings, secret), writer, limits, calling.policy(), occasion
        )


def _secret(name: str | None) -> str:
    if name is None:
        return ""
    if not VARIABLE.fullmatch(name) or sum(c.isdigit() for c in name) > MAX_DIGITS:
        raise RefusedError(
            "openai.key: expected the name of an environment variable, such as OPENAI_API_KEY; the "
            "key itself belongs into that variable, never into a file",
            code=CONFIG,
        )
    value = os.environ.get(name, "")
    if (value.strip() and not value.strip().isascii()) or not value.strip().isprintable():
        raise RefusedError(f"{name}: holds characters that no key has", code=PERMISSION)
    if not value.strip():
        raise RefusedError(
            f"openai.key: the environment variable {name} is not set; set it to your key, or "
            "openai.key to null where the server needs none",
            code=PERMISSION,
        )
    return value.strip()


def _endpoint(address: str) -> str:
    """
    The identity of the service at *address*: scheme, host and path.

    Refused are an address with user, password or query, and plain http beyond this machine.
    """
    try:
        parts = urlsplit(address)
        well_formed = bool(parts.hostname) and parts.port != 0 and address.isprintable()
    except ValueError:
        well_formed = False
    if not well_formed:
        raise RefusedError(f"openai.base_url: {address!r} is no http(s) address", code=CONFIG)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise RefusedError(f"openai.base_url: {address!r} is no http(s) address", code=CONFIG)
    if parts.username or parts.password or parts.query or parts.fragment:
        raise RefusedError(
            "openai.base_url: may hold no user, password, query or fragment; a key belongs into "
            "the environment variable that openai.key names",
            code=CONFIG,
        )
    if parts.scheme == "http" and not _loopback(parts.hostname):
        raise RefusedError(
            f"openai.base_url: plain http to {parts.hostname} would send key and data in the "
            "clear; use https, or a tunnel to this machine",
            code=CONFIG,
        )
    return f"{parts.scheme}://{parts.netloc.lower()}{parts.path.rstrip('/')}"


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Sender:
    """Sends requests through the openai SDK, which neither retries, redirects nor parses."""

    def __init__(self, settings: Settings, secret: str) -> None:
        import httpx2
        import openai

        address = _endpoint(os.environ.get(ADDRESS) or settings.base_url)
        self._sdk = openai
        self._raw = httpx2.Response
        self._secret = secret.encode()
        self._client: Any = openai.AsyncOpenAI(
            base_url=address,
            api_key=secret or "none",
            max_retries=0,
            timeout=calling.policy().deadline,
            http_client=openai.DefaultAioHttpClient(follow_redirects=False),
        )

    async def __call__(self, request: Request) -> calling.Raw:
        """Send *request*; raises TimeoutError, or OSError where there is no connection."""
        content = {"model": request.model, "messages": request.messages, **request.body}
        try:
            response = await self._client.post("/chat/completions", body=content, cast_to=self._raw)
        except self._sdk.APIStatusError as problem:
            response = problem.response
        except self._sdk.APIConnectionError as problem:  # a timeout is one of them
            cause = problem.__cause__ or problem
            lost = (
                type(cause).__name__ == "ConnectTimeout"
            )  # what aiohttp's lost connections become
            if isinstance(problem, self._sdk.APITimeoutError) and not lost:
                raise TimeoutError from None
            raise ConnectionError(str(cause)) from None
        except Exception as problem:  # a header or a line that the libraries below cannot read
            told = f"an answer that cannot be read: {type(problem).__name__}"
            raise ConnectionError(told) from None
        body = response.content
        if len(self._secret) >= MIN_SECRET:
            body = body.replace(self._secret, b"[key]")
        return calling.Raw(response.status_code, body, response.headers.get("retry-after"))

    async def close(self) -> None:
        """Let go of the connections."""
        await self._client.close()
