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
    one whose tokens *student* finds most likely on average, as GRAPE does (arXiv 2502.04194), and
    ``rsr`` the one of the lowest rank-surprisal ratio (arXiv 2601.14249): unlikely tokens that the
    student ranks high all the same. Only the last two open the student, and only where there is a
    choice.
    """
    if rules.choose == "first":
        return lambda texts: [0 for _ in texts]
    if rules.choose == "shortest":
        return lambda texts: [_least([len(text) for text in found]) for _, found in texts]

    def fitting(texts: Sequence[tuple[int, Sequence[str]]]) -> list[int]:
        if all(len(found) < 2 for _, found in texts):
            return [0 for _ in texts]
        from redistill.students.train import likelihood

        ratio = rules.choose == "rsr"
        measured = likelihood.rank_surprisal_each if ratio else likelihood.mean_nll_each
        rows = [(problems[place], text) for place, found in texts for text in found]
        scores = iter(measured(student, rows, settings))
        return [_least([next(scores) for _ in found]) for _, found in texts]

    return fitting


def _least(scores: Sequence[float]) -> int:
    return min(range(len(scores)), key=lambda place: (scores[place], place))
