"""Completions graded: the predictions of a student on sets of problems, and its scores."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from redistill.analysis.scores import HELD_OUT, Score, score
from redistill.console.exceptions import RefusedError
from redistill.grading.grader import Grader, Load, foresee, load_grader, predict
from redistill.problems.sets import ProblemSet
from redistill.records import spool
from redistill.records.balance import Balance
from redistill.records.types import Completion, Output, Prediction, Problem, Slip


@dataclass(frozen=True)
class Graded:
    """The predictions of every set, their scores, and whether the round was passed through."""

    predictions: Mapping[str, Sequence[Prediction]]
    passed_through: bool
    scores: dict[str, Score]
    balance: Balance

    def figures(self) -> dict[str, Any]:
        """Return what the metrics file records."""
        return {
            "passed_through": self.passed_through,
            "scores": {name: score.as_dict() for name, score in self.scores.items()},
            "balance": self.balance.as_dict(),
        }

    def __str__(self) -> str:
        if self.passed_through:
            return "passed through: no student of its own"
        shown = [
            f"{name} {100 * found.accuracy:.1f} %"
            + ("" if found.pass_rate is None else f" (pass rate {100 * found.pass_rate:.1f} %)")
            for name, found in self.scores.items()
            if name != "test"  # what is looked at by chance is chosen by chance
        ]
        return ", ".join(shown) or "no out-of-domain tests"


def grade(
    sets: Mapping[str, ProblemSet],
    completions: Mapping[str, Sequence[Completion]],
    grader: str,
    held_out: Sequence[Completion] | None = None,
    load: Load = load_grader,
) -> Graded:
    """
    Judge the *completions* of all *sets*, each by its own grader or by the one called *grader*.

    Where none of the problems has a completion the round was passed through, and has no scores.
    Completions of the train problems by students that were not taught them, *held_out*, are a set
    of their own; there may be none. Raises RefusedError where some problems have a completion and
    others none.
    """
    rows = sum(len(found.problems) for found in sets.values())
    passed = bool(rows) and not any(completions[name] for name in sets)
    predictions: dict[str, Sequence[Prediction]] = {
        name: []
        if passed
        else kept(found.problems, completions[name], load(found.grader or grader))
        for name, found in sets.items()
    }
    out = sum(len(found) for found in predictions.values())
    balance = Balance("grade", rows, out, {"passed through": rows} if passed else {})
    scores = {} if passed else {name: score(found) for name, found in predictions.items()}
    if held_out is not None:
        judge = load(sets["train"].grader or grader)
        found = kept(sets["train"].problems, held_out, judge) if held_out else []
        predictions[HELD_OUT] = found
        scores |= {HELD_OUT: score(found)} if found else {}
    return Graded(predictions, passed, scores, balance)


def kept(
    problems: Sequence[Problem], completions: Sequence[Completion], grader: Grader
) -> Sequence[Prediction]:
    """Judge *completions* as `each` does, and keep the predictions as `spool.kept` does."""
    return spool.kept(each(problems, completions, grader), Prediction)


def graded(
    problems: Sequence[Problem], completions: Sequence[Completion], grader: Grader
) -> list[Prediction]:
    """Judge *completions* of *problems* by *grader* as `each` does, and return all predictions."""
    return [*each(problems, completions, grader)]


def each(
    problems: Sequence[Problem], completions: Sequence[Completion], grader: Grader
) -> Iterator[Prediction]:
    """
    Judge *completions* of *problems* by *grader*, in their order, drawn outputs included.

    Raises RefusedError for a completion of another problem, and for a problem without one.
    """
    known = spool.by_id(problems)
    for completion in completions:
        if completion.problem not in known:
            raise RefusedError(
                f"there is no problem {completion.problem!r} for completion {completion.id!r}: "
                "grade with the problems that the completions answer"
            )
    answered = spool.named(completions, attrgetter("problem"))
    if len(answered) < len(known):
        missing = next(name for name in known if name not in answered)
        raise RefusedError(
            f"problem {missing!r} and {len(known) - len(answered) - 1} more have no completion: "
            "have them answered again (dvc repro)"
        )
    foresee(
        grader,
        ((known[c.problem], o.text) for c in completions for o in (c.output, *c.drawn)),
    )
    for completion in completions:
        yield _prediction(known[completion.problem], completion, grader)


def _prediction(problem: Problem, completion: Completion, grader: Grader) -> Prediction:
    first, *drawn = (
        _judged(problem, completion, output, grader)
        for output in (completion.output, *completion.drawn)
    )
    if not drawn:
        return first
    wrong = [other for other in drawn if other.verdict != "correct"]
    shown = {first.completion} if first.verdict != "correct" else set()
    texts = [text for text in dict.fromkeys(p.completion for p in wrong) if text not in shown]
    slips = [_slip(next(p for p in wrong if p.completion == text)) for text in texts]
    right = dict.fromkeys(p.completion for p in drawn if p.verdict == "correct")
    count = {"samples": len(drawn), "passes": len(drawn) - len(wrong), "slips": slips}
    solved = [text for text in right if first.verdict != "correct" or text != first.completion]
    return first.model_copy(update=count | {"solved": solved})


def _slip(drawn: Prediction) -> Slip:
    return Slip(completion=drawn.completion, answer=drawn.answer, verdict=drawn.verdict)


def _judged(problem: Problem, completion: Completion, output: Output, grader: Grader) -> Prediction:
    return predict(
        problem,
        completion.split,
        output.text,
        eos=output.eos,
        tokens=output.tokens,
        grader=grader,
    )
