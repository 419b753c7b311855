"""The one reader and writer of the JSONL files that stages pass on."""

import json
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import jsonlines
from pydantic import ValidationError

from redistill.console import drafts
from redistill.console.exceptions import RefusedError
from redistill.records import runs, strict_json
from redistill.records.types import Record

MAX_LINE = 8 * 1024 * 1024  # bytes; a longer line is no record of ours and would fill the memory
NOTHING = b"\n"  # all of a file without rows: DVC warns of each file that is empty
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
            strict_json.refuse(path, number, "id", f"the same id as line {twin}", record.id)
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
            strict_json.refuse(shown, number, by, fault, value)
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
        row = strict_json.line_object(path, number, line)
        for name in fields:
            if name not in row:
                strict_json.refuse(path, number, name, "missing")
        for name in row:
            if name not in fields:
                strict_json.refuse(path, number, name, "unknown field")
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
            yield number, strict_json.line_object(path, number, line)
        except RefusedError as refusal:
            yield number, refusal


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
                strict_json.refuse(shown, number, None, f"longer than {longest} bytes")
            if number == 1:
                line = line.removeprefix(MARK)
                if not line or (line == NOTHING and not file.peek(1)):
                    return
            yield number, line


def _parse(path: Path, number: int, line: bytes, kind: type[R]) -> R:
    row = strict_json.line_object(path, number, line)
    try:
        return kind.model_validate(row)
    except ValidationError as problem:
        first = problem.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        strict_json.refuse(path, number, place, strict_json.fault_of(first), row.get("id"))
