"""Fine-tuning a student on labelled examples through transformers' Trainer."""

import math
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
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
from redistill.students.train import batch, curve, kernels, packing, parts, sharding, shares
from redistill.students.train.checkpoints import KEPT, Keeper, newest
from redistill.students.train.collator import Collator
from redistill.students.train.trainer import StudentTrainer, has_large_head

BETA2 = 0.98  # Adam averages squared gradients over 50 steps: our runs have hundreds, not 1e5
POINTS = 50  # of the loss curve that is recorded, at most


@dataclass(frozen=True)
class Plan:
    """
    How one training goes: *steps* optimiser steps of *batch_size* rows, cosine from the peak.

    *packed* puts the rows of a batch side by side without padding, *recomputed* keeps only some
    activations and computes the others again (gradient checkpointing): slower, and less memory.
    With *batch_tokens* the steps have about as many tokens each, and at most so many are computed
    at a time, instead of a step in *accumulate* parts. *liger* takes the kernels of liger-kernel,
    *compiled* what torch.compile makes of the model.
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
    batch_tokens: int | None = None
    liger: bool = False
    compiled: bool = False

    def __post_init__(self) -> None:
        if self.accumulate < 1 or self.batch_size % self.accumulate:
            raise RefusedError(
                "train.batch_size: must be a multiple of train.accumulate", code=CONFIG
            )
        _ = self.share  # refused where the rows cannot be divided

    @cached_property
    def share(self) -> shares.Share:
        """What this process does of a step."""
        return shares.share(self.batch_size, self.accumulate)


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
    and last tenth of the steps, at most POINTS points between and the tokens, with *batch_tokens*
    what steps came to; apart from these, how long this process took for how many of them. Raises
    RefusedError (code 70) at the first step whose loss or gradient is not finite, and where memory
    runs out; code 78 where *plan* asks for kernels that there are not.
    """
    if not examples:
        raise RefusedError("there is nothing to train on: 0 rationales")
    set_seed(plan.seed)
    torch.use_deterministic_algorithms(not torch.cuda.is_available())
    if plan.packed:
        packing.check(model, examples, half=plan.precision == "bf16")
    if plan.liger:
        kernels.check_liger(model)
    if plan.compiled:
        kernels.check_compiler(model.device)
    cached = model.config.use_cache  # the Trainer sets it to false, and it would be saved so
    resumed = _resumed(saving)
    if resumed:
        step = resumed.name.rpartition("-")[2]
        print(f"{say}: goes on from the checkpoint of step {step}", file=sys.stderr)
    watch = _Watch(Progress(say, plan.steps))
    with TemporaryDirectory() as scratch:
        trainer = StudentTrainer(
            model=sharding.trainee(model),
            args=_arguments(plan, model.device.type == "cpu", saving, scratch),
            train_dataset=_dataset(examples, plan, pad),
            data_collator=_collator(model, plan, pad),
            callbacks=[watch, *([Keeper(resumed)] if saving else []), *curve.followed(say)],
        )
        trainer.pop_callback(_printer())
        _share_out(trainer, examples, plan)
        if rank.count() > 1:
            sharding.sum_exactly(trainer)
        started = time.monotonic()
        with watched(examples, plan):
            trainer.train(resume_from_checkpoint=str(resumed) if resumed else None)
        seconds = time.monotonic() - started
        sharding.collect(trainer, model)
    model.config.use_cache = cached
    watch.progress.close()
    tokens = int(trainer.state.num_input_tokens_seen)
    figures = {"steps": plan.steps, **_curve(watch.losses), "tokens": tokens}
    if plan.batch_tokens:
        lengths = [len(example.ids) for example in examples]
        figures |= parts.told(lengths, plan.batch_size, watch.totals)
    return figures, Timing(seconds, tokens - watch.tokens_before)


def _resumed(saving: Saving | None) -> Path | None:
    """The checkpoint to go on from, which the first process looks up for all."""
    return ranks.agreed(newest(saving.folder) if saving and rank.first() else None)


