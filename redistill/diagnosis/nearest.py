"""The dev cases most like a problem, which a teacher is shown beside it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from rapidfuzz import fuzz, process

from redistill.records.types import Error, Exemplar, Problem


@dataclass(frozen=True)
class Cases:
    """The *errors* of a student on dev *problems*, of which a prompt shows at most *most*."""

    errors: Sequence[Error]
    problems: Mapping[str, Problem]
    most: int

    @classmethod
    def on_dev(
        cls, errors: Sequence[Error], problems: Sequence[Problem], most: int, *, asks: bool
    ) -> "Cases":
        """Take those of *errors* that are on dev, or none for a teacher that *asks* no model."""
        own = [error for error in errors if error.split == "dev"] if asks else []
        return cls(own, {problem.id: problem for problem in problems}, most)

    def like(self, problem: Problem, gaps: Collection[str]) -> list[Exemplar]:
        """Find those nearest to *problem*, among errors of one of *gaps*, or all without any."""
        alike = [error for error in self.errors if not gaps or error.gap in gaps]
        return nearest(problem, alike, self.problems, self.most)


def nearest(
    problem: Problem, errors: Sequence[Error], problems: Mapping[str, Problem], most: int
) -> list[Exemplar]:
    """
    Find the *most* dev *errors* whose questions share most words with that of *problem*.

    Likeness is rapidfuzz's token_set_ratio; of equals the first. A dev problem that several
    students failed at is one case, the first of its errors.
    """
    if most < 1:
        return []
    cases = [*{error.problem: error for error in reversed(errors)}.values()][::-1]
    found = process.extract(
        problem.question,
        [problems[case.problem].question for case in cases],
        scorer=fuzz.token_set_ratio,
        limit=most,
    )
    return [_exemplar(problems[cases[place].problem], cases[place]) for _, _, place in found]


def _exemplar(problem: Problem, error: Error) -> Exemplar:
    return Exemplar(
        problem=problem.id,
        question=problem.question,
        completion=error.completion,
        choices=problem.choices,
        gap=error.gap,
    )
