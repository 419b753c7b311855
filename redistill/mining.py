"""Which errors the teacher gets to see, where they went wrong, and which gaps are common."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rapidfuzz import fuzz, process

from redistill import gaps
from redistill.locating import locate
from redistill.params import Section
from redistill.records import Error, Exemplar, Prediction, Problem, Rationale, Version
from redistill.scoring import paired


class Settings(Section):
    """Section ``mine``: which errors to keep, when a gap counts as common, and when to stop."""

    max_completion: int
    exemplars: int
    common: float
    alpha: float


def mine(
    problems: Mapping[str, Problem],
    predictions: Sequence[Prediction],
    rationales: Mapping[str, Rationale],
    settings: Settings,
) -> list[Error]:
    """
    The errors among *predictions*: every one that is not correct, with its gap and its history.

    Errors on train carry the rationales that were tried and the nearest dev cases with the same
    gap; errors on dev are the diagnosis only. Where a problem has no reference solution, the
    rationale that was taught for it is what a completion is compared with.
    """
    found = [
        _error(problems[p.problem], p, rationales.get(p.problem), settings) for p in predictions
    ]
    errors = [error for error in found if error is not None]
    on_dev = [error for error in errors if error.split == "dev"]
    return [
        error
        if error.split == "dev"
        else error.model_copy(
            update={
                "history": _history(rationales.get(error.problem)),
                "exemplars": _exemplars(error, on_dev, problems, settings.exemplars),
            }
        )
        for error in errors
    ]


def profile(errors: Sequence[Error], n: int, common: float) -> dict[str, Any]:
    """
    The gap profile of *n* dev problems: errors by gap, and those of at least *common* of *n*.
    """
    counts = Counter(error.gap for error in errors if error.split == "dev")
    frequent = sorted(gap for gap, count in counts.items() if n and count / n >= common)
    return {"n": n, "gaps": {gap: counts[gap] for gap in gaps.ALL}, "common": frequent}


def decide(
    before: Sequence[Prediction], after: Sequence[Prediction], *, first: bool, alpha: float
) -> dict[str, Any]:
    """
    Whether a round is better on dev than the one before, by exact McNemar at *alpha*.

    A round that is not better stops the loop, and so does one that was passed through or that
    has nothing wrong left; the first round has nothing to be better than.
    """
    if not after:
        return {"stop": True, "because": "the round was passed through"}
    if all(p.verdict == "correct" for p in after):
        return {"stop": True, "because": "every dev problem is solved"}
    if first:
        return {"stop": False, "because": "first round"}
    test = paired(before, after)
    better = test["gain"] > 0 and test["p"] < alpha
    because = "better than the round before" if better else "not better than the round before"
    return {"stop": not better, "because": because, **test}


def confused(problems: Mapping[str, Problem], errors: Sequence[Error]) -> dict[str, Any]:
    """
    Which answer was taken for which, on dev, where a question offers its answers: gold, then taken.
    """
    counts: dict[str, Counter[str]] = {}
    for error in errors:
        if error.split == "dev" and error.gap in gaps.CHOSEN and error.answer is not None:
            counts.setdefault(problems[error.problem].answer, Counter())[error.answer] += 1
    return {gold: dict(sorted(taken.items())) for gold, taken in sorted(counts.items())}


def _error(
    problem: Problem, prediction: Prediction, lesson: Rationale | None, settings: Settings
) -> Error | None:
    if prediction.verdict == "correct":
        return None
    gap, step = locate(
        problem,
        prediction.completion,
        answered=prediction.verdict == "wrong",
        answer=prediction.answer,
        worked=lesson.text if lesson else None,
    )
    return Error(
        id=prediction.id,
        problem=prediction.problem,
        split=prediction.split,
        completion=prediction.completion[: settings.max_completion],
        verdict=prediction.verdict,
        answer=prediction.answer,
        gap=gap,
        first_wrong_step=step,
    )


def _history(rationale: Rationale | None) -> list[Version]:
    if rationale is None:
        return []
    return [*rationale.history, Version(round=rationale.round, text=rationale.text)]


def _exemplars(
    error: Error, on_dev: Sequence[Error], problems: Mapping[str, Problem], k: int
) -> list[Exemplar]:
    alike = [other for other in on_dev if other.gap == error.gap]
    nearest = process.extract(
        problems[error.problem].question,
        [problems[other.problem].question for other in alike],
        scorer=fuzz.token_set_ratio,
        limit=k,
    )
    return [
        Exemplar(
            problem=alike[place].problem, question=question, completion=alike[place].completion
        )
        for question, _, place in nearest
    ]
