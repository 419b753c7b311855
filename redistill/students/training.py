"""Fine-tuning a student on labelled examples through transformers' Trainer."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Any, Literal

import torch
from datasets import Dataset, Features, List, Value
from transformers import (
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    set_seed,
)

from redistill.progress import Progress
from redistill.refusals import INTERNAL, RefusedError
from redistill.students.labelling import IGNORED, Example

BETA2 = 0.98  # Adam averages squared gradients over 50 steps: our runs have hundreds, not 1e5


@dataclass(frozen=True)
class Plan:
    """How one training goes: *steps* optimiser steps of *batch_size* rows, cosine from the peak."""

    steps: int
    batch_size: int
    accumulate: int
    learning_rate: float
    warmup: float
    weight_decay: float
    precision: Literal["fp32", "bf16"]
    seed: int


def train(
    model: Any, examples: Sequence[Example], plan: Plan, *, pad: int, say: str
) -> dict[str, Any]:
    """
    Train *model* in place on *examples* for exactly *plan.steps* optimiser steps.

    *batch_size* rows make a step, taken *batch_size / accumulate* at a time. Returns loss of the
    first and last tenth of the steps, tokens, wall seconds and tokens per second. Raises
    RefusedError (code 70) at the first step whose loss or gradient is not finite.
    """
    if not examples:
        raise RefusedError("there is nothing to train on: 0 rationales")
    if plan.batch_size % plan.accumulate:
        raise RefusedError("train.batch_size: must be a multiple of train.accumulate", code=78)
    set_seed(plan.seed)
    torch.use_deterministic_algorithms(not torch.cuda.is_available())
    watch = _Watch(Progress(say, plan.steps))
    with TemporaryDirectory() as scratch:
        trainer = Trainer(
            model=model,
            args=TrainingArguments(
                output_dir=scratch,
                max_steps=plan.steps,
                per_device_train_batch_size=plan.batch_size // plan.accumulate,
                gradient_accumulation_steps=plan.accumulate,
                learning_rate=plan.learning_rate,
                lr_scheduler_type="cosine",
                warmup_steps=math.ceil(plan.warmup * plan.steps),
                weight_decay=plan.weight_decay,
                optim="adamw_torch_fused",
                adam_beta2=BETA2,
                use_cpu=model.device.type == "cpu",
                bf16=plan.precision == "bf16",
                seed=plan.seed,
                data_seed=plan.seed,
                train_sampling_strategy="group_by_length",
                length_column_name="length",
                remove_unused_columns=False,
                save_strategy="no",
                report_to=[],
                logging_steps=1,
                logging_nan_inf_filter=False,
                disable_tqdm=True,
                dataloader_pin_memory=False,
                include_num_input_tokens_seen="non_padding",
            ),
            train_dataset=_dataset(examples),
            data_collator=lambda rows: collate(rows, pad),
            callbacks=[watch],
        )
        trainer.pop_callback(_printer())
        started = time.monotonic()
        trainer.train()
        seconds = time.monotonic() - started
    watch.progress.close()
    tenth = max(1, len(watch.losses) // 10)
    tokens = int(trainer.state.num_input_tokens_seen)
    return {
        "steps": plan.steps,
        "loss_first": round(sum(watch.losses[:tenth]) / tenth, 4),
        "loss_last": round(sum(watch.losses[-tenth:]) / tenth, 4),
        "tokens": tokens,
        "seconds": round(seconds, 1),
        "tokens_per_second": round(tokens / seconds),
    }


def mean_nll(model: Any, examples: Sequence[Example], *, pad: int, batch_size: int) -> float:
    """The mean negative log-likelihood, in nats, of the completions' tokens under *model*."""
    model.eval()
    total, tokens = 0.0, 0
    ordered = sorted(examples, key=lambda example: len(example.ids))
    for start in range(0, len(ordered), batch_size):
        for nll, count in token_nll(model, ordered[start : start + batch_size], pad):
            total, tokens = total + nll, tokens + count
    return total / tokens if tokens else math.nan


@torch.inference_mode()
def token_nll(model: Any, examples: Sequence[Example], pad: int) -> list[tuple[float, int]]:
    """For each of *examples* the summed NLL of its completion, in nats, and its tokens."""
    rows = [_row(example) for example in examples]
    batch = {name: values.to(model.device) for name, values in collate(rows, pad).items()}
    labels = batch.pop("labels")[:, 1:]
    logits = model(**batch).logits[:, :-1].float()
    nll = torch.nn.functional.cross_entropy(
        logits.transpose(1, 2), labels, ignore_index=IGNORED, reduction="none"
    ).sum(1)
    counts = (labels != IGNORED).sum(1)
    return list(zip(nll.tolist(), counts.tolist(), strict=True))


def collate(rows: Sequence[dict[str, Any]], pad: int) -> dict[str, torch.Tensor]:
    """Right-pad *rows* to the longest; padding is masked by length, never by id."""
    width = max(len(row["input_ids"]) for row in rows)
    ids = torch.full((len(rows), width), pad)
    labels = torch.full((len(rows), width), IGNORED)
    mask = torch.zeros((len(rows), width), dtype=torch.long)
    for place, row in enumerate(rows):
        size = len(row["input_ids"])
        ids[place, :size] = torch.tensor(row["input_ids"])
        labels[place, :size] = torch.tensor(row["labels"])
        mask[place, :size] = 1
    return {"input_ids": ids, "labels": labels, "attention_mask": mask}


def _row(example: Example) -> dict[str, Any]:
    return {"input_ids": example.ids, "labels": example.labels, "length": len(example.ids)}


def _dataset(examples: Sequence[Example]) -> Dataset:
    ids = List(Value("int64"))
    return Dataset.from_list(
        [_row(example) for example in examples],
        features=Features({"input_ids": ids, "labels": ids, "length": Value("int64")}),
    )


def _printer() -> Any:
    from transformers.trainer_callback import PrinterCallback

    return PrinterCallback


class _Watch(TrainerCallback):  # type: ignore[misc]  # transformers is not typed
    """Follows the steps: draws progress, and stops at the first loss that is not finite."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.losses: list[float] = []

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
