"""Problems of files as people have them, each row read or refused with what is wrong with it."""

import difflib
import json
import re
import unicodedata
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from redistill.console.exceptions import RefusedError
from redistill.problems import choices, files
from redistill.problems.overlap import normalised_question
from redistill.records import spool
from redistill.records.fingerprint import digest
from redistill.records.grouped import twins
from redistill.records.types import Problem

# The names that people give the fields of a problem, in any case and with spaces or hyphens for
# underscores; of several in a row the first one counts.
NAMES: Mapping[str, Sequence[str]] = {
    "id": ("id", "_id", "idx", "uid", "qid", "question_id", "problem_id"),
    "question": ("question", "problem", "query", "prompt", "input", "stem"),
    "answer": ("answer", "answerkey", "answer_key", "gold", "final_answer", "target", "result",
               "correct_answer", "correct", "label", "output"),
    "choices": ("choices", "options"),
    "solution": ("solution", "rationale", "explanation", "reasoning"),
    "source": ("source",),
}  # fmt: skip
FIELDS = frozenset(Problem.model_fields)
OPTIONAL = ("choices", "solution", "source")
MARKER = "####"
SHOWN = 8  # kinds of fault that a message names
MAX_ID = 200
PLAIN = '{"question": "Ann has 3 eggs and buys 4. How many has she?", "answer": "7"}'
LETTERED = '{"question": "Which animal purrs?", "choices": {"A": "dog", "B": "cat"}, "answer": "B"}'


@dataclass(frozen=True)
class Read:
    """The problems of a file, and the fields of its rows that were left out."""

    problems: Sequence[Problem]
    left_out: list[str] = field(default_factory=list)


def read(path: Path) -> Read:
    """
    Read the problems of *path*: JSON lines, an array, CSV or Parquet, with the usual field names.

    An id that is missing is made of the file's name and the question, so that it stays whatever is
    added. An answer with ``####`` is a solution that ends in the answer, as GSM8K has it. Many
    problems lie in a file without a name. Raises RefusedError naming every kind of fault, with its
    places and a right row.
    """
    stat = path.stat() if path.is_file() else None
    return _read_as(path, stat and (stat.st_size, stat.st_mtime_ns))


@lru_cache(maxsize=4)  # a task reads its files for the problems, `left_out` for the rest
def _read_as(path: Path, state: tuple[int, int] | None) -> Read:
    """Read *path* while it is in *state*, its size and time: each state is read once."""
    reading = _Reading(path)
    found = spool.kept(reading.each(), Problem)
    reading.compare(found)
    if reading.faults:
        faults = sorted(reading.faults.items(), key=lambda fault: fault[1][0])
        told = {fault: [place for _, place in places] for fault, places in faults}
        raise RefusedError(_told(told, reading.lettered))
    return Read(found, sorted(reading.left_out))


