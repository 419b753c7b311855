"""Weights & Biases: figures in a run's summary, curves in its history."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import wandb

from redistill.tracking.identity import Identity

DESTINATION = (
    "WANDB_MODE", "WANDB_BASE_URL", "WANDB_ENTITY", "WANDB_PROJECT", "WANDB_DIR",
    "REDISTILL_TRACKER_PROJECT",
)  # fmt: skip


class _Run:
    def __init__(self, run: Any) -> None:
        self._run = run

    def figures(self, found: Mapping[str, float]) -> None:
        self._run.summary.update(dict(found))

    def words(self, found: Mapping[str, str]) -> None:
        self._run.summary.update(dict(found))

    def table(self, name: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        cells = [list(row) for row in rows]
        self._run.log({f"tables/{name}": wandb.Table(columns=list(head), data=cells)})

    def follow(self, callback: Any, args: Any, state: Any, model: Any) -> None:
        callback.on_train_begin(args, state, None, model=model)

    def end(self) -> None:
        self._run.finish()


def begin(identity: Identity, place: Path) -> _Run:
    """
    Open the run of *identity*, or go on with it.

    Neither what is printed nor code, nor git's differences are taken along, which hold more than
    figures. WANDB_MODE=offline keeps it in *place*, for `wandb sync`.
    """
    import os

    place.mkdir(parents=True, exist_ok=True)
    run = wandb.init(
        project=os.environ.get("WANDB_PROJECT") or identity.project,
        id=identity.id,
        name=identity.name,
        group=identity.group,
        job_type=identity.branch,
        config={"commit": identity.commit, "branch": identity.branch, **identity.settings},
        resume="allow",
        dir=os.environ.get("WANDB_DIR") or str(place),
        settings=wandb.Settings(console="off", disable_git=True, disable_code=True, silent=True),
    )
    return _Run(run)
