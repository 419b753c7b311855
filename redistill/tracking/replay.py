"""A training as the Trainer told of it, told again to the callback that `report_to` stands for."""

from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any

from redistill.tracking.identity import Identity
from redistill.tracking.sent import Sent
from redistill.tracking.tracker import Run

OVER = "train_runtime"  # in the figures of a whole training


def replay(
    tracker: str,
    identity: Identity,
    run: Run,
    begun: Mapping[str, Any],
    events: Iterable[Mapping[str, Any]],
    sent: Sent,
) -> None:
    """
    Tell the Trainer's callback for *tracker* of the training that *begun* and *events* describe.

    Steps that *sent* knows of are left out: a training that goes on from a checkpoint, or is
    repeated, draws no second curve. What it was begun with is told once.
    """
    from transformers.integrations import get_reporting_integration_callbacks

    (callback,) = (kind() for kind in get_reporting_integration_callbacks([tracker]))
    again = sent.step > 0
    args = _arguments(identity, {} if again else begun["arguments"])
    model = _model({} if again else begun["model"], begun["parameters"])
    state = _state()
    run.follow(callback, args, state, model)
    with sent.following() as steps:
        for event in events:
            state.global_step, state.epoch = event["step"], event["epoch"]
            if steps.takes(event["step"], over=OVER in event["logs"]):
                callback.on_log(args, state, SimpleNamespace(), model=model, logs=event["logs"])
    callback.on_train_end(args, state, SimpleNamespace(), model=model)


def _arguments(identity: Identity, told: Mapping[str, Any]) -> Any:
    """What the callbacks read of the Trainer's arguments, *told* by those of the training."""
    return SimpleNamespace(
        to_dict=lambda: dict(told),
        run_name=identity.name,
        project=identity.project,
        output_dir=None,
        logging_steps=1,
        hub_private_repo=None,
        trackio_space_id=None,
        trackio_bucket_id=None,
        trackio_static_space_id=False,
    )


def _model(config: Mapping[str, Any], parameters: int | None) -> Any:
    """What the callbacks read of a model."""
    return SimpleNamespace(
        config=SimpleNamespace(to_dict=lambda: dict(config)), num_parameters=lambda: parameters
    )


def _state() -> Any:
    return SimpleNamespace(
        global_step=0,
        epoch=0.0,
        is_world_process_zero=True,
        is_hyper_param_search=False,
        trial_name=None,
        logging_steps=1,
    )
