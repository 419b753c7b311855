"""A round's student: fitted to the round's rationales, or passed through where none is new."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from redistill.console import preflight
from redistill.console.exceptions import CONFIG, RefusedError
from redistill.console.timing import Timing
from redistill.records.balance import Balance
from redistill.records.types import Problem, Rationale
from redistill.rounds.branches import Branch
from redistill.students.model.note import save_note
from redistill.students.model.settings import StudentSettings
from redistill.students.model.tokens import Encoder, Example, check
from redistill.students.train import checks
from redistill.students.train.settings import LoraSettings, TrainSettings

if TYPE_CHECKING:
    from redistill.students.train import loop

DISK = 4  # times the weights: the student, and a checkpoint with the optimiser's two moments


@dataclass(frozen=True)
class Fitted:
    """What a metrics file records of a training, and how long it took; None if passed through."""

    figures: dict[str, Any]
    timing: Timing | None

    def __str__(self) -> str:
        if self.timing is None:
            return "passed through: no rationale was written for this round"
        return (
            f"{self.figures['steps']} steps, loss {self.figures['loss_first']} to "
            f"{self.figures['loss_last']}, {self.figures['labels']['rows']} rationales (NLL before "
            f"{self.figures['nll_before']}), {self.timing}"
        )


def fit(
    problems: Mapping[str, Problem],
    rationales: Sequence[Rationale],
    start: Path,
    out: Path,
    branch: Branch,
    student: StudentSettings,
    settings: TrainSettings,
    seed: int,
    lora: LoraSettings | None = None,
    *,
    max_new_tokens: int,
) -> Fitted:
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
        save_note(out, {"passed_through": True})
        balance = Balance("train", len(rationales), 0, {"passed through": len(rationales)})
        return Fitted({"passed_through": True, "steps": 0, "balance": balance.as_dict()}, None)
    from redistill.students.model import load, precision  # torch: not to pass through
    from redistill.students.train import likelihood, loop
    from redistill.students.train import lora as adapters

    plan = _plan(settings, student, branch.times, seed)
    load.quiet()
    model = load.model(start, attention=student.attention)
    tokenizer = load.tokenizer(start)
    encoder = Encoder.of(tokenizer, student)
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
    checked = check(examples, encoder.eos)
    pad = int(tokenizer.pad_token_id)
    precision.warn(out.name, "train.precision", plan.precision)
    with loop.watched(examples, plan):
        at_once = settings.batch_size // settings.accumulate
        nll = likelihood.mean_nll(model, examples[: settings.nll_rows], pad=pad, batch_size=at_once)
    if settings.method == "lora" and lora is None:
        raise RefusedError("train.method: lora needs the section lora", code=CONFIG)
    chosen = lora if settings.method == "lora" else None
    how = {
        **asdict(plan),
        "lora": chosen.model_dump() if chosen else None,
        "attention": student.attention,
        "device": precision.device(),
    }
    with _saving(settings.save_every, out.name, examples, start, how) as saving:
        trained = adapters.adapted(model, chosen, seed) if chosen else model
        figures, timing = loop.train(trained, examples, plan, pad=pad, say=out.name, saving=saving)
        model = adapters.merged(trained) if chosen else model
        load.stop_at(model, encoder.eos)
        load.save(model, tokenizer, out, {"longest_completion": checked["longest_completion"]})
    written = sum(rationale.round == branch.rationales for rationale in rationales)
    labels = {"labels": checked, "balance": balance.as_dict(), "rewritten": written}
    used = {"method": settings.method, "precision": plan.precision, "packing": plan.packed}
    told = {**figures, **labels, **used, "nll_before": round(nll, 4), "passed_through": False}
    return Fitted(told, timing)


def _plan(settings: TrainSettings, student: StudentSettings, times: int, seed: int) -> "loop.Plan":
    from redistill.students.model import precision
    from redistill.students.train import loop

    used = precision.precision(settings.precision)
    if student.attention == "flash_attention_2" and used == "fp32":
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
        precision=used,
        seed=seed,
        packed=settings.packing,
        recomputed=settings.checkpointing,
    )


@contextmanager
def _saving(
    every: int, name: str, examples: Sequence[Example], start: Path, how: dict[str, Any]
) -> Iterator["loop.Saving | None"]:
    """Where checkpoints go until the student is saved; None where none are asked for."""
    if not every:
        yield None
        return
    from redistill.students.train import checkpoints, loop

    with checkpoints.kept(name, checkpoints.key(examples, start, how)) as folder:
        yield loop.Saving(folder, every)


def lessons(
    problems: Mapping[str, Problem], rationales: Sequence[Rationale]
) -> list[checks.Lesson]:
    """Pair each of *rationales* with its problem; refuses one whose problem is not in train."""
    for rationale in rationales:
        if rationale.problem not in problems:
            raise RefusedError(
                f"rationale {rationale.id!r}: no train problem {rationale.problem!r}"
            )
    return [(problems[rationale.problem], rationale.text) for rationale in rationales]


def kept(made: checks.Rows, max_tokens: int) -> tuple[list[Example], Balance]:
    """Return the rows of at most *max_tokens*, and how many were left out, by reason."""
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
