"""The Trainer of students: steps in parts, logits where something is taught, no waiting."""

import inspect
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch.utils.data import DataLoader

from redistill.console import rank
from redistill.students.train import shares
from redistill.students.train.parts import Parts

LARGE = 4096  # from this vocabulary on, logits are worth leaving out where nothing is taught
FOUND = ("places", "cells", "targets", "shifted")  # what a collator says of what is taught


def has_large_head(model: Any) -> bool:
    """Say whether *model* can leave out logits, and has so many that it pays."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    takes = "logits_to_keep" in inspect.signature(inner.forward).parameters
    return takes and int(model.config.get_text_config().vocab_size) >= LARGE


class StudentTrainer(shares.Sharing):
    """
    Trains on steps of several parts, and computes logits at the places where something is taught.

    A prompt's logits carry no loss; with a vocabulary of 50,000 they are most of the memory of a
    small student, and much of its time. The loss is the same sum over the same tokens. Between two
    logs nothing is asked of tensors on the device, so that the host goes on while it computes.
    """

    parts: Parts | None = None
    _own_tokens = 0  # of this process, since those of all were last summed

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Return steps in parts where there are some, else what each process is dealt."""
        if self.parts is None:
            return super().get_train_dataloader()
        return DataLoader(
            self.train_dataset,
            batch_sampler=self.parts,
            collate_fn=self._collated,
            pin_memory=self.args.dataloader_pin_memory,
        )

    def training_step(
        self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None
    ) -> Any:
        """Compute a step's parts one after another; gradients of all processes meet in the last."""
        if "parts" not in inputs:
            return super().training_step(model, inputs, num_items_in_batch)
        losses = []
        for left, part in zip(range(len(inputs["parts"]))[::-1], inputs["parts"], strict=True):
            with self.accelerator.no_sync(model) if left else nullcontext():
                losses.append(super().training_step(model, part, num_items_in_batch))
        return torch.stack(losses).sum()

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Return the summed cross-entropy of the taught tokens over how many the step has."""
        inputs.pop("tokens")
        if "places" not in inputs:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        labels, found = inputs.pop("labels"), {name: inputs.pop(name) for name in FOUND}
        outputs, loss = self._summed(model, inputs, found)
        taught = (labels[:, 1:] >= 0).sum() if num_items_in_batch is None else num_items_in_batch
        loss = loss / taught
        if self.args.average_tokens_across_devices and num_items_in_batch is not None:
            loss = loss * self.accelerator.num_processes  # the gradients are averaged over them
        return (loss, outputs) if return_outputs else loss

    def _summed(self, model: Any, inputs: dict[str, Any], found: dict[str, Any]) -> Any:
        """What the model makes of *inputs*, and the sum of the losses of all that is *found*."""
        places = found["places"]
        if self.args.use_liger_kernel:  # which fuses the head with the loss, and makes no logits
            fused = {"shift_labels": found["shifted"], "skip_logits": True, "num_items_in_batch": 1}
            outputs = model(**inputs, logits_to_keep=places, **fused)
            return outputs, outputs.loss
        outputs = model(**inputs, logits_to_keep=places)
        logits = outputs.logits.flatten(0, 1).index_select(0, found["cells"]).float()
        loss = torch.nn.functional.cross_entropy(logits, found["targets"], reduction="sum")
        return outputs, loss

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """Return none: the count would only stand in a checkpoint, and asks for whole steps."""
        return 0

    def _collated(self, step: Sequence[Sequence[dict[str, Any]]]) -> dict[str, Any]:
        return {"parts": [self.data_collator(rows) for rows in step]}

    def _prepare_input(self, data: Any) -> Any:
        """Move *data* to the device without waiting for it."""
        if isinstance(data, torch.Tensor):
            return data.to(self.args.device, non_blocking=self.args.dataloader_pin_memory)
        return super()._prepare_input(data)

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: Any) -> Any:
        """Count the taught tokens of a step: of all its parts."""
        each = [part for step in batch_samples for part in step.get("parts", [step])]
        return super()._get_num_items_in_batch(each, device)

    def _track_num_input_tokens(self, inputs: dict[str, Any]) -> None:
        """Count the tokens of all processes' rows, once a step."""
        self._own_tokens += sum(part["tokens"] for part in inputs.get("parts", [inputs]))
        if not self.accelerator.sync_gradients:
            return
        tokens, self._own_tokens = self._own_tokens, 0
        if rank.count() > 1:
            own = torch.tensor(tokens, device=self.args.device)
            tokens = int(self.accelerator.gather(own).sum().item())
        self.state.num_input_tokens_seen += tokens
