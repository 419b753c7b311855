"""The questions of dev and test as digests: enough to find one in a text, too little to read it."""

import operator
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from redistill.console.exceptions import RefusedError
from redistill.problems.overlap import question
from redistill.records import jsonl
from redistill.records.fingerprint import digest, worded
from redistill.records.types import Problem

START = 8  # words by which a question is found; one of fewer is a common phrase
Row = tuple[int, int, int]  # of a question: the digest of its START words, how many it has, its own
FIELDS = np.dtype([("start", np.uint64), ("words", np.int64), ("whole", np.uint64)])


class HeldOut:
    """
    Questions by the digest of their first words: how many words each has, and its digest.

    They are in the order of these, 24 bytes each.
    """

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        """Keep each of *rows* once."""
        found = np.unique(np.fromiter(rows, dtype=FIELDS))
        self._starts = np.ascontiguousarray(found["start"])
        self._words = np.ascontiguousarray(found["words"])
        self._wholes = np.ascontiguousarray(found["whole"])

    def __len__(self) -> int:
        """Count the questions."""
        return len(self._starts)

    def __iter__(self) -> Iterator[Row]:
        """Return the questions in their order."""
        for start, words, whole in zip(self._starts, self._words, self._wholes, strict=True):
            yield int(start), int(words), int(whole)

    def quoted(self, text: str) -> set[str]:
        """
        Find the questions that stand in *text*, as words (`fingerprint.worded`), by their digests.

        >>> long = "How many of the nine blue eggs does she sell?"
        >>> held = held_out([Problem(id="p", question=long, answer="1")])
        >>> len(held.quoted(f"Well: {long.upper()}"))
        1
        """
        words = worded(text).split()
        if len(words) < START or not len(self):
            return set()
        begun = [_digest(words[n : n + START]) for n in range(len(words) - START + 1)]
        wanted = np.array(begun, dtype=np.uint64)
        first = np.searchsorted(self._starts, wanted)
        known = self._starts[np.minimum(first, len(self) - 1)] == wanted
        found = (self._whole(words[n:], int(first[n])) for n in np.flatnonzero(known).tolist())
        return {whole for wholes in found for whole in wholes}

    def _whole(self, words: Sequence[str], place: int) -> Iterator[str]:
        """The questions with the start of the one at *place* that *words* begin with."""
        start = self._starts[place]
        while place < len(self) and self._starts[place] == start:
            whole = int(self._wholes[place])
            if _digest(words[: int(self._words[place])]) == whole:
                yield _written(whole)
            place += 1


def held_out(problems: Iterable[Problem]) -> HeldOut:
    """
    Make digests of the questions of *problems* that have at least START words.

    The choices count as a part of a question that is shorter without them.
    """
    return HeldOut(row for problem in problems if (row := _row(problem)) is not None)


def _row(problem: Problem) -> Row | None:
    words = worded(problem.question).split()
    if len(words) < START:
        words = worded(question(problem)).split()
    return (_digest(words[:START]), len(words), _digest(words)) if len(words) >= START else None


def write(path: Path, questions: HeldOut) -> None:
    """Write *questions* to *path*, in the order of their digests."""
    jsonl.write_rows(
        path, ({"start": _written(s), "words": n, "whole": _written(w)} for s, n, w in questions)
    )


def read(path: Path) -> HeldOut:
    """Read what `write` wrote to *path*; raises RefusedError (65) for what are no digests."""
    rows = jsonl.read_rows(path, ("start", "words", "whole"))
    try:
        return HeldOut(
            (int(row["start"], 16), operator.index(row["words"]), int(row["whole"], 16))
            for row in rows
        )
    except (TypeError, ValueError, OverflowError) as problem:
        raise RefusedError(
            f"{path}: holds no digests of questions ({problem}); dvc repro prepare makes it anew"
        ) from problem


def _digest(words: Sequence[str]) -> int:
    return int(digest(" ".join(words)), 16)


def _written(whole: int) -> str:
    return f"{whole:016x}"
