"""Fine-tuning a student on labelled examples through transformers' Trainer."""

import inspect
import math
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import torch
from transformers import (
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    set_seed,
)

from redistill.console import rank
from redistill.console.counted import counted
from redistill.console.exceptions import CONFIG, INTERNAL, RefusedError
from redistill.console.progress import Progress
from redistill.console.timing import Timing
from redistill.students.model import memory, ranks
from redistill.students.model.tokens import IGNORED, Example
from redistill.students.train import batch, curve, packing, sharding, shares
from redistill.students.train.checkpoints import KEPT, Keeper, newest

BETA2 = 0.98  # Adam averages squared gradients over 50 steps: our runs have hundreds, not 1e5
POINTS = 50  # of the loss curve that is recorded, at most
LARGE = 4096  # from this vocabulary on, logits are worth leaving out where nothing is taught


@dataclass(frozen=True)
class Plan:
    """
    How one training goes: *steps* optimiser steps of *batch_size* rows, cosine from the peak.

    *packed* puts the rows of a batch side by side without padding, *recomputed* keeps only some
    activations and computes the others again (gradient checkpointing): slower, and less memory.
    """

    steps: int
    batch_size: int
    accumulate: int
    learning_rate: float
    warmup: float
    weight_decay: float
    precision: Literal["fp32", "bf16"]
    seed: int
    packed: bool = False
    recomputed: bool = False

    def __post_init__(self) -> None:
        if self.accumulate < 1 or self.batch_size % self.accumulate:
            raise RefusedError(
                "train.batch_size: must be a multiple of train.accumulate", code=CONFIG
            )
        shares.share(self.batch_size, self.accumulate)


@dataclass(frozen=True)
class Saving:
    """Where checkpoints go, and after how many steps the next."""

    folder: Path
    every: int


def train(
    model: Any,
    examples: Sequence[Example],
    plan: Plan,
    *,
    pad: int,
    say: str,
    saving: Saving | None = None,
) -> tuple[dict[str, Any], Timing]:
    """
    Train *model* in place on *examples* for exactly *plan.steps* optimiser steps.

    *batch_size* rows make a step, taken *batch_size / accumulate* at a time. With *saving* it goes
    on from the latest complete checkpoint, as if it had never stopped. Returns loss of the first
    and last tenth of the steps, at most POINTS points between and the tokens; apart from these, how
    long this process took for how many of them. Raises RefusedError (code 70) at the first step
    whose loss or gradient is not finite, and where memory runs out.
    """
    if not examples:
        raise RefusedError("there is nothing to train on: 0 rationales")
    set_seed(plan.seed)
    torch.use_deterministic_algorithms(not torch.cuda.is_available())
    if plan.packed:
        packing.check(model, examples, half=plan.precision == "bf16")
    cached = model.config.use_cache  # the Trainer sets it to false, and it would be saved so
    resumed = _resumed(saving)
    if resumed:
        step = resumed.name.rpartition("-")[2]
        print(f"{say}: goes on from the checkpoint of step {step}", file=sys.stderr)
    watch = _Watch(Progress(say, plan.steps))
    with TemporaryDirectory() as scratch:
        trainer = (_OfTaught if _has_large_head(model) else shares.Sharing)(
            model=sharding.trainee(model),
            args=_arguments(plan, model.device.type == "cpu", saving, scratch),
            train_dataset=_dataset(examples, pad),
            data_collator=packing.collate if plan.packed else lambda rows: batch.collate(rows, pad),
            callbacks=[watch, *([Keeper(resumed)] if saving else []), *curve.followed(say)],
        )
        trainer.pop_callback(_printer())
        if rank.count() > 1:
            trainer.shares = _shares(examples, plan)
        started = time.monotonic()
        with watched(examples, plan):
            trainer.train(resume_from_checkpoint=str(resumed) if resumed else None)
        seconds = time.monotonic() - started
        sharding.collect(trainer, model)
    model.config.use_cache = cached
    watch.progress.close()
    tokens = int(trainer.state.num_input_tokens_seen)
    figures = {"steps": plan.steps, **_curve(watch.losses), "tokens": tokens}
    return figures, Timing(seconds, tokens - watch.tokens_before)


def _resumed(saving: Saving | None) -> Path | None:
    """The checkpoint to go on from, which the first process looks up for all."""
    return ranks.agreed(newest(saving.folder) if saving and rank.first() else None)


def _dataset(examples: Sequence[Example], pad: int) -> list[dict[str, Any]]:
    """The rows of *examples*, and where processes share them one more that teaches nothing."""
    rows = [batch.row(example) for example in examples]
    filler = {"input_ids": [pad], "labels": [IGNORED]}
    return [*rows, filler] if rank.count() > 1 else rows


