"""Whether a grader reads the gold answers of problems: what it does not read, no text can reach."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from redistill.console.counted import counted
from redistill.console.exceptions import RefusedError
from redistill.grading.grader import Grader, load_grader
from redistill.problems.sets import ProblemSet
from redistill.records.types import Problem, Split

SHOWN = 3  # of the rows that a message names


def unread(problems: Iterable[Problem], grader: Grader) -> Iterator[tuple[Problem, str | None]]:
    """Find each problem whose gold answer is not read back as itself, with what it is read as."""
    for problem in problems:
        written = grader.strict(f"So it is.\n#### {problem.answer}")
        if not grader.equal(written, problem.answer):
            yield problem, written


def check_all(
    splits: Mapping[Split, Sequence[Problem]], tests: Mapping[str, ProblemSet], grader: str
) -> None:
    """Refuse, as `check` does, golds of *splits*, and of out-of-domain *tests* by their graders."""
    for problems in splits.values():
        check(problems, load_grader(grader), grader)
    for test in tests.values():
        own = test.grader or grader
        check(test.problems, load_grader(own), own)


def check(problems: Iterable[Problem], grader: Grader, name: str) -> None:
    """
    Refuse gold answers that the *grader* called *name* does not read as themselves.

    Every text of a teacher would be rejected for such a problem, and paid for. Raises RefusedError
    (65) with the first of their rows.
    """
    found = list(unread(problems, grader))
    if not found:
        return
    shown = "; ".join(
        f"{problem.id!r}: answer {problem.answer!r} is read as {written!r}"
        for problem, written in found[:SHOWN]
    )
    more = f", and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    raise RefusedError(
        f"grade.grader: {name} does not read the gold answers of "
        f"{counted(len(found), 'problem')} ({shown}{more}); set grade.grader to one that does, "
        "or mend field 'answer' of those rows"
    )
