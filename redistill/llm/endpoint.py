"""How an endpoint is reached: its address, its key, the pace of calls, and one connection."""

import email.utils
import ipaddress
import math
import os
import random
import re
import time
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from redistill.console.exceptions import CONFIG, PERMISSION, RefusedError

VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
MAX_DIGITS = 8  # in the name of a variable; a key has more
MIN_SECRET = 12  # characters; a shorter key is a dummy, and masking it would change texts


@dataclass(frozen=True)
class Policy:
    """
    How calls are made; it decides nothing about what is asked.

    *rate* is in calls a minute, *deadline* the seconds that one call may take in all, *attempts*
    how often it is tried, *backoff* the first wait in seconds, doubled each time up to *cap*,
    which holds for a server's Retry-After as well.
    """

    concurrency: int = 8
    rate: float | None = None
    deadline: float = 120.0
    attempts: int = 5
    backoff: float = 0.5
    cap: float = 60.0

    @property
    def drain(self) -> float:
        """Seconds that a stopped run waits for the calls in flight: each ends by its deadline."""
        return self.deadline + 5.0


@dataclass(frozen=True)
class Raw:
    """An HTTP answer as it came."""

    status: int
    body: bytes
    retry_after: str | None = None


def policy() -> Policy:
    """Read the policy that the environment asks for, see README; raises RefusedError (78)."""
    standard = Policy()
    rate = number("REDISTILL_RATE", 0.0)
    return Policy(
        concurrency=max(1, int(number("REDISTILL_CONCURRENCY", standard.concurrency))),
        rate=rate or None,
        deadline=number("REDISTILL_DEADLINE", standard.deadline),
        attempts=max(1, int(number("REDISTILL_ATTEMPTS", standard.attempts))),
        backoff=number("REDISTILL_BACKOFF", standard.backoff),
    )


def wait(retry_after: str | None, attempt: int, policy: Policy) -> float:
    """
    Choose the seconds until the next attempt.

    They are what the server asks for, else a jittered back-off.
    """
    wait = _seconds(retry_after) if retry_after else None
    if wait is not None:
        return min(wait, policy.cap)
    most = min(policy.cap, policy.backoff * 2**attempt)
    return random.uniform(most / 2, most)  # noqa: S311 - a wait, no secret


def _seconds(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        parsed = email.utils.parsedate_tz(text)
        if parsed is None:
            return None
        try:
            value = email.utils.mktime_tz(parsed) - time.time()
        except (ValueError, OverflowError):
            return None
    return value if math.isfinite(value) and value >= 0 else None


def number(name: str, otherwise: float) -> float:
    """
    Read the number in the environment variable *name*.

    Raises RefusedError (78) for other text.
    """
    text = os.environ.get(name)
    if not text:
        return otherwise
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < 1e9:
        raise RefusedError(f"{name}: expected a number above 0, got {text!r}", code=CONFIG)
    return value


def secret(name: str | None, what: str) -> str:
    """Read the key in the environment variable called *name*, which the setting *what* names."""
    if name is None:
        return ""
    if not VARIABLE.fullmatch(name) or sum(c.isdigit() for c in name) > MAX_DIGITS:
        raise RefusedError(
            f"{what}: expected the name of an environment variable, such as OPENAI_API_KEY; the "
            "key itself belongs into that variable, never into a file",
            code=CONFIG,
        )
    value = os.environ.get(name, "")
    if (value.strip() and not value.strip().isascii()) or not value.strip().isprintable():
        raise RefusedError(f"{name}: holds characters that no key has", code=PERMISSION)
    if not value.strip():
        raise RefusedError(
            f"{what}: the environment variable {name} is not set; set it to your key, or "
            f"{what} to null where the server needs none",
            code=PERMISSION,
        )
    return value.strip()


def endpoint(address: str, what: str) -> str:
    """
    Return the identity of the service at *address*, the setting *what*: scheme, host and path.

    Refused are an address with user, password or query, and plain http beyond this machine.
    """
    try:
        parts = urlsplit(address)
        well_formed = bool(parts.hostname) and parts.port != 0 and address.isprintable()
    except ValueError:
        well_formed = False
    if not well_formed:
        raise RefusedError(f"{what}: {address!r} is no http(s) address", code=CONFIG)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise RefusedError(f"{what}: {address!r} is no http(s) address", code=CONFIG)
    if parts.username or parts.password or parts.query or parts.fragment:
        raise RefusedError(
            f"{what}: may hold no user, password, query or fragment; a key belongs into an "
            "environment variable of its own",
            code=CONFIG,
        )
    if parts.scheme == "http" and not _loopback(parts.hostname):
        raise RefusedError(
            f"{what}: plain http to {parts.hostname} would send key and data in the "
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


class Connection:
    """Carries requests through the openai SDK, which neither retries, redirects nor parses."""

    def __init__(self, address: str, secret: str) -> None:
        import httpx2
        import openai

        self._sdk = openai
        self._raw = httpx2.Response
        self._secret = secret.encode()
        self._client: Any = openai.AsyncOpenAI(
            base_url=address,
            api_key=secret or "none",
            max_retries=0,
            timeout=policy().deadline,
            http_client=openai.DefaultAioHttpClient(follow_redirects=False),
        )

    async def post(self, path: str, content: Mapping[str, Any]) -> Raw:
        """Send *content*; raises TimeoutError, or OSError where there is no connection."""
        return await self._raw_of(self._client.post(path, body=content, cast_to=self._raw))

    async def get(self, path: str) -> Raw:
        """Fetch what is at *path*; raises as `post` does."""
        return await self._raw_of(self._client.get(path, cast_to=self._raw))

    async def upload(self, path: str, name: str, content: bytes, **fields: str) -> Raw:
        """Send *content* as a file called *name*, with form *fields*; raises as `post` does."""
        call = self._client.post(
            path,
            body=fields,
            files=[("file", (name, content, "application/jsonl"))],
            options={"headers": {"Content-Type": "multipart/form-data"}},
            cast_to=self._raw,
        )
        return await self._raw_of(call)

    async def _raw_of(self, call: Awaitable[Any]) -> Raw:
        try:
            response = await call
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
        return Raw(response.status_code, body, response.headers.get("retry-after"))

    async def close(self) -> None:
        """Let go of the connections."""
        await self._client.close()
