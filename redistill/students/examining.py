"""A student's predictions on problems, graded, with what they cost."""

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal

from redistill import grading
from redistill.grading import Grader
from redistill.params import Section
from redistill.records import Balance, Prediction, Problem, Slip, Split, digest
from redistill.refusals import CONFIG, RefusedError
from redistill.scoring import passes, score
from redistill.students import completing, labelling, loading, serving
from redistill.students.completing import Completion, Draws, Engine

SAMPLED: tuple[Split, ...] = ("train", "dev")  # what mining reads


class Settings(Section):
    """
    Section ``evaluate``: who computes, how long an answer may get, and how many are drawn.

    Every problem is answered greedily, and that answer is its score. *samples* more are drawn for
    each problem of train and dev, at *temperature* from the nucleus of *top_p*: its pass rate.
    """

    engine: Literal["local", "server"]
    max_new_tokens: int
    batch_size: int
    precision: Literal["fp32", "bf16"]
    samples: int
    temperature: float
    top_p: float


def examine(
    student: Path,
    splits: Mapping[Split, Sequence[Problem]],
    asked: loading.Settings,
    grader: Grader,
    settings: Settings,
    *,
    seed: int,
) -> tuple[dict[Split, list[Prediction]], dict[str, Any]]:
    """
    The graded predictions of *student* on every split, and the metrics of the round.

    A round that was passed through has no student: its predictions are empty, and its metrics say
    so. Refused is a *max_new_tokens* below the longest completion that the student was taught.
    """
    note = loading.read_note(student)
    if note.get("passed_through"):
        return {split: [] for split in splits}, {"passed_through": True}
    _check(settings, note.get("longest_completion", 0))
    loading.quiet()
    tokenizer = loading.tokenizer(student)
    encoder = labelling.Encoder(tokenizer, asked.prompt, chat=asked.chat)
    rows = [(split, problem) for split, problems in splits.items() for problem in problems]
    again = [row for row in rows if row[0] in SAMPLED for _ in range(settings.samples)]
    started = time.monotonic()
    with _engine(student, tokenizer, encoder, settings) as complete:
        greedy = complete([encoder.prompt(problem) for _, problem in rows], None, student.name)
        drawn = _drawn(complete, [problem for _, problem in again], encoder, settings, seed)
    seconds = time.monotonic() - started
    found = [_graded(row, done, grader) for row, done in zip(rows, greedy, strict=True)]
    more = [_graded(row, done, grader) for row, done in zip(again, drawn, strict=True)]
    predictions: dict[Split, list[Prediction]] = {split: [] for split in splits}
    for prediction in _sampled(found, more, settings.samples):
        predictions[prediction.split].append(prediction)
    tokens = sum(done.tokens + done.eos for done in [*greedy, *drawn])
    balance = Balance("evaluate", len(rows), sum(len(p) for p in predictions.values()))
    return predictions, {
        "passed_through": False,
        **{split: {**score(p), **passes(p)} for split, p in predictions.items()},
        "seconds": round(seconds, 1),
        "tokens_per_second": round(tokens / seconds) if seconds else 0,
        "balance": balance.as_dict(),
    }


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


def _check(settings: Settings, longest: int) -> None:
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
    student: Path, tokenizer: Any, encoder: labelling.Encoder, settings: Settings
) -> AbstractContextManager[Engine]:
    if settings.engine == "server":
        return serving.served(
            student,
            eos=encoder.eos,
            max_new_tokens=settings.max_new_tokens,
            text_of=lambda ids: str(tokenizer.decode(ids, clean_up_tokenization_spaces=False)),
        )
    return completing.local(
        student,
        tokenizer,
        encoder,
        max_new_tokens=settings.max_new_tokens,
        batch_size=settings.batch_size,
        precision=settings.precision,
    )


def _drawn(
    complete: Engine,
    problems: Sequence[Problem],
    encoder: labelling.Encoder,
    settings: Settings,
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


def _graded(row: tuple[Split, Problem], done: Completion, grader: Grader) -> Prediction:
    split, problem = row
    return grading.predict(
        problem, split, done.text, eos=done.eos, tokens=done.tokens, grader=grader
    )


def _sampled(
    found: Sequence[Prediction], more: Sequence[Prediction], samples: int
) -> list[Prediction]:
    """The predictions *found*, with the passes among *samples* of each that are in *more*."""
    if not samples:
        return list(found)
    drawn = iter(more)
    return [
        _with_passes(p, [next(drawn) for _ in range(samples)]) if p.split in SAMPLED else p
        for p in found
    ]


def _with_passes(prediction: Prediction, drawn: Sequence[Prediction]) -> Prediction:
    wrong = [other for other in drawn if other.verdict != "correct"]
    slip = None
    if wrong and prediction.verdict == "correct":
        slip = Slip(completion=wrong[0].completion, verdict=wrong[0].verdict)
    count = {"samples": len(drawn), "passes": len(drawn) - len(wrong), "slip": slip}
    return prediction.model_copy(update=count)
