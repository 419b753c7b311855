"""A student's predictions on problems, graded, with what they cost."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from redistill import grading
from redistill.grading import Grader
from redistill.params import Section
from redistill.records import Balance, Prediction, Problem, Split
from redistill.refusals import CONFIG, RefusedError
from redistill.scoring import score
from redistill.students import answering, labelling, loading


class Settings(Section):
    """Section ``evaluate``: how long an answer may get, and how many are written at once."""

    max_new_tokens: int
    batch_size: int
    precision: loading.Precision


@dataclass(frozen=True)
class Exam:
    """Problems to answer, the split that they are of, and the grader of the answers."""

    split: Split
    problems: Sequence[Problem]
    grader: Grader


N = TypeVar("N", bound=str)


def examine(
    student: Path,
    splits: Mapping[Split, Sequence[Problem]],
    asked: loading.Settings,
    grader: Grader,
    settings: Settings,
) -> tuple[dict[Split, list[Prediction]], dict[str, Any]]:
    """The graded predictions of *student* on every split, and the metrics of the round: `sit`."""
    exams = {split: Exam(split, problems, grader) for split, problems in splits.items()}
    predictions, scores, figures = sit(student, exams, asked, settings)
    return predictions, figures | dict(scores.items())


def sit(
    student: Path, exams: Mapping[N, Exam], asked: loading.Settings, settings: Settings
) -> tuple[dict[N, list[Prediction]], dict[N, dict[str, float]], dict[str, Any]]:
    """
    The graded predictions of *student* in every exam, the scores, and what it took.

    A round that was passed through has no student: its predictions are empty, it has no scores,
    and its figures say so. Refused is a *max_new_tokens* below the longest completion that the
    student was taught.
    """
    note = loading.read_note(student)
    if note.get("passed_through"):
        return {name: [] for name in exams}, {}, {"passed_through": True}
    longest = note.get("longest_completion", 0)
    if settings.max_new_tokens < longest:
        raise RefusedError(
            f"evaluate.max_new_tokens: {settings.max_new_tokens} is less than the longest "
            f"completion that the student was taught ({longest}); raise it",
            code=CONFIG,
        )
    loading.quiet()
    precision = loading.precision(settings.precision)
    model = loading.model(student, dtype=precision, attention=asked.attention)
    tokenizer = loading.tokenizer(student)
    encoder = labelling.Encoder(tokenizer, asked.prompt, chat=asked.chat, system=asked.system)
    predictions: dict[N, list[Prediction]] = {}
    tokens, started = 0, time.monotonic()
    for name, exam in exams.items():
        answers = answering.answer(
            model,
            [encoder.prompt(problem) for problem in exam.problems],
            eos=encoder.eos,
            pad=int(tokenizer.pad_token_id),
            max_new_tokens=settings.max_new_tokens,
            batch_size=settings.batch_size,
            say=f"{student.name} {name}",
        )
        tokens += sum(len(answer.ids) + answer.eos for answer in answers)
        predictions[name] = [
            grading.predict(
                problem,
                exam.split,
                encoder.decode(answer.ids),
                eos=answer.eos,
                tokens=len(answer.ids),
                grader=exam.grader,
            )
            for problem, answer in zip(exam.problems, answers, strict=True)
        ]
    seconds = time.monotonic() - started
    asked_rows = sum(len(exam.problems) for exam in exams.values())
    balance = Balance("evaluate", asked_rows, sum(len(p) for p in predictions.values()))
    scores = {name: score(found) for name, found in predictions.items()}
    return (
        predictions,
        scores,
        {
            "passed_through": False,
            "precision": precision,
            "seconds": round(seconds, 1),
            "tokens_per_second": round(tokens / seconds) if seconds else 0,
            "balance": balance.as_dict(),
        },
    )


def told(figures: Mapping[str, Any]) -> str:
    """One line on what happened."""
    if figures["passed_through"]:
        return "passed through: no student of its own"
    scores = [f"{split} {100 * figures[split]['accuracy']:.1f} %" for split in ("train", "dev")]
    return (
        f"{', '.join(scores)}, {figures['balance']['rows_out']} answers, "
        f"{figures['tokens_per_second']} tokens/s, {figures['seconds']} s"
    )
