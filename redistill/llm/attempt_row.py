"""An attempt as it stands in the store and in an export of it."""

import base64
import hashlib

COLUMNS = (
    "uid", "key", "stage", "round", "problem", "model", "started", "state", "outcome", "status",
    "detail", "finish_reason", "returned_model", "body", "checksum", "prompt_tokens",
    "completion_tokens", "nano", "measured", "seconds", "retired",
)  # fmt: skip
EXPORTED = (*COLUMNS, "encoding", "request", "line", "batch")


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