class _Reading:
    """
    What is found in the rows of a file: the fields left out, and the faults with their places.

    Of each problem the number of its row and the hash of its id stay in memory.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._numbers, self._ids = array("q"), array("q")
        self.faults: dict[str, list[tuple[int, str]]] = {}
        self.left_out: set[str] = set()
        self.lettered = False  # whether a right row is one with choices

    def each(self) -> Iterator[Problem]:
        """Read the problems of the rows that are some; what is wrong with the others is noted."""
        made: Counter[int] = Counter()
        for number, (place, row) in enumerate(files.rows(self._path)):
            try:
                if isinstance(row, RefusedError):
                    raise row
                one = _settled(row) or problem(row, self._path.stem, made)
            except RefusedError as refusal:
                self._fault(number, place, refusal)
                self.lettered |= "choice" in str(refusal) or _offers(row)
                continue
            self._numbers.append(number)
            self._ids.append(hash(unicodedata.normalize("NFC", one.id)))
            if not row.keys() <= FIELDS:
                self.left_out.update(set(row) - _read(row))
            yield one

    def compare(self, found: Sequence[Problem]) -> None:
        """Note each of the problems *found* that has the id of one before it."""
        same = twins(self._ids).tolist()
        rows = {self._numbers[place] for place in same}
        named = enumerate(files.rows(self._path)) if rows else ()
        places = {number: place for number, (place, _) in named if number in rows}
        first: dict[str, str] = {}
        for place in same:
            number, own = self._numbers[place], found[place].id
            twin = first.setdefault(unicodedata.normalize("NFC", own), places[number])
            if twin != places[number]:
                shown = twin.removeprefix(f"{self._path}").lstrip(": ")
                same_id = RefusedError(f'field "id": the same id as {shown} (id="{_short(own)}")')
                self._fault(number, places[number], same_id)

    def _fault(self, number: int, place: str, refusal: RefusedError) -> None:
        told = str(refusal).removeprefix(f"{place}:").strip()
        self.faults.setdefault(told, []).append((number, place))


def problem(row: Mapping[str, Any], stem: str, made: Counter[int]) -> Problem:
    """
    Make the problem that *row* is; RefusedError says which field is wrong, and how.

    *stem* begins an id that has to be made; *made* counts those made so far by the digests of
    their questions, for one that stands twice.
    """
    row = _unnested(row)
    _misspelt(row)
    question = _string(row, "question")
    solution = _optional(row, "solution")
    answer, worked = _answer(row, solution)
    letters: dict[str, str] | None = None
    if given := _choices(row):
        _counted(row, given)
        try:
            letters, answer = choices.settled(given, answer)
        except RefusedError as refusal:
            place = "answer" if "of the choices" in str(refusal) else "choices"
            raise RefusedError(f'field "{place}": {refusal}') from refusal
    without = Problem(
        id="-",
        question=question,
        answer=answer,
        choices=letters,
        solution=worked,
        source=_optional(row, "source") or "",
    )
    return without.model_copy(update={"id": _identity(row, without, stem, made)})


def left_out(paths: Iterable[Path]) -> dict[str, list[str]]:
    """Return the fields that are left out of the files at *paths*, by file."""
    found = {str(path): read(path).left_out for path in dict.fromkeys(paths)}
    return {path: fields for path, fields in found.items() if fields}


def _settled(row: Mapping[str, Any]) -> Problem | None:
    """The problem that *row* is as it stands, None where something is to be read into it."""
    if not row.keys() <= FIELDS or "id" not in row:
        return None
    try:
        found = Problem.model_validate(row)
    except ValidationError:
        return None  # what is wrong, or another form, `problem` says
    letters = found.choices
    lettered = letters is None or (
        found.answer in letters
        and len(letters) <= len(choices.LETTERS)
        and all(len(label) == 1 and label in choices.LETTERS for label in letters)
        and all(text.strip() for text in letters.values())
    )
    whole = found.question.strip() and found.answer.strip() and found.solution != ""
    return found if lettered and whole and MARKER not in found.answer else None


def _told(faults: Mapping[str, Sequence[str]], lettered: bool) -> str:
    lines = []
    for fault, places in [*faults.items()][:SHOWN]:
        more = f" (and in {len(places) - 1} more rows)" if len(places) > 1 else ""
        lines.append(f"{places[0]}: {fault}{more}")
    if len(faults) > SHOWN:
        lines.append(f"and {len(faults) - SHOWN} more faults")
    return f"{'; '.join(lines)}; a right row: {LETTERED if lettered else PLAIN}"


def _key(row: Mapping[str, Any], name: str) -> str | None:
    """The field of *row* that holds *name*, by the first of its names that has a value."""
    there = _named(tuple(row))[name]
    return next((key for key in there if row[key] is not None), there[0] if there else None)


@lru_cache(maxsize=256)
def _named(fields: tuple[str, ...]) -> Mapping[str, Sequence[str]]:
    """Which of *fields* may hold a problem's field, by its name, in the order of NAMES."""
    forms = [(re.sub(r"[\s-]+", "_", one.strip()).casefold(), one) for one in fields]
    return {
        name: [one for known in names for form, one in forms if form == known]
        for name, names in NAMES.items()
    }


def _read(row: Mapping[str, Any]) -> set[str]:
    """The fields of *row* that a problem is made of."""
    nested = {"question"} if isinstance(row.get("question"), Mapping) else set()
    unnested = _unnested(row)
    keys = {key for name in NAMES if (key := _key(unnested, name)) is not None}
    lettered = choices.columns(unnested) if _key(unnested, "choices") is None else {}
    return {*keys, *lettered.values(), *nested}


