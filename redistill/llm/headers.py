"""Headers and query that the settings add to each call: as text, or out of the environment."""

import re
from collections.abc import Iterable, Mapping

from redistill.console.exceptions import CONFIG, RefusedError
from redistill.llm.secret import secret_in
from redistill.settings.bounds import Text
from redistill.settings.sections import Section

NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
# What the connection itself says, and what is said to a proxy
RESERVED = re.compile(
    r"host|connection|content-.*|transfer-encoding|te|trailer|upgrade|expect|accept-encoding"
    r"|keep-alive|proxy-.*",
    re.IGNORECASE,
)
SECRET = re.compile(r"authorization|cookie|.*(?:key|token|secret|password).*", re.IGNORECASE)
QUERY = re.compile(  # what beside that is secret in a query
    r"code|sig|signature|sas|auth|pass|pwd|passwd|.*credential.*", re.IGNORECASE
)
TOLD = re.compile(r"[A-Za-z_-]{1,30}")  # a name that is no key by itself


class Variable(Section):
    """A value that the environment variable *env* holds: a secret, and no part of what is asked."""

    env: Text


Headers = Mapping[str, str | Variable]


def check(headers: Headers, what: str) -> None:
    """Raise RefusedError (78) for one of *headers*, the setting *what*, that cannot be sent."""
    names = [name.lower() for name in headers]
    for name, value in headers.items():
        if not NAME.fullmatch(name) or RESERVED.fullmatch(name):
            raise _refused(f"{what}: {name[:100]!r} is no header that can be set")
        if names.count(name.lower()) > 1:
            raise _refused(f"{what}: {name} is set twice")
        if isinstance(value, str) and SECRET.fullmatch(name):
            raise _refused(
                f"{what}.{name}: put its value into an environment variable, and here the "
                "variable's name: {env: NAME}"
            )
        if isinstance(value, str) and not (value.isascii() and value.isprintable()):
            raise _refused(f"{what}.{name}: holds characters that no header has")


def check_query(query: Headers, what: str) -> None:
    """
    Raise RefusedError (78) where *query*, the setting *what*, holds what is secret as text.

    A name is repeated only where it cannot be a key, put in the wrong place.
    """
    for name, value in query.items():
        if isinstance(value, str) and (SECRET.fullmatch(name) or QUERY.fullmatch(name)):
            told = f"{what}.{name}" if TOLD.fullmatch(name) else f"{what}: a secret"
            raise _refused(
                f"{told}: put its value into an environment variable, and here the variable's "
                "name: {env: NAME}"
            )


def plain(headers: Headers) -> dict[str, str]:
    """Return those of *headers*, or of a query, whose values stand in the settings."""
    return {name: value for name, value in headers.items() if isinstance(value, str)}


def read(headers: Headers, what: str) -> dict[str, str]:
    """Return *headers* with the values of their variables; raises as `secret_in` does."""
    check(headers, what)
    return _values(headers, what)


def read_query(query: Headers, what: str) -> dict[str, str]:
    """Return *query* with the values of its variables; raises as `secret_in` does."""
    check_query(query, what)
    return _values(query, what)


def _values(headers: Headers, what: str) -> dict[str, str]:
    return {
        name: value if isinstance(value, str) else secret_in(value.env, f"{what}.{name}.env")
        for name, value in headers.items()
    }


def hidden(headers: Headers, values: Mapping[str, str]) -> Iterable[str]:
    """Yield what is secret in *values*, of *headers*: as a whole, and word by word."""
    for name, value in headers.items():
        if isinstance(value, Variable):
            yield from {values[name], *values[name].split()}


def _refused(message: str) -> RefusedError:
    return RefusedError(message, code=CONFIG)
