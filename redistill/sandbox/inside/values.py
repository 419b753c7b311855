"""Plain data on its way between two processes that do not trust each other: as tagged JSON."""

import json
from typing import Any

DEPTH = 50  # of values in values
LONGEST = 4 * 1024 * 1024  # bytes of a line
PLAIN = (list, tuple, set, frozenset)


class NotPlainError(TypeError):
    """A value that is no plain data: an object of a class, a function, a generator."""


def line(content: dict[str, Any]) -> bytes:
    """Write *content*, whose values are encoded, as a line."""
    return json.dumps(content).encode() + b"\n"


def encode(value: Any, depth: int = 0) -> Any:
    """
    Write *value* as JSON that tells its exact type.

    >>> decode(encode([1, (2.5, None), {"a": {True}}, b"x", 10**400])) == [
    ...     1, (2.5, None), {"a": {True}}, b"x", 10**400
    ... ]
    True
    """
    if depth > DEPTH:
        raise NotPlainError(f"values nested deeper than {DEPTH}")
    kind = type(value)
    if value is None or kind in (bool, str):
        return {"plain": value}
    if kind is int:
        return {"int": hex(value)}
    if kind is float:
        return {"float": value.hex()}
    if kind is complex:
        return {"complex": [value.real.hex(), value.imag.hex()]}
    if kind is bytes:
        return {"bytes": value.hex()}
    if kind in PLAIN:
        return {kind.__name__: [encode(inner, depth + 1) for inner in value]}
    if kind is dict:
        pairs = value.items()
        return {"dict": [[encode(k, depth + 1), encode(v, depth + 1)] for k, v in pairs]}
    raise NotPlainError(f"a {kind.__name__[:40]} is no plain data")


def decode(content: Any) -> Any:
    """Read what `encode` wrote; raises ValueError for anything else."""
    if type(content) is not dict or len(content) != 1:
        raise ValueError("not a value")
    ((kind, inner),) = content.items()
    if kind == "plain" and (inner is None or type(inner) in (bool, str)):
        return inner
    if kind == "int":
        return int(_text(inner), 16)
    if kind == "float":
        return float.fromhex(_text(inner))
    if kind == "complex":
        return complex(*(float.fromhex(_text(part)) for part in _listed(inner)))
    if kind == "bytes":
        return bytes.fromhex(_text(inner))
    if kind == "dict":
        return {decode(key): decode(value) for key, value in map(_listed, _listed(inner))}
    for made in PLAIN:
        if kind == made.__name__:
            return made(decode(part) for part in _listed(inner))
    raise ValueError("not a value")


def renew(old: Any, new: Any) -> None:
    """Make *old*, an argument, what the function left it as: *new*, where it can be changed."""
    if type(old) is not type(new):
        return
    if type(old) is list:
        old[:] = new
    elif type(old) in (dict, set):
        old.clear()
        old.update(new)


def _text(value: Any) -> str:
    if type(value) is not str:
        raise ValueError("not a text")
    return value


def _listed(value: Any) -> list[Any]:
    if type(value) is not list:
        raise ValueError("not a list")
    return value
