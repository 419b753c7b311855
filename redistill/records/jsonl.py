"""The one reader and writer of the JSONL files that stages pass on."""

import json
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import isinf
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import jsonlines
from pydantic import ValidationError

from redistill.console import drafts
from redistill.console.exceptions import RefusedError
from redistill.records import runs
from redistill.records.types import Record

MAX_LINE = 8 * 1024 * 1024  # bytes; a longer line is no record of ours and would fill the memory
NOTHING = b"\n"  # all of a file without rows: DVC warns of each file that is empty
MAX_DEPTH = 32  # no record nests deeper than 4
MARK = b"\xef\xbb\xbf"  # of bytes in the order of UTF-8, which some editors put before a text


R = TypeVar("R", bound=Record)


def read(path: Path, kind: type[R]) -> list[R]:
    """
    Read every record of *kind* in *path*, or refuse the file naming line and field.

    Lines end at ``\\n`` only. Refused are: bytes that are not UTF-8, NaN and Infinity, repeated
    keys, lone surrogates, lines over 8 MiB, nesting over 32, blank lines, unknown, missing or
    mistyped fields, and ids that are the same after NFC. An empty file has zero records.
    """
    records: list[R] = []
    seen: dict[str, int] = {}
    for number, record in each(path, kind):
        twin = seen.setdefault(unicodedata.normalize("NFC", record.id), number)
        if twin != number:
            _refuse(path, number, "id", f"the same id as line {twin}", record.id)
        records.append(record)
    return records


def each(path: Path, kind: type[R], name: str = "") -> Iterator[tuple[int, R]]:
    """
    Read the records of *path* with their line numbers, one at a time, in whatever order they stand.

    They are as well-formed as those of `read`, but two can have one id. *name* is what a refusal
    calls the file, where *path* is a copy.
    """
    shown = Path(name) if name else path
    for number, line in _lines(path, shown):
        yield number, _parse(shown, number, line, kind)


def placed(path: Path, kind: type[R]) -> Iterator[tuple[int, int, R]]:
    """Read the records of *path* as `each` does, with the bytes at which they begin and end."""
    start = 0
    for number, line in _raw_lines(path, path, MAX_LINE):
        start += len(MARK) if number == 1 and _marked(path) else 0
        yield start, start + len(line), _parse(path, number, _bare(line), kind)
        start += len(line)


def stream(path: Path, kind: type[R], *, by: str = "id", name: str = "") -> Iterator[R]:
    """
    Read *path* as `read` does, one record at a time, in memory that does not grow with it.

    The field *by* has to increase from line to line, as `write` leaves it: a line that repeats the
    value before it, or comes before it, is refused, so no two records share it. Values that are
    the same only after NFC are found where they are neighbours.
    """
    shown = Path(name) if name else path
    last = ""
    for number, record in each(path, kind, name):
        value: str = getattr(record, by)
        if number > 1 and not (last < value and _distinct(last, value)):
            if value < last:
                fault = f"comes before line {number - 1}; sort the file by {by} first"
            else:
                fault = f"the same {by} as line {number - 1}"
            _refuse(shown, number, by, fault, value)
        last = value
        yield record


def matching(path: Path, kind: type[R], by: str, value: str) -> Iterator[R]:
    """
    Read those records of *path* whose field *by* is *value*, in memory that does not grow with it.

    Only lines that may be such records are held to being well-formed.
    """
    written = json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
    for number, line in _lines(path):
        if written in line or b"\\u" in line or b"\\/" in line:  # it may be written so as well
            record = _parse(path, number, line, kind)
            if getattr(record, by) == value:
                yield record


def write(path: Path, records: Iterable[Record]) -> int:
    """
    Write *records* sorted by id, as one atomic replacement of *path*; returns how many there were.

    Keys are sorted and line separators escaped, so equal records give equal bytes. They are not
    all in memory at once.
    """
    with drafts.file(path) as draft, draft.open("w", encoding="utf-8", newline="\n") as file:
        lines = ((record.id, _dumps(record.model_dump())) for record in records)
        count = sum(bool(file.write(f"{line}\n")) for line in runs.in_order(lines, draft.parent))
        if not count:
            file.write(NOTHING.decode())
        return count


def write_all(folder: Path, sets: Mapping[str, Iterable[Record]]) -> None:
    """Write each of *sets* to a file of its name in *folder*, or a file that says there is none."""
    with drafts.folder(folder) as draft:
        for name, records in sets.items():
            write(draft / f"{name}.jsonl", records)
        if not sets:
            (draft / "none.txt").write_bytes(b"There is nothing to have here.\n")


def write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> int:
    """Write plain *rows* in the order given, as `write` does; returns how many there were."""
    with writing(path) as add:
        return sum(add(row) for row in rows)


@contextmanager
def writing(path: Path) -> Iterator[Callable[[dict[str, Any]], bool]]:
    """Write each row that is added, as `write` does; *path* is replaced at the end of the block."""
    with drafts.file(path) as draft, draft.open("w", encoding="utf-8", newline="\n") as file:
        writer = jsonlines.Writer(file, dumps=_dumps)
        yield lambda row: bool(writer.write(row))
        if not file.tell():
            file.write(NOTHING.decode())


