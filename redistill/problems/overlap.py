"""How much of one split's text stands in another's."""

import re
from collections.abc import Iterable, Iterator, Sequence

from redistill.records.fingerprint import normalised, undressed, worded
from redistill.records.types import Problem

GRAM = 13  # words, as in lm-evaluation-harness and in the GPT-3 paper (arXiv 2005.14165, app. C)


def overlapping(
    texts: Iterable[str], problems: Sequence[Problem], size: int = GRAM
) -> list[tuple[str, str]]:
    """
    Find the ids of *problems* of which *size* words in a row stand in *texts*, with those words.

    Words are compared without the signs around them (`fingerprint.worded`); a question of fewer
    words is compared as a whole with runs of its length only if it has at least 8, else not at all:
    shorter phrases are common.
    """
    lengths = {_length(problem, size) for problem in problems} - {0}
    known: dict[int, set[str]] = {length: set() for length in lengths}
    for text in texts:
        words = worded(text).split()
        for length, grams in known.items():
            grams.update(_grams(words, length))
    found = []
    for problem in problems:
        length = _length(problem, size)
        words = worded(problem.question).split()
        shared = next((g for g in _grams(words, length) if g in known[length]), None)
        if shared is not None:
            found.append((problem.id, shared))
    return found


def question(problem: Problem) -> str:
    """Write what *problem* asks: its question, and its choices as one line each."""
    return "\n".join([problem.question, *(problem.choices or {}).values()])


def normalised_question(problem: Problem) -> str:
    """
    Write what *problem* asks, its choices included, in the form in which splits are compared.

    Each choice is a text of its own, so that "1", "23" are other choices than "12", "3".
    """
    parts = [problem.question, *(problem.choices or {}).values()]
    return "\n".join(normalised(part) for part in parts)


def standing(texts: Iterable[str], problems: Sequence[Problem]) -> list[str]:
    """
    Find the ids of *problems* whose whole question is one of *texts*, or stands in one.

    The latter counts for questions of at least 8 words, as in `overlapping`, which also says which
    of them are worth the search.
    Marks of prose around words do not count (`fingerprint.undressed`).
    """
    whole = [*texts]
    known = {undressed(text) for text in whole}
    likely = {identity for identity, _ in overlapping(whole, problems)}
    joined = "\n".join(f" {text} " for text in known) if likely else ""
    found = []
    for problem in problems:
        asked = undressed(question(problem))
        if asked in known or (
            problem.id in likely and re.search(rf"(?<!\w){re.escape(asked)}(?!\w)", joined)
        ):
            found.append(problem.id)
    return found


def _length(problem: Problem, size: int) -> int:
    words = len(worded(problem.question).split())
    return min(size, words) if words >= 8 else 0


def _grams(words: Sequence[str], length: int) -> Iterator[str]:
    for start in range(len(words) - length + 1) if length else ():
        yield " ".join(words[start : start + length])
