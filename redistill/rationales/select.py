"""Which of several accepted rationales a student is taught."""

from collections.abc import Sequence
from pathlib import Path

from redistill.rationales.attempts import Choose
from redistill.rationales.teacher import TeachSettings
from redistill.records.types import Problem
from redistill.students.model.settings import StudentSettings


def chooser(
    rules: TeachSettings, problems: Sequence[Problem], student: Path, settings: StudentSettings
) -> Choose:
    """
    Return the way of choosing that *rules* name, for texts on *problems* by their place.

    ``first`` takes the first drawn, ``shortest`` the one of the fewest characters, ``likely`` the
    one whose tokens *student* finds most likely on average, as GRAPE (arXiv 2502.04194) and RSR
    (arXiv 2601.14249) choose among texts of one teacher or many. Only that opens the student, and
    only where there is a choice.
    """
    if rules.choose == "first":
        return lambda texts: [0 for _ in texts]
    if rules.choose == "shortest":
        return lambda texts: [_least([len(text) for text in found]) for _, found in texts]

    def likely(texts: Sequence[tuple[int, Sequence[str]]]) -> list[int]:
        if all(len(found) < 2 for _, found in texts):
            return [0 for _ in texts]
        from redistill.students.train import likelihood

        rows = [(problems[place], text) for place, found in texts for text in found]
        scores = iter(likelihood.mean_nll_each(student, rows, settings))
        return [_least([next(scores) for _ in found]) for _, found in texts]

    return likely


def _least(scores: Sequence[float]) -> int:
    return min(range(len(scores)), key=lambda place: (scores[place], place))
