"""The embedded teacher: no model, no network; it reworks the reference solution step by step."""

from collections.abc import Sequence
from typing import Literal

from redistill.arithmetic import small_steps
from redistill.equations import Equation, annotated, decimal
from redistill.params import Section
from redistill.records import Error, Problem

OPERATOR_OF = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/"}
GAP_OF = {operator: gap for gap, operator in OPERATOR_OF.items()}
PLANNED = {"set_up", "missing_step", "extra_step"}


class Settings(Section):
    """Settings of the tutor: how it writes its first rationale."""

    style: Literal["equations", "sentences"]


def explain(problem: Problem, settings: Settings) -> str | None:
    """
    The terse rationale: the equations of the reference solution, or its sentences as they are.

    None where the problem has no solution to work from.
    """
    return _write(problem, settings, frozenset())


def refine(
    problem: Problem,
    treated: Sequence[str],
    errors: Sequence[Error],
    profile: Sequence[str],
    settings: Settings,
) -> tuple[str, list[str]] | None:
    """
    Rewrite the explanation so that the kinds of step that went wrong are worked in small steps.

    The kinds are those of this problem's *errors*, those *treated* in earlier rounds, and those of
    the dev *profile*, wherever this problem's solution contains them. Returns the text and the
    kinds it treats, or None where there is no solution to work from.
    """
    wanted = {*treated, *profile, *(error.gap for error in errors)}
    kinds = sorted(wanted & kinds_in(problem))
    text = _write(problem, settings, frozenset(kinds))
    return None if text is None else (text, kinds)


def kinds_in(problem: Problem) -> set[str]:
    """The kinds of gap that can open in *problem*: its operations, and those any problem has."""
    always = {"set_up", "copying", "missing_step", "extra_step", "format"}
    found = {GAP_OF[o.operator] for e in annotated(problem.solution or "") for o in e.operations}
    return always | found


def _write(problem: Problem, settings: Settings, kinds: frozenset[str]) -> str | None:
    solution = problem.solution
    if not solution:
        return None
    equations = annotated(solution)
    if settings.style == "equations" and not equations:
        return None
    lines = _preface(problem, equations, kinds)
    if settings.style == "equations":
        lines += [_line(e, kinds) for e in equations]
    else:
        lines += _sentences(solution, kinds)
    if "format" in kinds:
        lines.append(f"The answer is {problem.answer}.")
    lines.append(f"#### {problem.answer}")
    return "\n".join(lines)


def _preface(problem: Problem, equations: list[Equation], kinds: frozenset[str]) -> list[str]:
    """What comes before the first step: the numbers as given, and the plan without results."""
    lines = []
    if "copying" in kinds:
        known = [word.strip(".,!?;:$%()") for word in problem.question.split()]
        lines.append("Given: " + " ".join(w for w in known if w[:1].isdigit()))
    if kinds & PLANNED and equations:
        seen: dict[str, str] = {}
        parts = []
        for index, equation in enumerate(equations):
            letter = f"({index + 1})"
            parts.append(f"{letter} {_unresolved(equation, seen)}")
            if equation.result is not None:
                seen[decimal(equation.result)] = letter
        lines.append("Plan: " + " ".join(parts))
    return lines


def _unresolved(equation: Equation, seen: dict[str, str]) -> str:
    """The expression with earlier results replaced by the number of their step."""
    out, word = "", ""
    for character in equation.expression + " ":
        if character in "0123456789.":
            word += character
        else:
            out += seen.get(word, word) + character
            word = ""
    return out.strip()


def _line(equation: Equation, kinds: frozenset[str]) -> str:
    marked = f"<<{equation}>>"
    small = _worked(equation, kinds)
    return f"{equation.expression}: {' '.join(small)} {marked}" if small else marked


def _sentences(solution: str, kinds: frozenset[str]) -> list[str]:
    """The lines of the solution, each after the small steps of its equations."""
    lines: list[str] = []
    for line in solution.split("\n"):
        if line.strip().startswith("####") or not line.strip():
            continue
        for equation in annotated(line):
            small = _worked(equation, kinds)
            if small:
                lines.append(f"{equation.expression}: {', '.join(small)}")
        lines.append(line.strip())
    return lines


def _worked(equation: Equation, kinds: frozenset[str]) -> list[str]:
    """The small steps of *equation*, for those of its operations that are among *kinds*."""
    if not equation.holds:
        return []
    lines: list[str] = []
    chain = len(equation.operations) > 1
    for operation in equation.operations:
        if GAP_OF[operation.operator] in kinds:
            lines += small_steps(operation.operator, operation.left, operation.right)
            if chain:
                left, right = decimal(operation.left), decimal(operation.right)
                lines.append(f"{left}{operation.operator}{right}={decimal(operation.value)}")
    return lines
