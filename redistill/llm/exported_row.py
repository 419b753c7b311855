"""A row of an export, which anybody may have written, held to what a store writes."""

import base64
import json
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from redistill.console.exceptions import RefusedError
from redistill.llm import attempt_row, batch_row, response, settlement
from redistill.llm.budget import Prices
from redistill.llm.endpoint import Raw, most_of_a_body
from redistill.llm.request import Request, key_of, of_canonical
from redistill.llm.response import FINAL, Outcome, Reading
from redistill.llm.store import Result

MAX_BODY = 64 * 1024 * 1024  # bytes, where REDISTILL_MAX_BODY does not let answers have more
MAX_COUNT = 10**9  # tokens of one attempt
MAX_NANO = 10**15  # a million of the currency for one call; sums of such fit 64 bits
UNPRICED = Prices(input=None, output=None, batch=None)
BARE = (  # what an attempt that has not ended does not have
    "outcome", "status", "finish_reason", "returned_model", "body", "checksum", "seconds",
)  # fmt: skip

Hash = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Name = Annotated[str, Field(pattern="^[a-z0-9][a-z0-9._-]{0,63}$")]
Text = Annotated[str, Field(max_length=10_000)]
Count = Annotated[int, Field(ge=0, le=MAX_COUNT)]
Flag = Annotated[int, Field(ge=0, le=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class _Canonical(_Strict):
    """The JSON that a request is stored as."""

    api: Literal["chat.completions"]
    endpoint: str
    model: str
    messages: list[dict[str, str]]
    body: dict[str, Any]
    draw: int = Field(ge=0)


class _Row(_Strict):
    """The types and bounds of an exported row, field by field."""

    uid: str = Field(pattern="^[0-9a-f]{32}$")
    key: Hash
    stage: Name
    round: Name
    problem: Text
    model: Text
    started: float = Field(ge=0, lt=1e11)
    state: Literal["open", "received", "batched", "done"]
    outcome: Outcome | None
    status: Annotated[int, Field(ge=0, le=999)] | None
    detail: Text | None
    finish_reason: Text | None
    returned_model: Text | None
    body: str | None
    checksum: Hash | None
    prompt_tokens: Count
    completion_tokens: Count
    nano: Annotated[int, Field(ge=0, le=MAX_NANO)] | None
    measured: Flag
    seconds: Annotated[float, Field(ge=0, lt=1e9)] | None
    retired: Flag
    encoding: Literal["utf-8", "base64"]
    request: str
    line: Annotated[str, Field(max_length=200)] | None
    batch: dict[str, Any] | None


@dataclass(frozen=True)
class Imported:
    """
    An attempt as it may be added: by the names of its *columns*, with its request and batch.

    *under_way* is one that had not ended, and waits in no batch: it is left out.
    """

    columns: dict[str, Any]
    request: str
    line: str | None
    batch: list[Any] | None
    under_way: bool

    @property
    def uid(self) -> str:
        """The name that the attempt has in every store."""
        return str(self.columns["uid"])


class _FaultError(ValueError):
    def __init__(self, field: str, fault: str) -> None:
        super().__init__(f"{field}: {fault}")


def read(number: int, row: dict[str, Any]) -> Imported:
    """
    Read the exported *row*, which has the fields of `attempt_row.EXPORTED`.

    Its key is that of its request, its outcome what its body reads as today, and its tokens are at
    least what its body says, or what was reserved where nothing was measured; what is raised to
    that costs an unknown amount. Raises RefusedError with the *number* of the row and the field of
    one that no store has written.
    """
    try:
        return _read(_typed(row))
    except (ValueError, RefusedError) as problem:
        raise RefusedError(
            f"row {number} of the export: not of a store: {problem}; nothing is imported. Export "
            "the store anew, or take the row out of the file"
        ) from None


def _typed(row: dict[str, Any]) -> _Row:
    try:
        return _Row.model_validate(row)
    except ValidationError as problem:
        raise _first(problem) from None


def _first(problem: ValidationError) -> _FaultError:
    error = problem.errors(include_url=False, include_input=False)[0]
    return _FaultError(".".join(map(str, error["loc"])), error["msg"].lower())


def _read(row: _Row) -> Imported:
    request = _request(row)
    batch = None if row.batch is None else batch_row.read(row.batch)
    if batch and row.batch is not None and row.batch["endpoint"] != request.endpoint:
        raise _FaultError("batch", "is of another endpoint than the request")
    body = _body(row)
    columns = row.model_dump(include=set(attempt_row.COLUMNS)) | {"body": body, "overrun": 0}
    under_way = row.state in ("open", "received") or (row.state == "batched" and batch is None)
    if row.state == "done":
        _ended(row, request, body, columns)
    else:
        _waiting(row)
        _at_least(columns, request.max_input, request.max_output or 0)
    return Imported(columns, row.request, row.line, batch, under_way)


def _request(row: _Row) -> Request:
    """The request of *row*, whose text is exactly what is hashed into its key."""
    try:
        content = _Canonical.model_validate(json.loads(row.request))
        request = of_canonical(row.request, row.problem)
        same = request.canonical == row.request
    except ValidationError as problem:
        raise _FaultError("request", str(_first(problem))) from None
    except (ValueError, RecursionError, RefusedError) as problem:
        raise _FaultError("request", f"is none ({problem})"[:200]) from None
    if not same:
        raise _FaultError("request", "is not written as a store writes it")
    if key_of(row.request) != row.key:
        raise _FaultError("key", "is not that of the request")
    if content.model != row.model:
        raise _FaultError("model", "is not that of the request")
    return request


def _body(row: _Row) -> bytes | None:
    if row.body is None:
        return None
    try:
        coded = row.encoding == "base64"
        raw = base64.b64decode(row.body, validate=True) if coded else row.body.encode("utf-8")
    except ValueError as problem:
        raise _FaultError("body", f"is not {row.encoding} ({problem})"[:200]) from None
    if len(raw) > (most := max(MAX_BODY, most_of_a_body())):
        raise _FaultError("body", f"has {len(raw)} bytes, and an answer at most {most}")
    return raw


def _waiting(row: _Row) -> None:
    """Refuse what an attempt that has not ended cannot have."""
    allowed = ("status", "body") if row.state == "received" else ()
    for name in BARE:
        if name not in allowed and getattr(row, name) is not None:
            raise _FaultError(name, f"an attempt that is {row.state} has none")
    if row.measured or row.retired:
        raise _FaultError("measured" if row.measured else "retired", f"it is {row.state}")


def _ended(row: _Row, request: Request, body: bytes | None, columns: dict[str, Any]) -> None:
    """Hold how an attempt ended to its body, and put into *columns* what it is counted at."""
    if row.outcome is None:
        raise _FaultError("outcome", "an attempt that has ended has one")
    told = attempt_row.checksum(row.key, row.outcome, row.status, body or b"")
    final = row.outcome in FINAL
    if final and body is None:
        raise _FaultError("body", f"what was {row.outcome} has one")
    if told != row.checksum and (final or (body is not None and row.checksum is not None)):
        raise _FaultError("checksum", "is not that of the body")
    raw = Raw(row.status or 0, body or b"")
    reading = Reading(row.outcome) if body is None else response.read(raw.status, raw.body)
    if not final:
        reading = replace(reading, outcome=row.outcome)
    elif reading.outcome != row.outcome:
        anew = attempt_row.checksum(row.key, reading.outcome, row.status, raw.body)
        columns |= {"outcome": reading.outcome, "checksum": anew}  # as this version reads it
    _counted(row, request, settlement.result(0, request, raw, reading, UNPRICED), columns)


def _counted(row: _Row, request: Request, least: Result, columns: dict[str, Any]) -> None:
    """Bound the tokens of what has ended from below, as it is counted today, and from above."""
    columns["overrun"] = least.overrun
    released = row.prompt_tokens == row.completion_tokens == row.nano == 0
    if row.outcome in FINAL or not released:
        _at_least(columns, least.prompt_tokens, least.completion_tokens)
    most = max(request.max_input, least.prompt_tokens)
    _at_most("prompt_tokens", row.prompt_tokens, most)
    if row.outcome in FINAL and request.max_output is not None:
        most = max(request.max_output, least.completion_tokens)
        _at_most("completion_tokens", row.completion_tokens, most)


def _at_least(columns: dict[str, Any], prompt: int, completion: int) -> None:
    for name, least in (("prompt_tokens", prompt), ("completion_tokens", completion)):
        if columns[name] < least:
            columns |= {name: least, "nano": None}


def _at_most(name: str, value: int, most: int) -> None:
    if value > most:
        raise _FaultError(name, f"is {value}, and can be {most} at most")
