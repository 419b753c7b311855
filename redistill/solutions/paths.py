"""Which path a worked text takes: what tells texts apart that are worth being taught both."""

from collections.abc import Hashable

from redistill.grading.numbers import number
from redistill.records.fingerprint import worded
from redistill.records.types import Version
from redistill.solutions.wordings import bare, spoken


def path(text: str) -> Hashable:
    """
    Return what two texts have in common that take the same path: the list of their equations.

    So does rejection-sampling fine-tuning tell reasoning paths apart (arXiv 2308.01825). Marked and
    bare equations count, else those said in words, in order. Without any, and where the answer is a
    letter, yes or no, the path is the text itself but for case, marks and spaces.
    """
    if number(text.rpartition("####")[2].strip()) is None:
        return worded(text)
    plain = text.replace("<<", " ").replace(">>", " ")
    return tuple(str(step) for step in bare(plain) or spoken(plain)) or worded(text)


def compared(history: list[Version], text: str) -> list[Version]:
    """Return *history* with each version marked as repeated whose path *text* takes as well."""
    new = path(text)
    return [
        version.model_copy(update={"repeated": version.repeated or path(version.text) == new})
        for version in history
    ]