def _shares(examples: Sequence[Example], plan: Plan) -> shares.Shares:
    own = shares.share(plan.batch_size, plan.accumulate)
    return shares.Shares([len(each.ids) for each in examples], plan.batch_size, own)


def _arguments(plan: Plan, on_cpu: bool, saving: Saving | None, scratch: str) -> TrainingArguments:
    checkpoints = {
        "save_strategy": "steps" if saving else "no",
        "save_steps": saving.every if saving else 500,
        "save_total_limit": KEPT,
    }
    own = shares.share(plan.batch_size, plan.accumulate)
    return TrainingArguments(
        output_dir=str(saving.folder) if saving else scratch,
        **checkpoints,
        max_steps=plan.steps,
        per_device_train_batch_size=own.rows,
        gradient_accumulation_steps=own.accumulate,
        activation_checkpointing=plan.recomputed,
        activation_checkpointing_kwargs={"use_reentrant": False},
        learning_rate=plan.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=math.ceil(plan.warmup * plan.steps),
        weight_decay=plan.weight_decay,
        optim="adamw_torch_fused",
        adam_beta2=BETA2,
        use_cpu=on_cpu,
        bf16=plan.precision == "bf16",
        seed=plan.seed,
        data_seed=plan.seed,
        train_sampling_strategy="group_by_length",
        remove_unused_columns=False,
        report_to=[],
        logging_steps=1,
        logging_nan_inf_filter=False,
        disable_tqdm=True,
        dataloader_pin_memory=False,
        include_num_input_tokens_seen="all" if plan.packed else "non_padding",
    )


def watched(examples: Sequence[Example], plan: Plan) -> AbstractContextManager[None]:
    """Say what to change where memory runs out in what is done with *examples* by *plan*."""
    longest = max(len(example.ids) for example in examples)
    rows = plan.batch_size // plan.accumulate
    doing = f"training: {counted(rows, 'row')} at a time, the longest of {longest} tokens"
    advice = (
        "raise train.accumulate (the same steps in smaller parts), set train.checkpointing to "
        "true, or lower train.max_tokens or train.batch_size; checkpoints are kept"
    )
    return memory.watched(doing, advice)


def _curve(losses: Sequence[float]) -> dict[str, Any]:
    tenth = max(1, len(losses) // 10)
    every = math.ceil(len(losses) / POINTS)
    return {
        "loss_first": round(sum(losses[:tenth]) / tenth, 4),
        "loss_last": round(sum(losses[-tenth:]) / tenth, 4),
        "losses": [round(loss, 4) for loss in losses[::every]],
        "losses_every": every,
    }


def _printer() -> Any:
    from transformers.trainer_callback import PrinterCallback

    return PrinterCallback


def _has_large_head(model: Any) -> bool:
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    takes = "logits_to_keep" in inspect.signature(inner.forward).parameters
    return takes and int(model.config.get_text_config().vocab_size) >= LARGE


class _OfTaught(shares.Sharing):
    """
    Computes logits at the places where something is taught, and at no others.

    A prompt's logits carry no loss; with a vocabulary of 50,000 they are most of the memory of a
    small student, and much of its time. The loss is the same sum over the same tokens.
    """

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """The summed cross-entropy of the taught tokens over how many the whole step has."""
        labels = inputs.pop("labels")[:, 1:]
        taught = labels != IGNORED
        places = taught.any(0).nonzero().flatten()
        outputs = model(**inputs, logits_to_keep=places)
        kept = taught[:, places]
        loss = torch.nn.functional.cross_entropy(
            outputs.logits[kept].float(), labels[:, places][kept], reduction="sum"
        )
        loss = loss / (taught.sum() if num_items_in_batch is None else num_items_in_batch)
        if self.args.average_tokens_across_devices and num_items_in_batch is not None:
            loss = loss * self.accelerator.num_processes  # the gradients are averaged over them
        return (loss, outputs) if return_outputs else loss


class _Watch(TrainerCallback):  # type: ignore[misc]  # transformers is not typed
    """Follows the steps: draws progress, and stops at the first loss that is not finite."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.losses: list[float] = []
        self.tokens_before = 0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Take over the losses and the count of tokens up to a checkpoint."""
        self.losses = [log["loss"] for log in state.log_history if "loss" in log]
        self.tokens_before = int(state.num_input_tokens_seen)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        loss = (logs or {}).get("loss")
        if loss is None:
            return
        norm = float((logs or {}).get("grad_norm", 0.0))
        if not math.isfinite(loss) or not math.isfinite(norm):
            raise RefusedError(
                f"training broke down at step {state.global_step}: loss {loss}, gradient norm "
                f"{norm}, learning rate {(logs or {}).get('learning_rate')}; lower the rate",
                code=INTERNAL,
            )
        self.losses.append(loss)
        self.progress.to(state.global_step, f"loss {loss:.3f}")
