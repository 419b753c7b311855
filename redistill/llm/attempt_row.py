"""An attempt as it stands in an export of the store, and as it is held to what a store writes."""

import base64
import hashlib
import re
from typing import Any

from redistill.console.exceptions import RefusedError
from redistill.llm import batch_row
from redistill.llm.request import of_canonical
from redistill.llm.response import FINAL, OUTCOMES

COLUMNS = (
    "uid", "key", "stage", "round", "problem", "model", "started", "state", "outcome", "status",
    "detail", "finish_reason", "returned_model", "body", "checksum", "prompt_tokens",
    "completion_tokens", "nano", "measured", "seconds", "retired",
)  # fmt: skip
EXPORTED = (*COLUMNS, "encoding", "request", "line", "batch")
MAX_COUNT = 10**9  # tokens of one attempt
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def checksum(key: str, outcome: str, status: int | None, body: bytes) -> str:
    """Compute the SHA-256 of how the attempt at *key* ended, and of its raw *body*."""
    whole = hashlib.sha256(f"{key} {outcome} {status} ".encode())
    whole.update(body)
    return whole.hexdigest()


def as_text(body: bytes | None) -> tuple[str | None, str]:
    """Write *body* as it stands in an export, and how: as itself where it is UTF-8, or base 64."""
    if body is None:
        return None, "utf-8"
    try:
        return body.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        return base64.b64encode(body).decode("ascii"), "base64"


def imported(number: int, row: dict[str, Any]) -> tuple[list[Any], list[Any] | None]:
    """
    Read the values of an exported *row*, in the order of the columns, and those of its batch.

    Raises RefusedError with the *number* of a row that no store has written.
    """
    try:
        raw = _as_bytes(row["body"], row["encoding"])
        texts = [str(row[name]) for name in ("uid", "key", "stage", "round", "request")]
        of_canonical(texts[4])
        known = NAME.fullmatch(texts[2]) and NAME.fullmatch(texts[3])
        ended = row["outcome"] in OUTCOMES if row["state"] == "done" else row["outcome"] is None
        if not known or not ended or not 0 <= row["started"] < 1e11:
            raise ValueError("stage, round, outcome or time")
        found = checksum(texts[1], row["outcome"], row["status"], raw or b"")
        if row["outcome"] in FINAL and found != row["checksum"]:
            raise ValueError("the checksum")
        for name in ("prompt_tokens", "completion_tokens", "measured", "retired"):
            if not isinstance(row[name], int) or not 0 <= row[name] <= MAX_COUNT:
                raise ValueError(name)
        if row["line"] is not None and not isinstance(row["line"], str):
            raise ValueError("the line")
        batch = None if row["batch"] is None else batch_row.read(row["batch"])
    except (ValueError, TypeError, KeyError, AttributeError) as problem:
        raise RefusedError(f"row {number} of the export: not of a store: {problem}") from None
    return [raw if name == "body" else row[name] for name in COLUMNS], batch


def _as_bytes(text: str | None, encoding: str) -> bytes | None:
    if text is None:
        return None
    return base64.b64decode(text) if encoding == "base64" else text.encode("utf-8")
