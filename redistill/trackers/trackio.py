"""Trackio: local by default, in SQLite; a run is known by its name."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from redistill.tracking.identity import Identity

DESTINATION = (
    "TRACKIO_DIR", "TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL", "REDISTILL_TRACKER_PROJECT",
)  # fmt: skip


class _Run:
    def __init__(self, trackio: Any, run: Any) -> None:
        self._trackio, self._run = trackio, run
        self._open = True

    def figures(self, found: Mapping[str, float]) -> None:
        self._run.log(dict(found))

    def words(self, found: Mapping[str, str]) -> None:
        self._run.log({name: self._trackio.Markdown(text) for name, text in found.items()})

    def table(self, name: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        cells = [dict(zip(head, row, strict=True)) for row in rows]
        self._run.log({f"tables/{name}": self._trackio.Table(data=cells)})

    def follow(self, callback: Any, args: Any, state: Any, model: Any) -> None:
        """
        Have *callback* log into this run, which it would open anew without its group.

        What it would add to the configuration then is added here.
        """
        config = self._trackio.config
        config.update({**model.config.to_dict(), **args.to_dict()}, allow_val_change=True)
        config["model/num_parameters"] = model.num_parameters()
        callback._initialized = True
        self._open = False  # it ends the run with the training

    def end(self) -> None:
        if self._open:
            self._trackio.finish()


def begin(identity: Identity, place: Path) -> _Run:
    """Open the run of *identity*, or go on with it; it lies where Trackio keeps its projects."""
    import trackio

    run = trackio.init(
        project=identity.project,
        name=identity.name,
        group=identity.group,
        config={"commit": identity.commit, "branch": identity.branch, **identity.settings},
        resume="allow",
        embed=False,
        auto_log_cpu=False,
    )
    return _Run(trackio, run)
