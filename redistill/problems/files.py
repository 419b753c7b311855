"""The rows of a file as people have them: JSON lines, an array of JSON, CSV, Parquet."""

import codecs
import csv
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

from redistill.console.exceptions import RefusedError
from redistill.records import jsonl, strict_json

Row = Mapping[str, Any]
Found = tuple[str, Row | RefusedError]  # where it stands in the file, and the row or what is wrong
PACKED = (".gz", ".zip", ".bz2", ".xz", ".zst", ".7z")
SHEETS = (".xlsx", ".xls", ".ods")
BATCH = 1_000  # rows of Parquet that are at hand at a time
CHUNK = 1024 * 1024  # bytes
LFS = b"version https://git-lfs"


def rows(path: Path) -> Iterator[Found]:
    """
    Read the rows of *path* with the place of each, in the format that its name and beginning say.

    Values are as the file has them; those of CSV are strings, and null where a cell is empty.
    Raises RefusedError for a file that is no such file at all.
    """
    kind = path.suffix.lower()
    if kind in (*PACKED, *SHEETS):
        way = "unpack it" if kind in PACKED else "save it as CSV (UTF-8)"
        raise RefusedError(f"{path}: {kind} is not read; {way}, and name what comes out")
    head = _head(path)
    if head.startswith(LFS):
        raise RefusedError(f"{path}: a pointer of git-lfs, not the file; run git lfs pull")
    if kind == ".parquet" or head.startswith(b"PAR1"):
        return _parquet(path)
    if kind in (".csv", ".tsv"):
        return _table(path, "\t" if kind == ".tsv" else None)
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"["):
        return _array(path)
    return _lines(path)


def _head(path: Path) -> bytes:
    if path.exists() and not path.is_file():
        raise RefusedError(f"{path}: a folder or a device; name a file")
    try:
        with path.open("rb") as file:
            return file.read(1024)
    except OSError as problem:
        raise RefusedError(f"{path}: cannot be read: {problem.strerror}") from problem


def _lines(path: Path) -> Iterator[Found]:
    for number, found in jsonl.objects(path):
        yield f"{path}:{number}", found


def _array(path: Path) -> Iterator[Found]:
    for number, row in enumerate(strict_json.document(path), 1):
        place = f"{path}: row {number}"
        good = isinstance(row, dict)
        yield place, row if good else RefusedError(f"{place}: expected an object")


def _parquet(path: Path) -> Iterator[Found]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    numbers = count(1)
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=BATCH):
                for row in batch.to_pylist():
                    yield f"{path}: row {next(numbers)}", row
    except (OSError, ValueError, pa.ArrowException) as problem:
        told = " ".join(str(problem).split())[:200]
        raise RefusedError(f"{path}: not readable as Parquet: {told}") from problem


def _table(path: Path, delimiter: str | None) -> Iterator[Found]:
    """Read a table with a head; semicolons part its cells where the head has no comma."""
    _decodable(path)
    with path.open(encoding="utf-8-sig", newline="") as file:
        first = file.readline(jsonl.MAX_LINE).partition("\n")[0]
        delimiter = delimiter or (";" if ";" in first and "," not in first else ",")
        file.seek(0)
        csv.field_size_limit(jsonl.MAX_LINE)
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        try:
            names = [name.strip() for name in next(reader, [])]
            if len({*names}) != len(names) or "" in names:
                raise RefusedError(f"{path}:1: the head names a column twice, or one has no name")
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    yield f"{path}:{reader.line_num}", _cells(path, reader.line_num, names, cells)
        except csv.Error as problem:
            raise RefusedError(
                f"{path}:{reader.line_num}: not readable as CSV: {problem}"
            ) from problem


def _decodable(path: Path) -> None:
    """Refuse a file that is not UTF-8, naming the first byte that is not."""
    decoder, before = codecs.getincrementaldecoder("utf-8")(), 0
    with path.open("rb") as file:
        while True:
            waiting = len(decoder.getstate()[0])
            part = file.read(CHUNK)
            try:
                decoder.decode(part, final=not part)
            except UnicodeDecodeError as problem:
                raise RefusedError(
                    f"{path}: not UTF-8 at byte {before - waiting + problem.start}; save it as CSV "
                    "(UTF-8)"
                ) from problem
            if not part:
                return
            before += len(part)


def _cells(path: Path, line: int, names: list[str], cells: list[str]) -> Row | RefusedError:
    if len(cells) != len(names):
        return RefusedError(
            f"{path}:{line}: {len(cells)} cells in a table of {len(names)} columns; a cell with a "
            'comma or a line break stands in quotes, "..."'
        )
    return {name: cell or None for name, cell in zip(names, cells, strict=True)}
