"""Verdicts on completions, by the grader that is found by its name."""

import importlib
import re
from typing import Protocol, cast

from redistill.console.exceptions import CONFIG, RefusedError
from redistill.records.types import Prediction, Problem, Split, Verdict
from redistill.settings.bounds import Module
from redistill.settings.sections import Section


class GradeSettings(Section):
    """Section ``grade``: the grader, by the name of its file."""

    grader: Module


class Grader(Protocol):
    """The interface of a module in ``redistill/graders``."""

    def strict(self, completion: str) -> str | None:
        """Read the answer where the task's format has it."""
        ...

    def lenient(self, completion: str) -> str | None:
        """Find the last plausible answer."""
        ...

    def equal(self, answer: str | None, gold: str) -> bool:
        """Say whether two answers are the same."""
        ...


def load_grader(name: str) -> Grader:
    """
    Load the grader in ``redistill/graders/<name>.py``.

    One that needs what may not be installed has a function ``check``, which refuses; asked here,
    that is before anything is generated.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,63}", name):
        raise RefusedError(f"grade.grader: {name!r} is not the name of a grader", code=CONFIG)
    try:
        module = importlib.import_module(f"redistill.graders.{name}")
    except ModuleNotFoundError as problem:
        if problem.name != f"redistill.graders.{name}":
            raise
        raise RefusedError(
            f"grade.grader: there is no redistill/graders/{name}.py", code=CONFIG
        ) from None
    if hasattr(module, "check"):
        module.check()
    return cast(Grader, module)


def predict(
    problem: Problem, split: Split, completion: str, *, eos: bool, tokens: int, grader: Grader
) -> Prediction:
    """
    Make the prediction that a *completion* amounts to.

    A completion that did not stop by itself is ``cut_off``, one without an answer in the task's
    format ``no_answer``, whatever else it holds; *strict* and *lenient* say what either reading
    of the text alone would give.
    """
    found = grader.strict(completion)
    strict = grader.equal(found, problem.answer)
    verdict: Verdict
    if not eos:
        verdict = "cut_off"
    elif found is None:
        verdict = "no_answer"
    else:
        verdict = "correct" if strict else "wrong"
    return Prediction(
        id=problem.id,
        problem=problem.id,
        split=split,
        completion=completion,
        answer=found,
        verdict=verdict,
        strict=strict,
        lenient=strict or grader.equal(grader.lenient(completion), problem.answer),
        eos=eos,
        tokens=tokens,
    )
