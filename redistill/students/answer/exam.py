"""A student's predictions on problems, graded, with what they cost."""

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from redistill.analysis.scores import passes, score
from redistill.console.exceptions import CONFIG, RefusedError
from redistill.grading.grader import Grader, predict
from redistill.records.balance import Balance
from redistill.records.fingerprint import digest
from redistill.records.types import Prediction, Problem, Slip, Split
from redistill.settings.sections import Section
from redistill.students.answer import local, server
from redistill.students.answer.local import Completion, Draws, Engine
from redistill.students.model import load
from redistill.students.model import precision as precisions
from redistill.students.model.tokens import Encoder

SAMPLED: tuple[Split, ...] = ("train", "dev")  # what mining reads


class EvaluateSettings(Section):
    """
    Section ``evaluate``: who computes, how long an answer may get, and how many are drawn.

    Every problem is answered greedily, and that answer is its score. *samples* more are drawn for
    each problem of train and dev, at *temperature* from the nucleus of *top_p*: its pass rate.
    """

    engine: Literal["local", "server"]
    max_new_tokens: int
    batch_size: int
    precision: precisions.Precision
    samples: int
    temperature: float
    top_p: float


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
    asked: load.StudentSettings,
    grader: Grader,
    settings: EvaluateSettings,
    *,
    seed: int,
) -> tuple[dict[Split, list[Prediction]], dict[str, Any]]:
    """The graded predictions of *student* on every split, and the metrics of the round: `sit`."""
    exams = {split: Exam(split, problems, grader) for split, problems in splits.items()}
    predictions, scores, figures = sit(student, exams, asked, settings, seed=seed)
    return predictions, figures | dict(scores.items())


def sit(
    student: Path,
    exams: Mapping[N, Exam],
    asked: load.StudentSettings,
    settings: EvaluateSettings,
    *,
    seed: int,
) -> tuple[dict[N, list[Prediction]], dict[N, dict[str, Any]], dict[str, Any]]:
    """
    The graded predictions of *student* in every exam, the scores, and what it took.

    A round that was passed through has no student: its predictions are empty, it has no scores,
    and its figures say so. Refused is a *max_new_tokens* below the longest completion that the
    student was taught.
    """
    note = load.read_note(student)
    if note.get("passed_through"):
        return {name: [] for name in exams}, {}, {"passed_through": True}
    _check(settings, note.get("longest_completion", 0))
    load.quiet()
    tokenizer = load.tokenizer(student)
    encoder = Encoder(tokenizer, asked.prompt, chat=asked.chat, system=asked.system)
    rows = [(name, problem) for name, exam in exams.items() for problem in exam.problems]
    sampled = [row for row in rows if exams[row[0]].split in SAMPLED]
    again = [row for row in sampled for _ in range(settings.samples)]
    started = time.monotonic()
    with _engine(student, tokenizer, encoder, asked, settings) as complete:
        greedy = complete([encoder.prompt(problem) for _, problem in rows], None, student.name)
        drawn = _drawn(complete, [problem for _, problem in again], encoder, settings, seed)
    seconds = time.monotonic() - started
    more = iter([_graded(exams[n], p, d) for (n, p), d in zip(again, drawn, strict=True)])
    predictions: dict[N, list[Prediction]] = {name: [] for name in exams}
    for (name, problem), done in zip(rows, greedy, strict=True):
        found = _graded(exams[name], problem, done)
        if settings.samples and found.split in SAMPLED:
            found = _with_passes(found, [next(more) for _ in range(settings.samples)])
        predictions[name].append(found)
    tokens = sum(done.tokens + done.eos for done in [*greedy, *drawn])
    balance = Balance("evaluate", len(rows), sum(len(p) for p in predictions.values()))
    scores = {name: {**score(p), **passes(p)} for name, p in predictions.items()}
    return (
        predictions,
        scores,
        {
            "passed_through": False,
            "precision": precisions.precision(settings.precision),
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
    if "pass_rate" in figures["train"]:
        scores.append(f"train pass rate {100 * figures['train']['pass_rate']:.1f} %")
    return (
        f"{', '.join(scores)}, {figures['balance']['rows_out']} answers, "
        f"{figures['tokens_per_second']} tokens/s, {figures['seconds']} s"
    )


def _check(settings: EvaluateSettings, longest: int) -> None:
    if settings.max_new_tokens < longest:
        raise RefusedError(
            f"evaluate.max_new_tokens: {settings.max_new_tokens} is less than the longest "
            f"completion that the student was taught ({longest}); raise it",
            code=CONFIG,
        )
    if settings.samples < 0 or settings.batch_size < 1:
        raise RefusedError("evaluate: samples is from 0, batch_size from 1", code=CONFIG)
    if settings.samples and not (0 < settings.temperature <= 10 and 0 < settings.top_p <= 1):
        raise RefusedError(
            f"evaluate.samples: to draw {settings.samples} completions, temperature must be above "
            "0 (at most 10), and top_p above 0 (at most 1); greedy ones are all alike",
            code=CONFIG,
        )


def _engine(
    student: Path,
    tokenizer: Any,
    encoder: Encoder,
    asked: load.StudentSettings,
    settings: EvaluateSettings,
) -> AbstractContextManager[Engine]:
    if settings.engine == "server":
        return server.served(
            student,
            eos=encoder.eos,
            max_new_tokens=settings.max_new_tokens,
            text_of=lambda ids: str(tokenizer.decode(ids, clean_up_tokenization_spaces=False)),
        )
    precisions.warn(student.name, "evaluate.precision", settings.precision)
    return local.local(
        student,
        tokenizer,
        encoder,
        max_new_tokens=settings.max_new_tokens,
        batch_size=settings.batch_size,
        precision=settings.precision,
        attention=asked.attention,
    )


def _drawn(
    complete: Engine,
    problems: Sequence[Problem],
    encoder: Encoder,
    settings: EvaluateSettings,
    seed: int,
) -> list[Completion]:
    """A completion of each of *problems*, in which every problem stands *samples* times."""
    if not problems:
        return []
    seeds = [
        int(digest(str(seed), problem.id, str(place % settings.samples)), 16)
        for place, problem in enumerate(problems)
    ]
    draws = Draws(settings.temperature, settings.top_p, seeds)
    return complete([encoder.prompt(problem) for problem in problems], draws, "samples")


def _graded(exam: Exam, problem: Problem, done: Completion) -> Prediction:
    return predict(
        problem, exam.split, done.text, eos=done.eos, tokens=done.tokens, grader=exam.grader
    )


def _with_passes(prediction: Prediction, drawn: Sequence[Prediction]) -> Prediction:
    wrong = [other for other in drawn if other.verdict != "correct"]
    slip = None
    if wrong and prediction.verdict == "correct":
        first = wrong[0]
        slip = Slip(completion=first.completion, answer=first.answer, verdict=first.verdict)
    count = {"samples": len(drawn), "passes": len(drawn) - len(wrong), "slip": slip}
    return prediction.model_copy(update=count)
