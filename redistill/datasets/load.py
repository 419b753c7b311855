"""A published data set taken over: its rationales for the problems that this run has."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from redistill.console.exceptions import CONFIG, TRY_AGAIN, RefusedError
from redistill.grading.grader import Grader
from redistill.problems.overlap import asked
from redistill.rationales import guards
from redistill.records import jsonl, manifest
from redistill.records.balance import Balance
from redistill.records.types import Problem, Rationale, Record, Text, Version
from redistill.settings.targets import Source

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

    def asks(self) -> Problem:
        """The problem that this row is about, as far as it was published."""
        choices = {choice.label: choice.text for choice in self.choices}
        return Problem(
            id=self.problem,
            question=self.question,
            answer=self.answer,
            choices=choices or None,
            source=self.source,
        )


@dataclass(frozen=True)
class Taken:
    """The rationales that were taken, which rows were not, by reason, and what else is to know."""

    rationales: list[Rationale]
    rejected: dict[str, list[str]]
    untaught: int
    balance: Balance

    def as_dict(self) -> dict[str, Any]:
        """What a metrics file records; of the rejected rows the first ids."""
        return {
            "balance": self.balance.as_dict(),
            "rejected": {reason: ids[:20] for reason, ids in self.rejected.items()},
            "problems_without": self.untaught,
            "teachers": dict(sorted(Counter(row.teacher for row in self.rationales).items())),
        }


def folder(source: Source, imported: Path) -> Path:
    """Where the data set *source* lies: in the folder *imported*, or fetched from the hub."""
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
    The rows of the data set in *folder*, which has to be what its manifest says.

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
    """What the data set in *folder* says of where it comes from, as far as a table can use it."""
    file = folder / PROVENANCE
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return {name: content[name] for name in NOTED}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as problem:
        raise RefusedError(f"{file}: not the provenance of a data set: {problem}") from None


def take(
    rows: Sequence[Published],
    problems: Mapping[str, Problem],
    name: str,
    version: Literal["first", "last"],
    grader: Grader,
) -> Taken:
    """
    The *rows* as rationales called *name*, each for the one of *problems* that it was written for.

    That is the one that asks the same question with the same choices, whatever its id. A row is
    rejected whose question no problem asks, whose problem has another answer here, or that is the
    second for its problem; and one whose text the guards of a first rationale reject, by this
    run's *grader*. With the *version* ``first`` the text is that which all others replaced.
    """
    by_question = {asked(problem): problem for problem in problems.values()}
    kept: dict[str, Rationale] = {}
    rejected: dict[str, list[str]] = {}
    for row in rows:
        theirs = row.asks()
        problem = by_question.get(asked(theirs))
        if problem is None:
            known = row.problem in problems
            reason = "another question of this id" if known else "no problem asks this question"
        elif problem.answer != row.answer:
            reason = "another answer to this question"
        elif problem.id in kept:
            reason = "a second rationale for the problem"
        else:
            made = _rationale(row, problem, name, version)
            fault = guards.first(problem, made.text, grader)
            if fault is None:
                kept[problem.id] = made
                continue
            reason = fault
        rejected.setdefault(reason, []).append(row.id)
    lost = {reason: len(ids) for reason, ids in sorted(rejected.items())}
    balance = Balance("take", len(rows), len(kept), lost)
    if not kept:
        raise RefusedError(f"{balance}: no row is for a train problem of this run")
    return Taken([*kept.values()], rejected, len(problems) - len(kept), balance)


def _rationale(
    row: Published, problem: Problem, name: str, version: Literal["first", "last"]
) -> Rationale:
    """*row* for *problem*; its round is *name*: for this run it was written there."""
    first = version == "first" and bool(row.history)
    return Rationale(
        id=problem.id,
        problem=problem.id,
        text=row.history[0].text if first else row.rationale,
        round=name,
        teacher=row.teacher,
        status="first" if version == "first" else row.status,
        parent=None if version == "first" else row.parent or None,
        reason=None if version == "first" else row.reason or None,
        gaps=[] if first else row.gaps,
        history=[] if version == "first" else row.history,
        fingerprint="" if first else row.fingerprint,
    )
