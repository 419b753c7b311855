"""A chat service of the OpenAI kind: what it is asked, how, and the answers that it is paid for."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

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

ADDRESS = "REDISTILL_BASE_URL"  # where the same service is reached from this machine
WITHHELD = b'{"error": {"message": "the answer has the key in pieces, and is not kept"}}'
BOUNDED = {"temperature": 10, "top_p": 1}  # of the body, the most that a server knows
RESERVED = ("model", "messages", "stream", "n", "seed")  # set by us, or not understood by us


@dataclass(frozen=True)
class Service:
    """
    The service that the section at *place* of params.yaml names, with the body of its requests.

    *here* is the environment variable that says where it is reached from this machine.
    """

    place: str
    base_url: str
    key: str | None
    model: str
    body: Mapping[str, Any]
    headers: Mapping[str, str | Variable]
    query: Mapping[str, str | Variable]
    together: bool = False
    here: str = ADDRESS

    def setting(self, name: str) -> str:
        """Return where the setting *name* of this service stands."""
        return f"{self.place}.{name}"

    @property
    def identity(self) -> str:
        """What answers: the service with its query and its headers, but for secret ones."""
        headers.check(self.headers, self.setting("headers"))
        headers.check_query(self.query, self.setting("query"))
        query, told = headers.plain(self.query), headers.plain(self.headers)
        return address.identity(self.base_url, self.setting("base_url"), query, told)

    @property
    def reachable(self) -> str:
        """The address that calls go to from here."""
        other = os.environ.get(self.here)
        name = self.here if other else self.setting("base_url")
        return address.reachable(other or self.base_url, name)

    def request(
        self, messages: Sequence[Mapping[str, str]], draw: int, problem: str, seed: int | None
    ) -> Request:
        """Build the call with *messages*; raises RefusedError (78) for a body that is none."""
        body = dict(self.body)
        for name in RESERVED:
            if name in body:
                raise RefusedError(f"{self.place}.body: {name} is not set there", code=CONFIG)
        if seed is not None and self.together:
            raise RefusedError(
                f"{self.place}.together: draws that one call asks for have no seeds of their own; "
                f"set {self.place}.seed to null, or together to false",
                code=CONFIG,
            )
        if seed is not None:
            body["seed"] = seed + draw
        return Request(self.identity, self.model, messages, body, draw, problem)

    def check(self, spending: budget.SpendingSettings | None) -> None:
        """Refuse an address, a name of a key or a body with which nothing could be asked."""
        address.service(self.base_url, self.setting("base_url"))
        for name, most in BOUNDED.items():
            value = self.body.get(name)
            if value is not None and (isinstance(value, bool | str) or not _within(value, most)):
                raise RefusedError(
                    f"{self.place}.body.{name}: expected a number from 0 to {most}, got {value!r}",
                    code=CONFIG,
                )
        variable(self.key, self.setting("key"))
        self.request([], 0, "", None)
        if spending is not None:
            budget.check(spending, dict(self.body), what=self.place)

    def ready(self) -> None:
        """Refuse where what a call needs of this machine is missing: a key, or a way there."""
        policy()
        if purchase.manner_at(self.base_url) != "files":
            self.connection(secret_in(self.key, self.setting("key")))

    def connection(self, secret: str, kind: type[Connection] = Connection) -> Connection:
        """Open a connection of *kind* to the service, with *secret* as the key."""
        values = headers.read(self.headers, self.setting("headers"))
        query = headers.read_query(self.query, self.setting("query"))
        hidden = [*headers.hidden(self.headers, values), *headers.hidden(self.query, query)]
        return kind(self.reachable, secret, values, query, hidden)


def ask(
    missing: Mapping[str, Request],
    service: Service,
    limits: budget.SpendingSettings,
    occasion: client.Occasion,
    file: Path,
) -> dict[str, Reading]:
    """
    Have *service* answer *missing*, the requests by key that the store *file* has no answer to.

    They are asked call by call or in batches, as the environment says. Raises RefusedError as
    `client.ask` does.
    """
    requests: Iterable[Request] = missing.values()
    budget.check(limits, dict(service.body), what=service.place)
    lost_store.tell(file, service.place)
    manner = purchase.manner_at(service.base_url)
    with store.writing(file) as writer:
        writer.priced(service.model, limits.prices)
        batches.refuse_held(writer, missing, manner)
    if manner == "files":
        return batches.ask_by_files(requests, limits, occasion, file)
    secret, pace = secret_in(service.key, service.setting("key")), policy()
    if manner is not None:
        connect = partial(service.connection, secret)
        return batch_orders.ask(requests, manner, connect, limits, pace, occasion, file)
    with store.writing(file) as writer:
        batches.refuse_held(writer, missing, manner)  # a batch may have been made since
        sender = Sender(service, secret)
        try:
            return client.ask(
                requests, sender, writer, limits, pace, occasion, together=service.together
            )
        except RefusedError as refusal:
            raise RefusedError(f"{refusal}{sender.advice}", code=refusal.code) from None


class Sender:
    """Sends requests to *service*, or to where it is reached from here."""

    def __init__(self, service: Service, secret: str) -> None:
        self._connection = service.connection(secret)

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


def _within(value: Any, most: float) -> bool:
    return isinstance(value, int | float) and 0 <= value <= most
