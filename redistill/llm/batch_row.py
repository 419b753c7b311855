"""A batch as it stands in an export of the store, and as it is held to what a store writes."""

import re
from collections.abc import Sequence
from typing import Any

COLUMNS = (
    "token", "kind", "endpoint", "stage", "round", "since", "state", "file", "remote", "input",
    "output",
)  # fmt: skip
AT_WORK = ("made", "ordering", "ordered")
STATES = (*AT_WORK, "done", "withdrawn", "abandoned")
TOKEN = re.compile(r"[0-9a-f]{32}")
WORD = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
NAME = re.compile(r"[\w.:-]{1,200}", re.ASCII)  # a server's, of a batch
LINE = re.compile(r"[^\x00-\x1f\x7f]{0,2000}")
NOTE = re.compile(
    r"[\w.:+ -]{0,10000}", re.ASCII
)  # of the file uploaded, or of batches before an order


def written(values: Sequence[Any]) -> dict[str, Any] | None:
    """Return the batch of *values*, by the names of its columns; None where they are of none."""
    return None if values[0] is None else dict(zip(COLUMNS, values, strict=True))


def read(batch: dict[str, Any]) -> list[Any]:
    """
    Return the values of an exported *batch* in the order of the columns; raises ValueError.

    One of a server that nobody had been told of by then may have been ordered since: it comes back
    as one that is to be looked for.
    """
    if not isinstance(batch, dict) or set(batch) != set(COLUMNS):
        raise ValueError("batch: has other fields")
    forms = {"token": TOKEN, "kind": WORD, "stage": WORD, "round": WORD, "endpoint": LINE}
    for name, form in (forms | {"file": NOTE, "remote": NAME}).items():
        unknown = batch[name] is None and name not in forms
        if not unknown and not (isinstance(batch[name], str) and form.fullmatch(batch[name])):
            raise ValueError(f"batch.{name}: no batch has that")
    if batch["state"] not in STATES:
        raise ValueError("batch.state: no batch has that")
    for name, most in (("since", 1e11), ("input", 1e9), ("output", 1e9)):
        unknown = batch[name] is None and name != "since"
        if not unknown and not (type(batch[name]) in (int, float) and 0 <= batch[name] < most):
            raise ValueError(f"batch.{name}: no batch has that")
    sought = batch["state"] == "made" and batch["kind"] == "api"
    state = "ordering" if sought else batch["state"]
    return [state if name == "state" else batch[name] for name in COLUMNS]