def _unnested(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """*row* with the stem and the choices of its question beside it: CommonsenseQA nests them."""
    inner = row.get("question")
    if not isinstance(inner, Mapping) or "stem" not in inner:
        return row
    rest = {key: value for key, value in row.items() if key != "question"}
    return rest | {"question": inner["stem"], "choices": inner.get("choices")}


def _misspelt(row: Mapping[str, Any]) -> None:
    """Refuse a field that is all but an optional one: left out, it would be missed too late."""
    known = {key for keys in _named(tuple(row)).values() for key in keys}
    for key in row:
        near = [] if key in known else difflib.get_close_matches(key, OPTIONAL, n=1, cutoff=0.8)
        if near and _key(row, near[0]) is None:
            raise RefusedError(f'field "{_short(key)}": unknown field; did you mean {near[0]!r}?')


def _string(row: Mapping[str, Any], name: str) -> str:
    key = _key(row, name)
    if key is None:
        there = ", ".join(_short(one) for one in [*row][:12]) or "none"
        raise RefusedError(f'field "{name}": missing (fields: {there})')
    value = row[key]
    if not isinstance(value, str):
        raise RefusedError(f'field "{_short(key)}": expected string, got {_kind(value)}')
    if not value.strip():
        raise RefusedError(f'field "{_short(key)}": empty')
    return value


def _optional(row: Mapping[str, Any], name: str) -> str | None:
    key = _key(row, name)
    if key is None or row[key] is None or row[key] == "":
        return None
    return _string(row, name)


def _answer(row: Mapping[str, Any], solution: str | None) -> tuple[str, str | None]:
    """The final answer of *row* and its solution, which may end in the answer or be it whole."""
    key = _key(row, "answer")
    if (key is None or row[key] is None) and solution is not None and MARKER in solution:
        return _marked("solution", solution), solution
    value = row[key] if key is not None else None
    if isinstance(value, bool):
        return "yes" if value else "no", solution
    if isinstance(value, int | float):
        return _number(str(key), value), solution
    answer = _string(row, "answer")
    if MARKER not in answer:
        return answer, solution
    return _marked(str(key), answer), solution or answer.strip()


def _number(key: str, value: float) -> str:
    written = str(value)
    if "n" in written or len(written) > 64:  # nan, inf
        raise RefusedError(f'field "{_short(key)}": {written[:20]} is no answer')
    return written


def _marked(key: str, text: str) -> str:
    after = text.rpartition(MARKER)[2].strip()
    if not after:
        raise RefusedError(f'field "{_short(key)}": nothing stands after {MARKER}')
    thousands = re.fullmatch(r"\d{1,3}(,\d{3})+", after, re.ASCII)  # as GSM8K writes them
    return after.replace(",", "") if thousands else after


def _choices(row: Mapping[str, Any]) -> list[tuple[str | None, str]]:
    key = _key(row, "choices")
    if key is not None and row[key] not in (None, "", [], {}):
        try:
            return choices.read(row[key])
        except RefusedError as refusal:
            raise RefusedError(f'field "{_short(key)}": {refusal}') from refusal
    named = choices.columns(row) if key is None else {}
    cells = [(label, row[name]) for label, name in named.items() if row[name] is not None]
    return [(label, str(text)) for label, text in cells]


def _offers(row: object) -> bool:
    """Whether *row* has choices of any form, right or wrong."""
    return isinstance(row, Mapping) and bool(
        "choices" in _unnested(row) or _key(row, "choices") or choices.columns(row)
    )


def _counted(row: Mapping[str, Any], given: Sequence[tuple[str | None, str]]) -> None:
    """Refuse a number as the answer that is no label: it may count the choices from 0 or from 1."""
    key = _key(row, "answer")
    value = row[key] if key is not None else None
    if isinstance(value, int) and str(value) not in {label for label, _ in given}:
        raise RefusedError(
            f'field "{_short(str(key))}": {value} is no label of a choice, and a count may begin '
            "at 0 or at 1; give the letter by place (A, B, ...) or the text of the right choice"
        )


def _identity(row: Mapping[str, Any], asked: Problem, stem: str, made: Counter[int]) -> str:
    key = _key(row, "id")
    if key is None or row[key] is None:
        own = digest(normalised_question(asked))
        found = f"{stem[: MAX_ID - 40]}-{own}"
        made[int(own, 16)] += 1
        count = made[int(own, 16)]
        return found if count == 1 else f"{found}-{count}"
    value = row[key]
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise RefusedError(f'field "{_short(key)}": expected string, got {_kind(value)}')
    if not 0 < len(value) <= MAX_ID:
        raise RefusedError(f'field "{_short(key)}": {len(value)} characters; 1 to {MAX_ID} may be')
    return value


def _kind(value: object) -> str:
    kinds = {bool: "true or false", int: "number", float: "number", list: "array", dict: "object"}
    return "null" if value is None else kinds.get(type(value), type(value).__name__)


def _short(text: str) -> str:
    return json.dumps(text[:80])[1:-1]
