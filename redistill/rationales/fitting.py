"""Whether problems fit the prompts that ask a teacher about them, before the first call is paid."""

from collections.abc import Iterable

from redistill.console.exceptions import CONFIG, RefusedError
from redistill.rationales.prompt import template
from redistill.rationales.teacher import TeachSettings
from redistill.records.types import Problem

READERS = ("openai", "local")  # teachers that are asked by prompts
SHOWN = 3  # ids that a message names


def check(problems: Iterable[Problem], teach: TeachSettings) -> None:
    """
    Refuse *problems* with choices under prompts that show none, and the other way round.

    Raises RefusedError (78) naming the first of them; without a teacher that reads prompts there is
    nothing to refuse.
    """
    if teach.teacher not in READERS and teach.refiner not in READERS:
        return
    shows = "[[choices]]" in template("explain", teach.prompts)
    unfit = [problem.id for problem in problems if bool(problem.choices) != shows]
    if not unfit:
        return
    named = ", ".join(map(repr, unfit[:SHOWN]))
    fault = (
        "show choices, which {} of the problems have not ({}); set teach.prompts to "
        "math or yes_no, or add field 'choices' to those rows"
        if shows
        else "show no choices, which {} of the problems have ({}); set teach.prompts: choice and "
        "grade.grader: choice"
    )
    raise RefusedError(
        f"teach.prompts: {teach.prompts}: these prompts {fault.format(len(unfit), named)}",
        code=CONFIG,
    )
