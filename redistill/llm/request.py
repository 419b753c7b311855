"""A request to a teacher's model: what can change its answer, and the key it is stored under."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from redistill.console.exceptions import CONFIG, RefusedError

VERSION = "redistill-req-v1\n"
LIMITS = ("max_completion_tokens", "max_tokens")  # the names that servers give the output limit
PER_MESSAGE = 16  # tokens that a chat template may put around a message, generously


@dataclass(frozen=True)
class Request:
    """
    One call: everything that can change the text that comes back, and nothing else.

    *endpoint* is the identity of the server (scheme, host, path), *body* every parameter beside
    model and messages, *draw* tells repeated draws of one prompt apart. *problem* says whom the
    call is for; it is no part of the key.
    """

    endpoint: str
    model: str
    messages: Sequence[Mapping[str, str]]
    body: Mapping[str, Any]
    draw: int = 0
    problem: str = ""

    @cached_property
    def canonical(self) -> str:
        """The request as JSON with sorted keys, in which 1 and 1.0 are the same number."""
        content = {
            "api": "chat.completions",
            "endpoint": self.endpoint,
            "model": self.model,
            "messages": [dict(message) for message in self.messages],
            "body": self.body,
            "draw": self.draw,
        }
        return json.dumps(
            _plain(content), sort_keys=True, ensure_ascii=False, separators=(",", ":")
        )

    @cached_property
    def key(self) -> str:
        """The SHA-256 of the canonical request: equal requests are paid for once."""
        return key_of(self.canonical)

    @property
    def content(self) -> dict[str, Any]:
        """The body of the call, live and in a batch; some servers stream unless told not to."""
        messages = list(self.messages)
        return {"model": self.model, "messages": messages, "stream": False, **self.body}

    @property
    def max_output(self) -> int | None:
        """The most tokens that the answer may have, None where the body sets no limit."""
        found = [self.body[name] for name in LIMITS if isinstance(self.body.get(name), int)]
        return max(found, default=None)

    @property
    def max_input(self) -> int:
        """
        An upper bound of the prompt's tokens: its bytes in UTF-8, and some for each message.

        No tokenizer makes more tokens than there are bytes.
        """
        return sum(
            PER_MESSAGE + len(text.encode("utf-8"))
            for message in self.messages
            for text in message.values()
        )


def key_of(canonical: str) -> str:
    """Compute the key of the request whose canonical JSON is *canonical*."""
    return hashlib.sha256((VERSION + canonical).encode()).hexdigest()


def of_canonical(text: str, problem: str = "") -> Request:
    """Make the request whose canonical JSON is *text*."""
    content = json.loads(text)
    return Request(
        endpoint=content["endpoint"],
        model=content["model"],
        messages=content["messages"],
        body=content["body"],
        draw=content["draw"],
        problem=problem,
    )


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float):
        if math.isfinite(value):
            return int(value) if value.is_integer() else value
    elif value is None or isinstance(value, str | int):
        return value
    raise RefusedError(
        f"a request cannot hold {value!r}; mend the body that is sent to the model", code=CONFIG
    )
