"""How much of one split's text stands in another's."""

from collections.abc import Iterable, Iterator, Sequence

from redistill.records.fingerprint import normalised
from redistill.records.types import Problem

GRAM = 13  # words, as in lm-evaluation-harness and in the GPT-3 paper (arXiv 2005.14165, app. C)


def overlapping(
    texts: Iterable[str], problems: Sequence[Problem], size: int = GRAM
) -> list[tuple[str, str]]:
    """
    Find the ids of *problems* of which *size* words in a row stand in *texts*, with those words.

    Words are compared after normalising (`fingerprint.normalised`); a question of fewer words is
    compared as a whole with runs of its length only if it has at least 8, else not at all: shorter
    phrases are common.
    """
    lengths = {_length(problem, size) for problem in problems} - {0}
    known: dict[int, set[str]] = {length: set() for length in lengths}
    for text in texts:
        words = normalised(text).split()
        for length, grams in known.items():
            grams.update(_grams(words, length))
    found = []
    for problem in problems:
        length = _length(problem, size)
        words = normalised(problem.question).split()
        shared = next((g for g in _grams(words, length) if g in known[length]), None)
        if shared is not None:
            found.append((problem.id, shared))
    return found


def normalised_question(problem: Problem) -> str:
    """Write what *problem* asks, its choices included, in the form in which splits are compared."""
    return normalised(" ".join([problem.question, *(problem.choices or {}).values()]))


def standing(texts: Iterable[str], problems: Sequence[Problem]) -> list[str]:
    """
    Find the ids of *problems* whose whole question is one of *texts*, or stands in one.

    The latter counts for questions of at least 8 words, as in `overlapping`, which also says which
    of them are worth the search.
    """
    plain = [normalised(text) for text in texts]
    known = set(plain)
    likely = {identity for identity, _ in overlapping(plain, problems)}
    joined = "\n".join(f" {text} " for text in plain)
    found = []
    for problem in problems:
        question = normalised_question(problem)
        inside = problem.id in likely and f" {question} " in joined
        if question and (question in known or inside):
            found.append(problem.id)
    return found


def _length(problem: Problem, size: int) -> int:
    words = len(normalised(problem.question).split())
    return min(size, words) if words >= 8 else 0


def _grams(words: Sequence[str], length: int) -> Iterator[str]:
    for start in range(len(words) - length + 1) if length else ():
        yield " ".join(words[start : start + length])