def _dataset(examples: Sequence[Example], plan: Plan, pad: int) -> Any:
    """The rows of *examples*, and where processes share them one more that teaches nothing."""
    rows = [batch.row(example) for example in examples]
    if rank.count() > 1:
        rows.append({"input_ids": [pad, pad], "labels": [IGNORED, IGNORED]})
    return parts.Parted(rows) if plan.batch_tokens else rows


def _collator(model: Any, plan: Plan, pad: int) -> Collator:
    """What makes batches for *model*: on a CPU with a mask, by which its sums are as ever."""
    return Collator(
        pad=pad,
        packed=plan.packed,
        flash=packing.flash(model),
        masked=model.device.type == "cpu",
        taught=plan.liger or has_large_head(model),
    )


def _share_out(trainer: StudentTrainer, examples: Sequence[Example], plan: Plan) -> None:
    """Say which rows this process computes where that is not for the Trainer to say."""
    tokens = [len(example.ids) for example in examples]
    if plan.batch_tokens:
        lengths = parts.Lengths(tokens, plan.packed)
        trainer.parts = parts.Parts(lengths, plan.batch_size, plan.batch_tokens)
    elif rank.count() > 1:
        trainer.shares = shares.Shares(tokens, plan.batch_size, plan.share)


def _arguments(plan: Plan, on_cpu: bool, saving: Saving | None, scratch: str) -> TrainingArguments:
    checkpoints = {
        "save_strategy": "steps" if saving else "no",
        "save_steps": saving.every if saving else 500,
        "save_total_limit": KEPT,
    }
    half = plan.precision == "bf16"
    return TrainingArguments(
        output_dir=str(saving.folder) if saving else scratch,
        **checkpoints,
        max_steps=plan.steps,
        per_device_train_batch_size=plan.share.rows,
        gradient_accumulation_steps=1 if plan.batch_tokens else plan.share.accumulate,
        activation_checkpointing=plan.recomputed,
        activation_checkpointing_kwargs={"use_reentrant": False},
        learning_rate=plan.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=math.ceil(plan.warmup * plan.steps),
        weight_decay=plan.weight_decay,
        optim="adamw_torch_fused",
        adam_beta2=BETA2,
        use_cpu=on_cpu,
        bf16=half,
        use_liger_kernel=plan.liger,
        torch_compile=plan.compiled,
        tf32=False if plan.compiled and not half else None,  # else it comes with torch_compile
        seed=plan.seed,
        data_seed=plan.seed,
        train_sampling_strategy="group_by_length",
        remove_unused_columns=False,
        report_to=[],
        logging_steps=1,
        logging_nan_inf_filter=False,
        disable_tqdm=True,
        dataloader_pin_memory=not on_cpu,
        accelerator_config={"non_blocking": not on_cpu},
        include_num_input_tokens_seen="all" if plan.packed else "non_padding",
    )


def watched(examples: Sequence[Example], plan: Plan) -> AbstractContextManager[None]:
    """Say what to change where memory runs out in what is done with *examples* by *plan*."""
    longest = max(len(example.ids) for example in examples)
    at_once = counted(plan.batch_size // plan.accumulate, "row")
    smaller = "raise train.accumulate (the same steps in smaller parts)"
    if plan.batch_tokens:
        at_once = f"{plan.batch_tokens} tokens"
        smaller = "lower train.batch_tokens (the same steps in smaller parts)"
    doing = f"training: {at_once} at a time, the longest of {longest} tokens"
    advice = (
        f"{smaller}, set train.checkpointing to true, or lower train.max_tokens or "
        "train.batch_size; checkpoints are kept"
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


class _Watch(TrainerCallback):  # type: ignore[misc]  # transformers is not typed
    """Follows the steps: draws progress, and stops at the first loss that is not finite."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.losses: list[float] = []
        self.totals: list[int] = []  # tokens up to the end of each step
        self.tokens_before = 0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Take over the losses and the count of tokens up to a checkpoint."""
        logs = [log for log in state.log_history if "loss" in log]
        self.losses = [log["loss"] for log in logs]
        self.totals = [int(log["num_input_tokens_seen"]) for log in logs]
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
        self.totals.append(int(state.num_input_tokens_seen))
        self.progress.to(state.global_step, f"loss {loss:.3f}")
