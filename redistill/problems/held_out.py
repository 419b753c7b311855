"""The questions of dev and test as digests: enough to find one in a text, too little to read it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from redistill.problems.overlap import question
from redistill.records import jsonl
from redistill.records.fingerprint import digest, worded
from redistill.records.types import Problem

START = 8  # words by which a question is found; one of fewer is a common phrase


@dataclass(frozen=True)
class HeldOut:
    """Questions by the digest of their first words: how many words each has, and its digest."""

    questions: dict[str, set[tuple[int, str]]] = field(default_factory=dict)

    def quoted(self, text: str) -> set[str]:
        """
        Find the questions that stand in *text*, as words (`fingerprint.worded`), by their digests.

        >>> long = "How many of the nine blue eggs does she sell?"
        >>> held = held_out([Problem(id="p", question=long, answer="1")])
        >>> len(held.quoted(f"Well: {long.upper()}"))
        1
        """
        words, found = worded(text).split(), set()
        for place in range(len(words) - START + 1) if self.questions else ():
            for count, whole in self.questions.get(_digest(words[place : place + START]), ()):
                if _digest(words[place : place + count]) == whole:
                    found.add(whole)
        return found


def held_out(problems: Iterable[Problem]) -> HeldOut:
    """
    Make digests of the questions of *problems* that have at least START words.

    The choices count as a part of a question that is shorter without them.
    """
    found: dict[str, set[tuple[int, str]]] = {}
    for problem in problems:
        words = worded(problem.question).split()
        if len(words) < START:
            words = worded(question(problem)).split()
        if len(words) >= START:
            found.setdefault(_digest(words[:START]), set()).add((len(words), _digest(words)))
    return HeldOut(found)


def write(path: Path, questions: HeldOut) -> None:
    """Write *questions* to *path*, in the order of their digests."""
    rows = sorted(
        (start, words, whole)
        for start, found in questions.questions.items()
        for words, whole in found
    )
    jsonl.write_rows(path, ({"start": s, "words": n, "whole": w} for s, n, w in rows))


def read(path: Path) -> HeldOut:
    """Read what `write` wrote to *path*."""
    found: dict[str, set[tuple[int, str]]] = {}
    for row in jsonl.read_rows(path, ("start", "words", "whole")):
        found.setdefault(row["start"], set()).add((row["words"], row["whole"]))
    return HeldOut(found)


def _digest(words: Sequence[str]) -> str:
    return digest(" ".join(words))
