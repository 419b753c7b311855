"""What a problem asks, and the form in which the questions of two splits are compared."""

from redistill.records.fingerprint import normalised
from redistill.records.types import Problem


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
