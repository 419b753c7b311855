"""Which errors the teacher gets to see, where they went wrong, and which gaps are common."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redistill.analysis.comparison import Paired, paired
from redistill.analysis.scores import by_heart
from redistill.diagnosis.locate import locate
from redistill.diagnosis.nearest import Likeness
from redistill.diagnosis.settings import MineSettings, Stop
from redistill.records.types import (
    Attempt,
    Error,
    Prediction,
    Problem,
    Rationale,
    Version,
)
from redistill.solutions import gaps


def mine(
    problems: Mapping[str, Problem],
    predictions: Iterable[Prediction],
    rationales: Mapping[str, Rationale],
    settings: MineSettings,
) -> list[Error]:
    """
    Find the errors among *predictions*: each that is not correct, with its gap and its history.

    Errors on train carry the rationales that were tried and the nearest dev cases with the same
    gap; errors on dev are the diagnosis only. Where a problem has no reference solution, the
    rationale that was taught for it is what a completion is compared with.
    """
    errors = [*diagnosed(problems, predictions, rationales, settings)]
    on_dev = [error for error in errors if error.split == "dev"]
    return [*instructive(errors, on_dev, problems, rationales, settings)]


def diagnosed(
    problems: Mapping[str, Problem],
    predictions: Iterable[Prediction],
    rationales: Mapping[str, Rationale],
    settings: MineSettings,
) -> Iterator[Error]:
    """Find the errors among *predictions* with their gaps, each in its turn; the rest is theirs."""
    for prediction in predictions:
        problem, lesson = problems[prediction.problem], rationales.get(prediction.problem)
        error = _error(problem, prediction, lesson, settings)
        if error is not None:
            yield error


def instructive(
    errors: Iterable[Error],
    on_dev: Iterable[Error],
    problems: Mapping[str, Problem],
    rationales: Mapping[str, Rationale],
    settings: MineSettings,
) -> Iterator[Error]:
    """Give those of *errors* that are not on dev their history, and the nearest cases *on_dev*."""
    by_gap: dict[str, list[Error]] = {}
    for error in on_dev:
        by_gap.setdefault(error.gap, []).append(error)
    alike = {gap: Likeness(found, problems) for gap, found in by_gap.items()}
    for error in errors:
        if error.split == "dev":
            yield error
            continue
        question = problems[error.problem].question
        cases = alike.get(error.gap)
        found = {
            "history": _history(rationales.get(error.problem)),
            "exemplars": cases.nearest(question, settings.exemplars) if cases else [],
        }
        yield error.model_copy(update=found)


def on_train(
    taught: Sequence[Prediction], held_out: Sequence[Prediction], settings: MineSettings
) -> Sequence[Prediction]:
    """
    Return the predictions on train whose errors count: with *folds*, those held out alone.

    A branch that was not probed has none then, and no errors on train.
    """
    return taught if settings.folds is None else held_out


def attempts(
    on_train: Iterable[Prediction], student: str, settings: MineSettings
) -> Iterator[Attempt]:
    """Find the correct completions among those that the *student* drew for train problems."""
    for prediction in on_train:
        for number, text in enumerate(prediction.solved, 1):
            yield Attempt(
                id=f"{prediction.problem}#{number}",
                problem=prediction.problem,
                student=student,
                text=text,
                held_out=settings.folds is not None,
            )


def blind(
    taught: Sequence[Prediction], on_dev: Sequence[Prediction], settings: MineSettings
) -> str | None:
    """Say why errors on train are no diagnosis, where they come from lessons learnt by heart."""
    if settings.folds is not None:
        return None
    splits = (taught, on_dev)
    return by_heart(*((sum(p.verdict == "correct" for p in s), len(s)) for s in splits))


@dataclass(frozen=True)
class Chosen:
    """
    Which completions of the predictions *among* which it was chosen are shown to the teacher.

    They are out of *rows* completions, greedy and drawn wrong; those that are not, by reason. Of
    each problem but those *dropped* so many are *shown* whose pass rate is less than *below*.
    """

    among: Sequence[Prediction]
    shown: int
    below: float
    dropped: frozenset[str]
    rows: int
    rejected: dict[str, int]

    @property
    def predictions(self) -> list[Prediction]:
        """All of them, a prediction for each completion."""
        return [*self.each()]

    def each(self) -> Iterator[Prediction]:
        """Make a prediction of each completion, in its turn."""
        for prediction in self.among:
            if _failed(prediction, self.below) and not _is_one_of(self.dropped, prediction):
                yield from _wrong(prediction)[: self.shown]


def choose(predictions: Sequence[Prediction], settings: MineSettings) -> Chosen:
    """
    Choose which of *predictions* are errors, and which completions of each are shown.

    They are those that are not correct, and on train, where completions were drawn, those whose
    pass rate is less than *below*. What is shown is the completion itself where it is wrong, and on
    train then what was drawn wrong, *shown* texts of a problem at most: the first by the id of the
    prediction, the others by that and their number ("#2"). On dev it is the completion alone.

    With *most*, only so many problems are kept on train: those that are solved about half of the
    time first, since a problem that is always or never solved teaches least; of equals the first by
    id.
    """
    dropped = _over_most(predictions, settings)
    rejected: Counter[str] = Counter(correct=0)
    for prediction in predictions:
        rejected["correct"] += prediction.verdict == "correct"
        if _failed(prediction, settings.below):
            wrong = len(_wrong(prediction))
            left = wrong if _is_one_of(dropped, prediction) else max(wrong - settings.shown, 0)
            rejected["over mine.most" if left == wrong else "over mine.shown"] += left
        elif prediction.split != "dev":
            rejected["solved often enough"] += len(prediction.slips)
        if prediction.split == "dev":
            rejected["drawn on dev"] += len(prediction.slips)
    rows = sum(1 + len(prediction.slips) for prediction in predictions)
    lost = {why: n for why, n in rejected.items() if n or why == "correct"}
    return Chosen(predictions, settings.shown, settings.below, dropped, rows, lost)


def profile(errors: Iterable[Error], n: int, common: float) -> dict[str, Any]:
    """
    Make the gap profile of *n* dev problems: errors by gap, and those of at least *common* of *n*.
    """
    counts = Counter(error.gap for error in errors if error.split == "dev")
    frequent = sorted(gap for gap, count in counts.items() if n and count / n >= common)
    return {"n": n, "gaps": gaps.listed(counts), "common": frequent}


def decide(
    before: Sequence[Prediction],
    after: Sequence[Prediction],
    *,
    first: bool,
    alpha: float,
    stop: Stop = "significant",
) -> dict[str, Any]:
    """
    Decide whether a round is better on dev than the one before, by exact McNemar at *alpha*.

    A round that is not better stops the loop, and so does one that was passed through or that
    has nothing wrong left; the first round has nothing to be better than. With *stop* ``no_gain``
    any gain is better; with ``never`` only a round that was passed through stops it.
    """
    if not after:
        return {"stop": True, "because": "the round was passed through"}
    if stop != "never" and all(p.verdict == "correct" for p in after):
        return {"stop": True, "because": "every dev problem is solved"}
    if first:
        return {"stop": False, "because": "first round"}
    test = paired(before, after)
    if stop != "significant":
        gained = "a gain over" if test.gain_points > 0 else "no gain over"
        halt = stop == "no_gain" and test.gain_points <= 0
        told = f"{gained} the round before; mine.stop is {stop}"
        return {"stop": halt, "because": told, **test.as_dict()}
    better = test.better(alpha)
    return {"stop": not better, "because": _judged(test, better), **test.as_dict()}


def _judged(test: Paired, better: bool) -> str:
    """What the paired *test* on dev says of a round, in words."""
    if better:
        return "better than the round before"
    if test.gain_points > 0:
        return "the gain over the round before is not significant"
    return "no gain over the round before"


def confused(problems: Mapping[str, Problem], errors: Iterable[Error]) -> dict[str, Any]:
    """
    Count which answer was taken for which, on dev, where a question offers its answers.

    The counts are by the gold answer, then by the one that was taken.
    """
    counts: dict[str, Counter[str]] = {}
    for error in errors:
        if error.split == "dev" and error.gap in gaps.CHOSEN and error.answer is not None:
            counts.setdefault(problems[error.problem].answer, Counter())[error.answer] += 1
    return {gold: dict(sorted(taken.items())) for gold, taken in sorted(counts.items())}


def pass_rate(prediction: Prediction) -> float | None:
    """Return the share of the drawn completions that were correct; None where none were drawn."""
    if prediction.samples is None or prediction.passes is None:
        return None
    return prediction.passes / prediction.samples


def _failed(prediction: Prediction, below: float) -> bool:
    """Whether a prediction is wrong, or on train and solved too rarely."""
    rate = pass_rate(prediction)
    if prediction.verdict != "correct" or prediction.split != "train" or rate is None:
        return prediction.verdict != "correct"
    return bool(prediction.slips) and rate < below


def _wrong(prediction: Prediction) -> list[Prediction]:
    """The wrong completions behind *prediction*, as predictions: its own, then those drawn."""
    own = [prediction] if prediction.verdict != "correct" else []
    drawn = prediction.slips if prediction.split == "train" else []
    found = own + [
        prediction.model_copy(
            update={"completion": slip.completion, "answer": slip.answer, "verdict": slip.verdict}
        )
        for slip in drawn
    ]
    return [
        wrong if place == 0 else wrong.model_copy(update={"id": f"{wrong.id}#{place + 1}"})
        for place, wrong in enumerate(found)
    ]


def _over_most(predictions: Iterable[Prediction], settings: MineSettings) -> frozenset[str]:
    """The ids of the predictions on train that are more than the *most* that are kept."""
    if settings.most is None:
        return frozenset()
    failed = (p for p in predictions if p.split == "train" and _failed(p, settings.below))
    return frozenset(name for _, name in sorted(map(_distance, failed))[settings.most :])


def _is_one_of(dropped: Collection[str], prediction: Prediction) -> bool:
    return prediction.split == "train" and prediction.id in dropped


def _distance(prediction: Prediction) -> tuple[float, str]:
    return abs((pass_rate(prediction) or 0.0) - 0.5), prediction.id


def _error(
    problem: Problem, prediction: Prediction, lesson: Rationale | None, settings: MineSettings
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
        pass_rate=pass_rate(prediction),
        held_out=prediction.split == "train" and settings.folds is not None,
    )


def _history(rationale: Rationale | None) -> list[Version]:
    if rationale is None:
        return []
    return [*rationale.history, Version(round=rationale.round, text=rationale.text)]
