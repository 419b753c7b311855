"""What a tracker has to offer, and where its modules are found."""

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

from redistill.tracking.identity import Identity


class Run(Protocol):
    """A run of a tracker that is open, in which what is told under one name replaces itself."""

    def figures(self, found: Mapping[str, float]) -> None:
        """Record numbers by their names."""

    def words(self, found: Mapping[str, str]) -> None:
        """Record short texts by their names."""

    def table(self, name: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Record a table."""

    def follow(self, callback: Any, args: Any, state: Any, model: Any) -> None:
        """Have the Trainer's *callback* for this tracker log the training into this run."""

    def end(self) -> None:
        """Send what is not sent, and end; raises what the tracker could not do."""


class Tracker(Protocol):
    """A module of `redistill.trackers`, by the name that the Trainer's `report_to` has for it."""

    DESTINATION: Sequence[str]
    """Variables of the environment that say where runs go."""

    def begin(self, identity: Identity, place: Path) -> Run:
        """Open the run of *identity*, or go on with it; what it needs on disk lies in *place*."""


def load(name: str) -> Tracker:
    """Load the tracker *name*, whose package is imported with it."""
    return cast(Tracker, importlib.import_module(f"redistill.trackers.{name}"))
