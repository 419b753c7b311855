"""The embedded teacher: no model, no network; it reworks the reference solution step by step."""

from collections.abc import Sequence
from typing import Literal

from redistill.rationales.teacher import Reply, Request, Sitting
from redistill.records.fingerprint import digest
from redistill.records.types import Problem
from redistill.settings.sections import Section
from redistill.solutions import gaps
from redistill.solutions.arithmetic import small_steps
from redistill.solutions.equations import Equation, annotated, decimal
from redistill.solutions.mending import Mending
from redistill.solutions.wordings import steps

PLANNED = {"set_up", "missing_step", "extra_step"}
FINER = "finer "  # before the name of an operation: its carries are steps of their own


class Settings(Section):
    """Settings of the tutor: how it writes its first rationale."""

    style: Literal["equations", "sentences"]


def explain(problems: Sequence[Problem], settings: Settings, sitting: Sitting) -> list[list[Reply]]:
    """
    Write terse rationales: the equations of the reference solutions, or their sentences unchanged.

    A problem without a solution to work from has none. A further draw varies the wording and
    nothing else.
    """
    texts = [_write(problem, settings, frozenset()) for problem in problems]
    if sitting.draws.start > 0:
        return [
            _given(None if text is None else _reworded(text, f"{problem.id} {sitting.draws}"), [])
            for problem, text in zip(problems, texts, strict=True)
        ]
    return [_replies(text, [], sitting) for text in texts]


def refine(requests: Sequence[Request], settings: Settings, sitting: Sitting) -> list[list[Reply]]:
    """
    Rewrite the explanations so that the kinds of step that went wrong are worked in small steps.

    Operations come first: those of the problem's own errors, those treated in earlier rounds, and
    those of the dev profile, wherever the solution contains them. An operation that still fails
    although it was treated is worked in finer steps. Only where that changes nothing are the
    student's own gaps of another kind (set-up, copying, steps, format) treated: one that still
    fails at the arithmetic has no use for a plan, and texts of many styles teach none.
    Told only that the student failed, it guesses which operation of the solution to work. Where an
    attempt is to be mended, the lines before its first wrong step stay, and the steps of the
    solution that they do not reach follow. No reply where there is no solution.
    """
    replies = []
    for request in requests:
        problem, old = request.problem, request.rationale
        own = {error.gap for error in request.errors}
        if gaps.HIDDEN in own:
            own = _guess(problem, sitting.round)
        known = kinds_in(problem)
        failing = ({*request.profile} | own) & known & {*gaps.OPERATION.values()}
        kinds = {*old.gaps} | failing | {FINER + kind for kind in failing & {*old.gaps}}
        text = _write(problem, settings, frozenset(kinds), request.mending)
        if text == old.text:
            kinds |= own & known
            text = _write(problem, settings, frozenset(kinds), request.mending)
        replies.append(_replies(text, sorted(kinds), sitting))
    return replies


def _guess(problem: Problem, round: str) -> set[str]:
    """One operation of the solution, by chance: another one in another round."""
    present = sorted(kinds_in(problem) & {*gaps.OPERATION.values()})
    return {present[int(digest(problem.id, round), 16) % len(present)]} if present else set()


def _reworded(text: str, salt: str) -> str:
    """*text* with another opening word, and its sums and products with their sides changed over."""
    words = ("So:", "Here:", "Now:", "Then:")
    lines = text.split("\n")
    changed = [_turned(line) if int(digest(salt, line), 16) % 2 else line for line in lines]
    return "\n".join([words[int(digest(salt), 16) % len(words)], *changed])


def _turned(line: str) -> str:
    for equation in annotated(line):
        sides = [operation.operator for operation in equation.operations]
        if sides in (["+"], ["*"]) and "(" not in equation.expression:
            left, operator, right = equation.expression.partition(sides[0])
            marked = line[equation.start : equation.end]
            line = line.replace(marked, marked.replace(left + operator + right,
                                                       right + operator + left, 1), 1)  # fmt: skip
    return line


def _replies(text: str | None, kinds: list[str], sitting: Sitting) -> list[Reply]:
    return [] if sitting.draws.start > 0 else _given(text, kinds)


def _given(text: str | None, kinds: list[str]) -> list[Reply]:
    return [Reply(None, reason="no solution to explain") if text is None else Reply(text, kinds)]


def kinds_in(problem: Problem) -> set[str]:
    """Say which kinds of gap can open in *problem*: its operations, and those any problem has."""
    found = {
        gaps.OPERATION[o.operator] for e in annotated(problem.solution or "") for o in e.operations
    }
    return {*gaps.PROCESS} | found


def _write(
    problem: Problem, settings: Settings, kinds: frozenset[str], mending: Mending | None = None
) -> str | None:
    solution = problem.solution
    if not solution:
        return None
    equations = annotated(solution)
    if settings.style == "equations" and not equations:
        return None
    if mending and mending.kept:
        lines = [mending.kept, *(_line(e, kinds) for e in _left(equations, mending.kept))]
        return "\n".join([*lines, f"#### {problem.answer}"])
    lines = _preface(problem, equations, kinds)
    if settings.style == "equations":
        lines += [_line(e, kinds) for e in equations]
    else:
        lines += _sentences(solution, kinds)
    if "format" in kinds:
        lines.append(f"The answer is {problem.answer}.")
    lines.append(f"#### {problem.answer}")
    return "\n".join(lines)


def _left(equations: list[Equation], kept: str) -> list[Equation]:
    """The *equations* of a solution that are left after the first ones, which *kept* reaches."""
    reached = {step.value for step in steps(kept)}
    done = next((n for n, e in enumerate(equations) if e.value not in reached), len(equations))
    return equations[done:]


def _preface(problem: Problem, equations: list[Equation], kinds: frozenset[str]) -> list[str]:
    """What comes before the first step: the numbers as given, and the plan without results."""
    lines = []
    if "copying" in kinds:
        known = [word.strip(".,!?;:$%()") for word in problem.question.split()]
        lines.append("Given: " + " ".join(w for w in known if w[:1].isdigit()))
    if kinds & PLANNED and len(equations) > 1:
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
        if gaps.OPERATION[operation.operator] in kinds:
            finer = FINER + gaps.OPERATION[operation.operator] in kinds
            lines += small_steps(operation.operator, operation.left, operation.right, finer=finer)
            if chain:
                left, right = decimal(operation.left), decimal(operation.right)
                lines.append(f"{left}{operation.operator}{right}={decimal(operation.value)}")
    return lines
