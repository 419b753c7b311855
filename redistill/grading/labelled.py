"""A sample of answers that people have labelled, by which a judge is measured."""

from collections import Counter
from pathlib import Path

from pydantic import Field

from redistill.console.exceptions import CONFIG, RefusedError
from redistill.records import jsonl
from redistill.records.types import Problem, Record

RUBRICS = Path("data/rubrics")  # what the stages that grade depend on
LEAST = 20  # rows: of fewer, no interval says anything


class Labelled(Record):
    """A question with its reference *answer*, a *completion*, and whether people call it right."""

    question: str = Field(min_length=1)
    answer: str = Field(min_length=1)
    completion: str
    right: bool

    @property
    def problem(self) -> Problem:
        """The problem that the completion answers."""
        return Problem(id=self.id, question=self.question, answer=self.answer)


def read(path: Path) -> list[Labelled]:
    """
    Read the labelled answers in *path*.

    Raises RefusedError (65) for fewer than LEAST, and where all have one label.
    """
    rows = jsonl.read(path, Labelled)
    counts = Counter(row.right for row in rows)
    if len(rows) < LEAST or len(counts) < 2:
        raise RefusedError(
            f"{path}: {counts[True]} right and {counts[False]} wrong answers are no sample to "
            f"measure a judge by: it takes at least {LEAST}, some of them right and some wrong"
        )
    return rows


def tracked(place: str, path: str) -> Path:
    """
    Return *path*, which stands at *place* of the settings, where the stages depend on it.

    Raises RefusedError (78) for one elsewhere, of which a change would rerun nothing.
    """
    found, folder = Path(path), RUBRICS.resolve()
    if folder not in found.resolve().parents:
        raise RefusedError(
            f"{place}: {path} lies outside {RUBRICS}, which the stages depend on: a change of it "
            f"would rerun nothing; put it there and set {place}: {RUBRICS / found.name}",
            code=CONFIG,
        )
    return found
