"""Whether a grader reads the gold answers of problems: what it does not read, no text can reach."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from redistill.console.counted import counted
from redistill.console.exceptions import RefusedError
from redistill.grading.grader import Decider, Grader, Load, load_grader
from redistill.problems.sets import ProblemSet
from redistill.records.types import Problem, Split

SHOWN = 3  # of the rows that a message names


def unread(
    problems: Iterable[Problem], grader: Grader, *, thorough: bool = False
) -> Iterator[tuple[Problem, str]]:
    """
    Find each problem that *grader* cannot judge, with what is wrong with it.

    One that runs tests runs them where *thorough*, and else looks at them alone.
    """
    if isinstance(grader, Decider):
        yield from grader.unread(problems, thorough=thorough)
        return
    for problem in problems:
        fault = _fault(problem, grader)
        if fault is not None:
            yield problem, fault


def check_all(
    splits: Mapping[Split, Sequence[Problem]],
    tests: Mapping[str, ProblemSet],
    grader: str,
    load: Load = load_grader,
) -> None:
    """Refuse, as `check` does, golds of *splits*, and of out-of-domain *tests* by their graders."""
    for problems in splits.values():
        check(problems, load(grader), grader, thorough=True)
    for test in tests.values():
        own = test.grader or grader
        check(test.problems, load(own), own, thorough=True)


def check(
    problems: Iterable[Problem], grader: Grader, name: str, *, thorough: bool = False
) -> None:
    """
    Refuse gold answers that the *grader* called *name* does not read whole, as themselves.

    Every text of a teacher would be rejected for such a problem, and paid for. Raises RefusedError
    (65) with the first of their rows.
    """
    count, first = 0, []
    for problem, fault in unread(problems, grader, thorough=thorough):
        count += 1
        if count <= SHOWN:
            first.append(f"{problem.id!r}: {fault}")
    if not count:
        return
    shown = "; ".join(first)
    more = f", and {count - SHOWN} more" if count > SHOWN else ""
    raise RefusedError(
        f"grade.grader: {name} does not read the gold answers of "
        f"{counted(count, 'problem')} ({shown}{more}); set grade.grader to one that does, "
        "or mend field 'answer' of those rows"
    )


def lettered(grader: Grader) -> bool:
    """Say whether the answers of *grader* are the letters of choices."""
    return bool(getattr(grader, "LETTERED", False))


def unoffered(problem: Problem) -> str | None:
    """Say why the answer of *problem* is the letter of none of its choices; None where it is."""
    if not problem.choices:
        return "it has no field 'choices', of which the answer is a letter"
    if problem.answer.strip().upper() in problem.choices:
        return None
    return f"answer {problem.answer!r} is none of its choices {', '.join(problem.choices)}"


def _fault(problem: Problem, grader: Grader) -> str | None:
    if lettered(grader) and (fault := unoffered(problem)) is not None:
        return fault
    written = grader.strict(f"So it is.\n#### {problem.answer}")
    if grader.equal(written, problem.answer):
        return None
    why = ": no answer that it reads whole" if written is None else ""
    return f"answer {problem.answer!r} is read as {written!r}{why}"
