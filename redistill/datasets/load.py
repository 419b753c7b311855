"""A published data set in a folder: its rows and its provenance, checked before they are used."""

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from redistill.console.exceptions import CONFIG, TRY_AGAIN, RefusedError
from redistill.records import jsonl, manifest
from redistill.records.types import Problem, Record, Text, Version
from redistill.rounds.targets import Source

RECORDS = "records.jsonl"  # the view that has questions, answers and lineage
PROVENANCE = "provenance.json"
UNLISTED = "not in the manifest"  # what a copy from the hub may have: .gitattributes
NOTED = ("name", "round", "license", "task", "teachers", "student", "verdict")  # of its provenance


class Choice(BaseModel):
    """One of the answers that a question offers."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    label: str
    text: str


class Published(Record):
    """A row of the view ``records``, as `publishing` lays it out: "" and [] are for nothing."""

    problem: str = Text
    question: str = Text
    choices: list[Choice]
    answer: str = Text
    source: str
    rationale: str = Text
    round: str
    parent: str
    teacher: str
    status: Literal["first", "refined", "kept"]
    reason: str
    gaps: list[str]
    fingerprint: str
    history: list[Version]
    own: list[Version] = Field(default_factory=list)

    def asks(self) -> Problem:
        """Return the problem that this row is about, as far as it was published."""
        choices = {choice.label: choice.text for choice in self.choices}
        return Problem(
            id=self.problem,
            question=self.question,
            answer=self.answer,
            choices=choices or None,
            source=self.source,
        )


def folder(source: Source, imported: Path) -> Path:
    """Find where the data set *source* lies: in the folder *imported*, or fetched from the hub."""
    if source.folder is not None:
        return imported / source.folder
    from huggingface_hub import snapshot_download

    try:
        fetched = snapshot_download(str(source.hub), repo_type="dataset", revision=source.revision)
    except (OSError, ValueError) as problem:
        told = " ".join(str(problem).split())[:300]
        raise RefusedError(
            f"{source.hub} at {source.revision}: cannot be fetched from the hub: {told}; try again",
            code=TRY_AGAIN,
        ) from problem
    return Path(fetched)


def read(folder: Path, *, hub: bool = False) -> list[Published]:
    """
    Read the rows of the data set in *folder*, which has to be what its manifest says.

    A copy from the *hub* may hold files that the manifest does not list. Raises RefusedError for a
    folder that is damaged, or has no rows.
    """
    if not folder.is_dir():
        raise RefusedError(
            f"{folder}: there is no such data set; see docs/transfer.md", code=CONFIG
        )
    faults = manifest.verify(folder)
    needed = (RECORDS, PROVENANCE)
    if hub:
        faults = [f for f in faults if not f.endswith(UNLISTED) or any(n in f for n in needed)]
    if faults:
        raise RefusedError(
            f"{folder} is not what was published, {len(faults)} of its files differ: {faults[0]}; "
            "fetch it again (dvc update, or dvc import)"
        )
    rows = jsonl.read(folder / RECORDS, Published)
    if not rows:
        raise RefusedError(f"{folder / RECORDS}: 0 rows")
    return rows


def provenance(folder: Path) -> dict[str, Any]:
    """Read where the data set in *folder* says that it comes from, as far as a table can use it."""
    file = folder / PROVENANCE
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return {name: content[name] for name in NOTED}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as problem:
        raise RefusedError(f"{file}: not the provenance of a data set: {problem}") from None
