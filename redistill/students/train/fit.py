"""A round's student: fitted to the round's rationales, or passed through where none is new."""

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from redistill.console import preflight, rank
from redistill.console.exceptions import CONFIG, RefusedError
from redistill.console.timing import Timing
from redistill.records import lessons
from redistill.records.balance import Balance
from redistill.records.lessons import Lesson
from redistill.records.types import Problem, Rationale
from redistill.rounds.branches import Branch
from redistill.students.model.note import save_note
from redistill.students.model.settings import StudentSettings
from redistill.students.model.tokens import Encoder, Example, check
from redistill.students.train import checks
from redistill.students.train.settings import LoraSettings, TrainSettings

if TYPE_CHECKING:
    from redistill.students.train import loop

COMPARED = 8  # rows whose loss must be the same before LoRA is merged and after it was saved
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
            f"{self.figures['loss_last']}, {self.figures['labels']['rows']} lessons (NLL before "
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
    out as before: *out* then holds only the note that the round was passed through. What is taught
    of each rationale, its latest text or older ones too, `records.lessons` says; texts of more
    than *max_tokens* with their prompt are left out whole and counted, never cut off. Before a step
    is taken, every check of `checks` must hold, among them that answers of *max_new_tokens* are as
    long as what is taught; RefusedError names what does not.
    """
    if passes(rationales, branch):
        if rank.first():
            save_note(out, {"passed_through": True})
        balance = Balance("train", len(rationales), 0, {"passed through": len(rationales)})
        return Fitted({"passed_through": True, "steps": 0, "balance": balance.as_dict()}, None)
    taught = lessons.taught(rationales, branch.lessons)
    way = Way(student, settings, seed, lora, settings.steps * branch.times, max_new_tokens)
    figures, timing = teach(problems, taught, start, out, way)
    written = sum(rationale.round == branch.rationales for rationale in rationales)
    told = {"lessons": branch.lessons, "rationales": len(rationales), "rewritten": written}
    return Fitted({**figures, **told, "passed_through": False}, timing)


def passes(rationales: Sequence[Rationale], branch: Branch) -> bool:
    """
    Say whether *branch* is passed through: not one of *rationales* was written for its round.

    Raises RefusedError where there are none at all.
    """
    if not rationales:
        raise RefusedError("there is nothing to train on: 0 rationales")
    return not any(rationale.round == branch.rationales for rationale in rationales)


@dataclass(frozen=True)
class Way:
    """How one student is taught, as the settings say: for how many *steps* in all, with what."""

    student: StudentSettings
    settings: TrainSettings
    seed: int
    lora: LoraSettings | None
    steps: int
    max_new_tokens: int


def teach(
    problems: Mapping[str, Problem],
    taught: Sequence[Lesson],
    start: Path,
    out: Path,
    way: Way,
) -> tuple[dict[str, Any], Timing]:
    """
    Train the student in *start* on what is *taught*, save it to *out*, and return figures.

    Processes that share the work of a stage train it together, and the first one saves it.
    """
    from redistill.students.model import load, precision, ranks  # torch: not to pass through
    from redistill.students.model import saving as trial
    from redistill.students.train import attention, likelihood, loop
    from redistill.students.train import lora as adapters

    student, settings = way.student, way.settings
    plan = _plan(way)
    kernel = attention.chosen(settings, student.attention, half=plan.precision == "bf16")
    load.quiet()
    ranks.begin()
    model = load.model(start, attention=kernel)
    tokenizer = load.tokenizer(start)
    encoder = Encoder.of(tokenizer, student)
    pairs = paired(problems, taught)
    trial.try_out(model, tokenizer, str(start))
    room = preflight.room(start.parent, DISK * _size(model), "the student and its optimiser")
    examples, balance = _looked_through(pairs, encoder, _limits(model, way), room, out.name, way)
    checked = check(examples, encoder.eos)
    pad = int(tokenizer.pad_token_id)
    precision.warn(out.name, "train.precision", plan.precision)
    at_once = _at_once(settings, examples)
    with loop.watched(examples, plan):
        nll = likelihood.mean_nll(
            model, examples[: settings.nll_rows], pad=pad, batch_size=at_once, shared=True
        )
    chosen = _chosen(way)
    how = _how(plan, chosen, kernel)
    with _saving(settings.save_every, out.name, examples, start, how) as saving:
        trained = adapters.adapted(model, chosen, way.seed) if chosen else model
        figures, timing = loop.train(trained, examples, plan, pad=pad, say=out.name, saving=saving)
        if rank.first():
            few = examples[:COMPARED] if chosen else []
            loss = likelihood.mean_nll(trained, few, pad=pad, batch_size=at_once)
            model = adapters.merged(trained) if chosen else model
            load.stop_at(model, encoder.eos)
            load.write(model, tokenizer, out)
            del model, trained  # room for the one that is read back
            if few:
                saved = load.model(out, attention=kernel)
                again = likelihood.mean_nll(saved, few, pad=pad, batch_size=at_once)
                adapters.hold(loss, again, len(few))
            save_note(out, {"longest_completion": checked["longest_completion"]})
        ranks.wait()
    rows = {"labels": checked, "balance": balance.as_dict(), "nll_before": round(nll, 4)}
    used = {"method": settings.method, "precision": plan.precision, "packing": plan.packed}
    return {**figures, **rows, **used, **_faster(settings, kernel)}, timing


def _size(model: Any) -> int:
    """The bytes of the weights of *model*."""
    return sum(weight.numel() * weight.element_size() for weight in model.parameters())


def _looked_through(
    pairs: Sequence[checks.Lesson],
    encoder: Encoder,
    limits: checks.Limits,
    room: preflight.Finding,
    name: str,
    way: Way,
) -> tuple[list[Example], Balance]:
    """The rows of *pairs* that are learnt, with what became of all, once nothing speaks against."""
    made = checks.rows(encoder, pairs)
    examples, balance = kept(made, limits)
    balance.check(way.settings.max_loss)
    _say_unfit(name, made, limits)
    preflight.gate([*checks.examine(encoder, pairs, made, limits), room])
    return examples, balance


def _faster(settings: TrainSettings, kernel: str | None) -> dict[str, Any]:
    """What of the settings that are for speed was asked for, and which attention it came to."""
    asked = {"liger": settings.liger, "compile": settings.compile}
    found: dict[str, Any] = {name: value for name, value in asked.items() if value}
    return {**found, **({"attention": kernel} if settings.attention else {})}


def _at_once(settings: TrainSettings, examples: Sequence[Example]) -> int:
    """How many rows are computed at a time where nothing is learnt."""
    if settings.batch_tokens is None:
        return settings.batch_size // settings.accumulate
    return max(1, settings.batch_tokens // max(len(example.ids) for example in examples))


def _how(plan: "loop.Plan", chosen: LoraSettings | None, kernel: str | None) -> dict[str, Any]:
    """What a checkpoint has to have been made by; not how many processes made it."""
    from redistill.students.model import precision
    from redistill.students.train import sharding

    return {
        **asdict(plan),
        "lora": chosen.model_dump() if chosen else None,
        "attention": kernel,
        "device": precision.device(),
        **({"sharded": True} if sharding.sharded() else {}),
    }


def _chosen(way: Way) -> LoraSettings | None:
    """The section ``lora`` where it is what the student is taught by."""
    if way.settings.method != "lora":
        return None
    if way.lora is None:
        raise RefusedError("train.method: lora needs the section lora", code=CONFIG)
    return way.lora


def _limits(model: Any, way: Way) -> checks.Limits:
    from redistill.students.model import load

    return checks.Limits(
        max_tokens=way.settings.max_tokens,
        max_loss=way.settings.max_loss,
        max_new_tokens=way.max_new_tokens,
        context=load.context(model.config),
        vocabulary=int(model.get_input_embeddings().num_embeddings),
    )


def _plan(way: Way) -> "loop.Plan":
    from redistill.students.model import precision
    from redistill.students.train import loop

    settings, student = way.settings, way.student
    used = precision.precision(settings.precision)
    if student.attention == "flash_attention_2" and used == "fp32":
        raise RefusedError("student.attention: flash_attention_2 needs bf16", code=CONFIG)
    return loop.Plan(
        steps=way.steps,
        batch_size=settings.batch_size,
        accumulate=settings.accumulate,
        learning_rate=settings.learning_rate,
        warmup=settings.warmup,
        weight_decay=settings.weight_decay,
        precision=used,
        seed=way.seed,
        packed=settings.packing,
        recomputed=settings.checkpointing,
        batch_tokens=settings.batch_tokens,
        liger=settings.liger,
        compiled=settings.compile,
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


def paired(problems: Mapping[str, Problem], taught: Sequence[Lesson]) -> list[checks.Lesson]:
    """Pair each text that is *taught* with its problem; refuses one whose problem is not there."""
    for lesson in taught:
        if lesson.rationale.problem not in problems:
            raise RefusedError(
                f"rationale {lesson.rationale.id!r}: no train problem {lesson.rationale.problem!r}"
            )
    return [(problems[lesson.rationale.problem], lesson.text) for lesson in taught]


def kept(made: checks.Rows, limits: checks.Limits) -> tuple[list[Example], Balance]:
    """
    Return the rows of at most *max_tokens* that fit the context, and how many do not, by reason.

    Nothing else leaves a row out: `train` depends on no setting of `evaluate`.
    """
    short = [row for row in made.examples if len(row.ids) <= limits.max_tokens]
    examples = [row for row in short if checks.fits(row, limits)]
    rejected = Counter(why for _, why in made.untaught)
    if too_long := len(made.examples) - len(short):
        rejected[f"over {limits.max_tokens} tokens"] = too_long
    if unfit := len(short) - len(examples):
        rejected[f"over the context of {limits.context} tokens"] = unfit
    if not examples:
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(rejected.items()))
        raise RefusedError(
            f"no rationale can be taught: {reasons} (train.max_tokens: {limits.max_tokens})"
        )
    count = len(made.examples) + len(made.untaught)
    return examples, Balance("train", count, len(examples), dict(rejected))


def _say_unfit(who: str, made: checks.Rows, limits: checks.Limits) -> None:
    """Name on stderr the problems whose rows are left out for the context's sake."""
    if told := checks.unfit(made, limits):
        print(f"{who}: {told}", file=sys.stderr, flush=True)
