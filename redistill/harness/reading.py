"""How an answer is read where lm-evaluation-harness asks: its custom filter, with our graders."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from redistill.console.exceptions import CONFIG, RefusedError
from redistill.grading.grader import Grader, grader_module, load_grader

NONE = "[no answer]"  # no gold is that
GRADER = "grader"  # the column of a task's rows that says by whom its samples are judged
Responses = Iterable[Sequence[str]]
Filter = Callable[[Responses, Sequence[Mapping[str, Any]]], list[list[str]]]


def comparing(name: str) -> Grader:
    """
    Load the grader *name*, which compares an answer with the gold one.

    Raises RefusedError (78) for one that needs the problem, which the harness does not hand on.
    """
    if hasattr(grader_module(name), "configured"):
        raise RefusedError(
            f"grade.grader: {name} asks a model about the problem or runs its tests, and "
            "lm-evaluation-harness compares texts alone: numeric, choice, yes_no and math do that. "
            "Name one in grade.grader, or for an import with --grader; completions of the run are "
            f"judged by {name} in the stage grade",
            code=CONFIG,
        )
    return load_grader(name)


def of(name: str) -> Filter:
    """
    Make the filter that reads responses by the grader *name*, strictly.

    What is the gold answer of its row in another spelling (18.00 for 18) becomes that spelling, so
    that the metric ``exact_match`` counts it as `Grader.equal` does.
    """
    grader = comparing(name)

    def read(responses: Responses, docs: Sequence[Mapping[str, Any]]) -> list[list[str]]:
        pairs = zip(responses, docs, strict=True)
        return [[_read(text, doc["answer"], grader) for text in texts] for texts, doc in pairs]

    return read


def _read(text: str, gold: str, grader: Grader) -> str:
    found = grader.strict(text)
    if grader.equal(found, gold):
        return gold
    return NONE if found is None or found == gold else found
