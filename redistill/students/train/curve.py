"""The steps of a training, handed on to the tracker of the run as they are logged."""

from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from redistill.console import tracker

PLACES = ("output_dir", "logging_dir")  # of this machine, and of no interest elsewhere


def followed(name: str) -> list[TrainerCallback]:
    """
    Return what follows the training of *name* for the tracker; nothing where there is none.

    The callback that the Trainer's `report_to` stands for gets every event, in a process of its
    own: a tracker that hangs, raises, prints or draws random numbers does so there.
    """
    return [_Curve(name)] if tracker.follows() else []


class _Curve(TrainerCallback):  # type: ignore[misc]  # transformers is not typed
    """Says to the process that tells the tracker what the Trainer says to its callbacks."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._telling: tracker.Telling | None = None

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: Any = None,
        **_: Any,
    ) -> None:
        """Begin with how the training goes, and with the student's configuration."""
        arguments = {k: v for k, v in args.to_sanitized_dict().items() if k not in PLACES}
        count = getattr(model, "num_parameters", None)
        self._telling = tracker.Telling(
            {
                "curve": self.name,
                "arguments": arguments,
                "model": model.config.to_dict() if hasattr(model, "config") else {},
                "parameters": count() if count else None,
            }
        )

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Hand on what was logged of a step, or of the whole training at its end."""
        if self._telling is not None:
            self._telling.say({"step": state.global_step, "epoch": state.epoch, "logs": logs or {}})

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Wait for the tracker to have it all, at most as long as the limit says."""
        if self._telling is not None:
            self._telling.end()
