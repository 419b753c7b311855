"""A round's student: fitted to the round's rationales, or passed through where none is new."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from redistill.console import preflight
from redistill.console.exceptions import CONFIG, RefusedError
from redistill.records.balance import Balance
from redistill.records.types import Problem, Rationale
from redistill.settings.branches import Branch
from redistill.settings.sections import Section
from redistill.students.model import likelihood, load, tokens
from redistill.students.model import precision as precisions
from redistill.students.train import checkpoints, checks, loop
from redistill.students.train.lora import LoraSettings, adapted, merged

DISK = 4  # times the weights: the student, and a checkpoint with the optimiser's two moments


class TrainSettings(Section):
    """Section ``train``: one training of *steps* optimiser steps, times those of the branch."""

    method: Literal["full", "lora"]
    steps: int
    batch_size: int
    accumulate: int
    learning_rate: float
    warmup: float
    weight_decay: float
    precision: precisions.Precision
    packing: bool
    checkpointing: bool
    save_every: int
    max_tokens: int
    nll_rows: int
    max_loss: float


def fit(
    problems: Mapping[str, Problem],
    rationales: Sequence[Rationale],
    start: Path,
    out: Path,
    branch: Branch,
    student: load.StudentSettings,
    settings: TrainSettings,
    seed: int,
    lora: LoraSettings | None = None,
    *,
    max_new_tokens: int,
) -> dict[str, Any]:
    """
    Train the student of *branch* from *start* on *rationales*, and save it to *out*.

    Where not one of the rationales was written for the branch's round, the same student would come
    out as before: *out* then holds only the note that the round was passed through. Rationales of
    more than *max_tokens* with their prompt are left out whole and counted, never cut off. Before a
    step is taken, every check of `checks` must hold, among them that answers of *max_new_tokens*
    are as long as what is taught; RefusedError names what does not.
    """
    if not rationales:
        raise RefusedError("there is nothing to train on: 0 rationales")
    if not any(rationale.round == branch.rationales for rationale in rationales):
        load.save_note(out, {"passed_through": True})
        balance = Balance("train", len(rationales), 0, {"passed through": len(rationales)})
        return {"passed_through": True, "steps": 0, "balance": balance.as_dict()}
    plan = _plan(settings, student, branch.times, seed)
    load.quiet()
    model = load.model(start, attention=student.attention)
    tokenizer = load.tokenizer(start)
    encoder = tokens.Encoder(tokenizer, student.prompt, chat=student.chat, system=student.system)
    taught = lessons(problems, rationales)
    made = checks.rows(encoder, taught)
    examples, balance = kept(made, settings.max_tokens)
    balance.check(settings.max_loss)
    limits = checks.Limits(
        max_tokens=settings.max_tokens,
        max_loss=settings.max_loss,
        max_new_tokens=max_new_tokens,
        context=getattr(model.config, "max_position_embeddings", None),
        vocabulary=int(model.get_input_embeddings().num_embeddings),
    )
    size = sum(weight.numel() * weight.element_size() for weight in model.parameters())
    room = preflight.room(start.parent, DISK * size, "the student and its optimiser")
    preflight.gate([*checks.examine(encoder, taught, made, limits), room])
    checked = tokens.check(examples, encoder.eos)
    pad = int(tokenizer.pad_token_id)
    precisions.warn(out.name, "train.precision", plan.precision)
    with loop.watched(examples, plan):
        at_once = settings.batch_size // settings.accumulate
        nll = likelihood.mean_nll(model, examples[: settings.nll_rows], pad=pad, batch_size=at_once)
    chosen = lora if settings.method == "lora" else None
    if settings.method == "lora" and lora is None:
        raise RefusedError("train.method: lora needs the section lora", code=CONFIG)
    how = {
        **asdict(plan),
        "lora": chosen.model_dump() if chosen else None,
        "attention": student.attention,
        "device": precisions.device(),
    }
    with _saving(settings.save_every, out.name, examples, start, how) as saving:
        trained = adapted(model, chosen, seed) if chosen else model
        figures = loop.train(trained, examples, plan, pad=pad, say=out.name, saving=saving)
        model = merged(trained) if chosen else model
        load.stop_at(model, encoder.eos)
        load.save(model, tokenizer, out, {"longest_completion": checked["longest_completion"]})
    written = sum(rationale.round == branch.rationales for rationale in rationales)
    labels = {"labels": checked, "balance": balance.as_dict(), "rewritten": written}
    used = {"method": settings.method, "precision": plan.precision, "packing": plan.packed}
    return {**figures, **labels, **used, "nll_before": round(nll, 4), "passed_through": False}


def _plan(
    settings: TrainSettings, student: load.StudentSettings, times: int, seed: int
) -> loop.Plan:
    precision = precisions.precision(settings.precision)
    if student.attention == "flash_attention_2" and precision == "fp32":
        raise RefusedError("student.attention: flash_attention_2 needs bf16", code=CONFIG)
    if settings.save_every < 0:
        raise RefusedError("train.save_every: expected a number of steps from 0", code=CONFIG)
    return loop.Plan(
        steps=settings.steps * times,
        batch_size=settings.batch_size,
        accumulate=settings.accumulate,
        learning_rate=settings.learning_rate,
        warmup=settings.warmup,
        weight_decay=settings.weight_decay,
        precision=precision,
        seed=seed,
        packed=settings.packing,
        recomputed=settings.checkpointing,
    )


@contextmanager
def _saving(
    every: int, name: str, examples: Sequence[tokens.Example], start: Path, how: dict[str, Any]
) -> Iterator[loop.Saving | None]:
    """Where checkpoints go until the student is saved; None where none are asked for."""
    if not every:
        yield None
        return
    with checkpoints.kept(name, checkpoints.key(examples, start, how)) as folder:
        yield loop.Saving(folder, every)


def lessons(
    problems: Mapping[str, Problem], rationales: Sequence[Rationale]
) -> list[checks.Lesson]:
    """Each of *rationales* with its problem; refuses one whose problem is not in train."""
    for rationale in rationales:
        if rationale.problem not in problems:
            raise RefusedError(
                f"rationale {rationale.id!r}: no train problem {rationale.problem!r}"
            )
    return [(problems[rationale.problem], rationale.text) for rationale in rationales]


def kept(made: checks.Rows, max_tokens: int) -> tuple[list[tokens.Example], Balance]:
    """The training rows of at most *max_tokens*, and how many were left out, by reason."""
    examples = [row for row in made.examples if len(row.ids) <= max_tokens]
    rejected = Counter(why for _, why in made.untaught)
    if too_long := len(made.examples) - len(examples):
        rejected[f"over {max_tokens} tokens"] = too_long
    if not examples:
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(rejected.items()))
        raise RefusedError(
            f"no rationale can be taught: {reasons} (train.max_tokens: {max_tokens})"
        )
    count = len(made.examples) + len(made.untaught)
    return examples, Balance("train", count, len(examples), dict(rejected))


def told(figures: Mapping[str, Any]) -> str:
    """One line on what happened."""
    if figures["passed_through"]:
        return "passed through: no rationale was written for this round"
    return (
        f"{figures['steps']} steps, loss {figures['loss_first']} to {figures['loss_last']}, "
        f"{figures['labels']['rows']} rationales (NLL before {figures['nll_before']}), "
        f"{figures['tokens_per_second']} tokens/s, {figures['seconds']} s"
    )
