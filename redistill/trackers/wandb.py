"""Weights & Biases: figures in a run's summary, curves in its history."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from redistill.tracking.identity import Identity

DESTINATION = (
    "WANDB_MODE", "WANDB_BASE_URL", "WANDB_ENTITY", "WANDB_PROJECT", "WANDB_DIR",
    "REDISTILL_TRACKER_PROJECT",
)  # fmt: skip


PATIENCE = 20.0  # seconds for a server to answer in, well within what a stage waits


class _Run:
    def __init__(self, run: Any, table: Any) -> None:
        self._run, self._table = run, table

    def figures(self, found: Mapping[str, float]) -> None:
        self._run.summary.update(dict(found))

    def words(self, found: Mapping[str, str]) -> None:
        self._run.summary.update(dict(found))

    def table(self, name: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        cells = [list(row) for row in rows]
        self._run.log({f"tables/{name}": self._table(columns=list(head), data=cells)})

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
    import wandb

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
        settings=wandb.Settings(
            console="off",
            disable_git=True,
            disable_code=True,
            silent=True,
            init_timeout=PATIENCE,
        ),
    )
    return _Run(run, wandb.Table)
