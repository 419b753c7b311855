"""Where a wrong completion first goes wrong, and which gap that shows."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from redistill.grading.numbers import number, operand
from redistill.records.types import Problem
from redistill.solutions import gaps
from redistill.solutions.equations import Equation
from redistill.solutions.wordings import steps

MAX_SHOWN = 200  # characters of a sentence that is named as the first wrong step


@dataclass(frozen=True)
class _Reference:
    """What the worked answer reaches: the values and shapes of its steps, and all its numbers."""

    steps: int
    reached: frozenset[Fraction]
    shapes: frozenset[tuple[Any, ...]]
    numbers: frozenset[Fraction]


def locate(
    problem: Problem,
    completion: str,
    *,
    answered: bool,
    answer: str | None = None,
    worked: str | None = None,
) -> tuple[str, str | None]:
    """
    Find the gap of a wrong *completion*, and the first step that shows it.

    The first step whose arithmetic does not hold names an operation. Where the question has
    choices, or yes and no, as its answers, what remains is the *answer* that was taken: a
    distractor, or one for the other. Else the first step that departs from the reference (the
    problem's solution or, where it has none, *worked*, the rationale that was taught) names set-up,
    or copying where a number in it stands neither in the question nor in an earlier step.

    Of code the *answer* is what its tests came to, which names the gap and the first that fails.

    Steps are marked equations, else bare ones, else those said in words ("15 plus 18 is 33"); in a
    text without any, a sentence is a step, and the last number in it is what it reaches.
    """
    if not completion.strip():
        return "format", None
    kind, told, step = (answer or "").partition(": ")
    if told and kind in (*gaps.OF_CODE, gaps.PASSES):
        return ("format", None) if kind == gaps.PASSES else (kind, step)
    written = steps(completion)
    taken = _taken(problem, answer)
    if taken is not None or problem.choices or problem.answer in gaps.OTHER:
        wrong = next(((n, step) for n, step in enumerate(written) if not step.rounds), None)
        if wrong is not None and wrong[1].value is not None:
            return operation(wrong[1]), _shown(*wrong)
        return taken or ("format", None)
    reference = _reference(problem.solution or worked or "")
    if not written:
        return _departure(problem, completion, reference) or _without_steps(reference, answered)
    return _process(problem, written, reference, answered)


def operation(step: Equation) -> str:
    """Name the gap of a step whose arithmetic does not hold: the hardest operation in it."""
    present = {operation.operator for operation in step.operations}
    for operator in "/*-+":
        if operator in present:
            return gaps.OPERATION[operator]
    return "copying" if step.value is not None else "format"


def _taken(problem: Problem, answer: str | None) -> tuple[str, str | None] | None:
    """The answer that was wrongly chosen, for questions that offer some; None for others."""
    if answer is None or answer == problem.answer:
        return None
    if problem.choices:
        text = problem.choices.get(answer, "which is not offered")
        return "distractor", f"takes ({answer}) {text}"
    if problem.answer in gaps.OTHER:
        return gaps.OTHER[problem.answer], f"answers {answer}"
    return None


def _process(
    problem: Problem, written: list[Equation], reference: _Reference, answered: bool
) -> tuple[str, str | None]:
    """The first of the steps that does not hold or departs; else what their number tells."""
    known = _numbers(problem) | reference.numbers
    for place, step in enumerate(written):
        if not step.rounds:
            return operation(step), _shown(place, step)
        departs = reference.steps and step.value not in reference.reached
        if departs and _shape(step) not in reference.shapes:
            strange = [n for n in step.numbers if n not in known]
            return ("copying" if strange else "set_up"), _shown(place, step)
        if step.value is not None:
            known.add(step.value)
    last = _shown(len(written) - 1, written[-1])
    gold = number(problem.answer)
    if not answered:
        return "format", None
    if not reference.steps:
        return _unaided(problem, written, gold)
    if any(step.value == gold for step in written[:-1]) and written[-1].value != gold:
        return "extra_step", last
    if len(written) < reference.steps:
        return "missing_step", last
    return ("format" if written[-1].value == gold else "set_up"), last


def _unaided(
    problem: Problem, written: list[Equation], gold: Fraction | None
) -> tuple[str, str | None]:
    """
    What steps that all hold can still show where there is nothing to compare them with.

    A number that stands neither in the question nor in an earlier step is a wrong copy; what
    remains, if the answer is not even reached, is that the wrong things were computed.
    """
    known = _numbers(problem)
    for place, step in enumerate(written):
        if known and any(n not in known and n > 10 for n in step.numbers):
            return "copying", _shown(place, step)
        if step.value is not None:
            known.add(step.value)
    last = _shown(len(written) - 1, written[-1])
    if gold is None:
        return "unknown", last
    reached = [step.value == gold for step in written]
    if reached[-1]:
        return "format", last
    return ("extra_step" if any(reached) else "set_up"), last


def _departure(
    problem: Problem, completion: str, reference: _Reference
) -> tuple[str, str | None] | None:
    """The first sentence whose last number is neither given nor among the reference's numbers."""
    if not reference.numbers:
        return None
    given = _numbers(problem) | reference.numbers
    for sentence in _sentences(completion):
        found = list(_values(sentence))
        if found and found[-1] not in given:
            return "set_up", sentence[:MAX_SHOWN]
    return None


def _without_steps(reference: _Reference, answered: bool) -> tuple[str, str | None]:
    if not reference.numbers:
        return ("unknown" if answered else "format"), None
    return "missing_step", None


def _reference(text: str) -> _Reference:
    found = steps(text)
    return _Reference(
        len(found),
        frozenset(e.value for e in found if e.value is not None),
        frozenset(_shape(e) for e in found),
        frozenset(n for e in found for n in (*e.numbers, e.value) if n is not None)
        or frozenset(_values(text)),
    )


def _shown(place: int, step: Equation) -> str:
    return f"step {place + 1}: {step}"


def _shape(step: Equation) -> tuple[Any, ...]:
    """A step up to the order of its operands, so that 2*3 and 3*2 are one."""
    operators = sorted(operation.operator for operation in step.operations)
    return (*operators, *sorted(step.numbers))


def _numbers(problem: Problem) -> set[Fraction]:
    """The numbers of the question, as they are written there."""
    return set(_values(problem.question.replace("-", " ")))


def _values(text: str) -> Iterator[Fraction]:
    for word in text.split():
        plain = word.strip("()[]'\".,!?;:$")
        for value in (operand(plain), number(plain)):  # 20% is a fifth, and 20 of a hundred
            if value is not None:
                yield value


def _sentences(text: str) -> Iterable[str]:
    """The sentences of *text* before its answer, in order; a line ends one as well."""
    for line in text.split("\n"):
        if line.strip().startswith("####"):
            return
        for sentence in line.replace("! ", ". ").replace("? ", ". ").split(". "):
            if sentence.strip():
                yield sentence.strip()
