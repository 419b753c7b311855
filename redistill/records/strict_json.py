"""Values of JSON, read so strictly that no two readers disagree on what they hold."""

import json
from math import isinf
from pathlib import Path
from typing import Any, NoReturn

from redistill.console.exceptions import RefusedError

MAX_DEPTH = 32  # no record nests deeper than 4


def line_object(path: Path, number: int, line: bytes) -> dict[str, Any]:
    """Read the object on a *line* of *path*; raises RefusedError (65) with line and field."""
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as problem:
        refuse(path, number, None, f"not UTF-8 at byte {problem.start}")
    if not text.strip():
        refuse(path, number, None, "blank line")
    if _depth(text) > MAX_DEPTH:
        refuse(path, number, None, f"nested deeper than {MAX_DEPTH}")
    try:
        row = _decoded(text)
    except _BadFieldError as problem:
        refuse(path, number, problem.field, problem.fault)
    except json.JSONDecodeError as problem:
        refuse(path, number, None, f"not JSON: {problem.msg} at column {problem.colno}")
    except ValueError as problem:
        refuse(path, number, None, f"not JSON: {problem}".split(";")[0])
    if not isinstance(row, dict):
        refuse(path, number, None, f"expected an object, got {_name(row)}")
    escaped = "\\u" in text  # what was UTF-8 holds no surrogate but an escaped one
    for key, value in row.items() if escaped else ():
        if _has_surrogate(key) or _has_surrogate(value):
            refuse(path, number, key, "holds half of a surrogate pair", row.get("id"))
    return row


def document(path: Path) -> Any:
    """Read *path* as one value of JSON, as strictly as a line; refuses it naming the place."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as problem:
        raise RefusedError(f"{path}: cannot be read: {problem.strerror}") from problem
    except UnicodeDecodeError as problem:
        raise RefusedError(f"{path}: not UTF-8 at byte {problem.start}") from problem
    if _depth(text) > MAX_DEPTH:
        raise RefusedError(f"{path}: nested deeper than {MAX_DEPTH}")
    try:
        found = _decoded(text)
    except _BadFieldError as problem:
        raise RefusedError(f'{path}: field "{problem.field}": {problem.fault}') from problem
    except json.JSONDecodeError as problem:
        where = f"line {problem.lineno} column {problem.colno}"
        raise RefusedError(f"{path}: not JSON: {problem.msg} at {where}") from problem
    except ValueError as problem:
        raise RefusedError(f"{path}: not JSON: {problem}".split(";")[0]) from problem
    if "\\u" in text and _has_surrogate(found):
        raise RefusedError(f"{path}: holds half of a surrogate pair")
    return found


def _decoded(text: str) -> Any:
    """What *text* holds; only where it is refused is it read again, to name the field."""
    try:
        return _QUICK.decode(text)
    except _BadFieldError:
        _NAMING.decode(text)
        raise


def fault_of(error: Any) -> str:
    """Say in few words what pydantic found: *error* is one of its errors."""
    match error["type"]:
        case "missing":
            return "missing"
        case "extra_forbidden":
            return "unknown field"
        case "string_type":
            return f"expected string, got {_name(error['input'])}"
        case "string_too_short":
            return "empty"
        case _:
            return f"{error['msg'][0].lower()}{error['msg'][1:]}, got {_name(error['input'])}"


def refuse(
    path: Path, number: int, place: str | None, fault: str, identity: object = None
) -> NoReturn:
    """Refuse the line *number* of *path* for its *fault*, with the field at *place* and the id."""
    where = f' field "{_shown(place)}":' if place is not None else ""
    who = f' (id="{_shown(identity)}")' if isinstance(identity, str) else ""
    raise RefusedError(f"{path}:{number}:{where} {fault}{who}")


def _shown(text: str) -> str:
    return text[:80].encode("unicode_escape").decode("ascii")


def _name(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    kinds: dict[type, str] = {
        str: "string", int: "number", float: "number", list: "array", dict: "object"
    }  # fmt: skip
    return kinds.get(type(value), type(value).__name__)


class _BadFieldError(ValueError):
    def __init__(self, field: str | None, fault: str) -> None:
        super().__init__(fault)
        self.field = field
        self.fault = fault


def _no_constant(name: str) -> NoReturn:
    raise _BadFieldError(None, f"{name} is not JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) != len(pairs):
        raise _BadFieldError(None, TWICE)
    return row


def _finite(text: str) -> float:
    value = float(text)
    if isinf(value):
        raise _BadFieldError(None, BEYOND)
    return value


def _naming(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for key, value in pairs:
        if key in row:
            raise _BadFieldError(key, TWICE)
        if isinstance(value, float) and isinf(value):
            raise _BadFieldError(key, BEYOND)
        row[key] = value
    return row


TWICE, BEYOND = "given twice", "a number beyond the range of a double"
_QUICK = json.JSONDecoder(
    object_pairs_hook=_unique, parse_float=_finite, parse_constant=_no_constant
)
_NAMING = json.JSONDecoder(object_pairs_hook=_naming, parse_constant=_no_constant)


def _depth(text: str) -> int:
    """How deep brackets nest in *text*, brackets inside strings counted out."""
    deepest = depth = 0
    in_string = escaped = False
    for character in text if text.count("[") + text.count("{") > MAX_DEPTH else "":
        if in_string:
            in_string = escaped or character != '"'
            escaped = character == "\\" and not escaped
        elif character == '"':
            in_string = True
        elif character in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "]}":
            depth -= 1
    return deepest


def _has_surrogate(value: object) -> bool:
    if isinstance(value, str):
        return any("\ud800" <= character <= "\udfff" for character in value)
    if isinstance(value, dict):
        return any(_has_surrogate(k) or _has_surrogate(v) for k, v in value.items())
    if isinstance(value, list):
        return any(_has_surrogate(item) for item in value)
    return False
