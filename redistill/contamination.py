"""How much of one split's text stands in another's."""

from collections.abc import Iterable, Iterator, Sequence

from redistill.records import Problem, normalised

GRAM = 13  # words, as in lm-evaluation-harness and in the GPT-3 paper (arXiv 2005.14165, app. C)


def overlapping(
    texts: Iterable[str], problems: Sequence[Problem], size: int = GRAM
) -> list[tuple[str, str]]:
    """
    The ids of *problems* of which *size* words in a row stand in *texts*, with those words.

    Words are compared after normalising (`records.normalised`); a question of fewer words is
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


def _length(problem: Problem, size: int) -> int:
    words = len(normalised(problem.question).split())
    return min(size, words) if words >= 8 else 0


def _grams(words: Sequence[str], length: int) -> Iterator[str]:
    for start in range(len(words) - length + 1) if length else ():
        yield " ".join(words[start : start + length])