def read_rows(
    path: Path, fields: Sequence[str], longest: int = MAX_LINE
) -> Iterator[dict[str, Any]]:
    """Read plain rows of *longest* bytes that have exactly *fields*, as strictly as `read` does."""
    for number, line in _lines(path, longest=longest):
        row = _object(path, number, line)
        for name in fields:
            if name not in row:
                _refuse(path, number, name, "missing")
        for name in row:
            if name not in fields:
                _refuse(path, number, name, "unknown field")
        yield row


def objects(path: Path) -> Iterator[tuple[int, dict[str, Any] | RefusedError]]:
    """
    Read the objects in *path*, a file of others, one a line; in place of a bad one its refusal.

    Lines are held to what `read` holds them to, but for blank ones at the end of the file.
    """
    blank: list[int] = []
    for number, line in _lines(path):
        if not line.strip():
            blank.append(number)
            continue
        for before in blank:
            yield before, RefusedError(f"{path}:{before}: blank line")
        blank = []
        try:
            yield number, _object(path, number, line)
        except RefusedError as refusal:
            yield number, refusal


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


def by_problem(records: Sequence[Any], what: str) -> dict[str, Any]:
    """Index *records* by their problem, refusing two for one problem."""
    index = {record.problem: record for record in records}
    if len(index) != len(records):
        raise RefusedError(f"{what}: {len(records) - len(index)} problems have more than one row")
    return index


def _dumps(row: dict[str, Any]) -> str:
    text = json.dumps(row, sort_keys=True, allow_nan=False, ensure_ascii=False)
    for separator in "\u2028\u2029\u0085":
        text = text.replace(separator, f"\\u{ord(separator):04x}")
    return text


def _distinct(one: str, other: str) -> bool:
    """Whether two texts differ after NFC too; quick where both are ASCII."""
    if one.isascii() and other.isascii():
        return one != other
    return unicodedata.normalize("NFC", one) != unicodedata.normalize("NFC", other)


def _lines(
    path: Path, shown: Path | None = None, longest: int = MAX_LINE
) -> Iterator[tuple[int, bytes]]:
    for number, line in _raw_lines(path, shown or path, longest):
        yield number, _bare(line)


def _bare(line: bytes) -> bytes:
    return line.removesuffix(b"\n").removesuffix(b"\r")


def _marked(path: Path) -> bool:
    """Whether *path* begins with a byte order mark."""
    with path.open("rb") as file:
        return file.read(len(MARK)) == MARK


def _raw_lines(path: Path, shown: Path, longest: int) -> Iterator[tuple[int, bytes]]:
    """The lines of *path* with their ends, without the mark before the first."""
    try:
        file = path.open("rb")
    except OSError as problem:
        raise RefusedError(f"{shown}: cannot be read: {problem.strerror}") from problem
    with file:
        number = 0
        while line := file.readline(longest + 2):
            number += 1
            if len(line.rstrip(b"\r\n")) > longest:
                _refuse(shown, number, None, f"longer than {longest} bytes")
            if number == 1:
                line = line.removeprefix(MARK)
                if not line or (line == NOTHING and not file.peek(1)):
                    return
            yield number, line


def _parse(path: Path, number: int, line: bytes, kind: type[R]) -> R:
    row = _object(path, number, line)
    try:
        return kind.model_validate(row)
    except ValidationError as problem:
        first = problem.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        _refuse(path, number, place, _fault(first), row.get("id"))


def _object(path: Path, number: int, line: bytes) -> dict[str, Any]:
    """The JSON object on a line, with nothing in it that readers disagree on."""
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as problem:
        _refuse(path, number, None, f"not UTF-8 at byte {problem.start}")
    if not text.strip():
        _refuse(path, number, None, "blank line")
    if _depth(text) > MAX_DEPTH:
        _refuse(path, number, None, f"nested deeper than {MAX_DEPTH}")
    try:
        row = _decoded(text)
    except _BadFieldError as problem:
        _refuse(path, number, problem.field, problem.fault)
    except json.JSONDecodeError as problem:
        _refuse(path, number, None, f"not JSON: {problem.msg} at column {problem.colno}")
    except ValueError as problem:
        _refuse(path, number, None, f"not JSON: {problem}".split(";")[0])
    if not isinstance(row, dict):
        _refuse(path, number, None, f"expected an object, got {_name(row)}")
    escaped = "\\u" in text  # what was UTF-8 holds no surrogate but an escaped one
    for key, value in row.items() if escaped else ():
        if _has_surrogate(key) or _has_surrogate(value):
            _refuse(path, number, key, "holds half of a surrogate pair", row.get("id"))
    return row


def _decoded(text: str) -> Any:
    """What *text* holds; only where it is refused is it read again, to name the field."""
    try:
        return _QUICK.decode(text)
    except _BadFieldError:
        _NAMING.decode(text)
        raise


def _fault(error: Any) -> str:
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


def _refuse(
    path: Path, number: int, place: str | None, fault: str, identity: object = None
) -> NoReturn:
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
