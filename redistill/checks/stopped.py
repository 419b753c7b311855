"""Rounds that change nothing any more, because the loop stopped before them."""

import json
from pathlib import Path

from redistill.diagnosis.settings import MineSettings
from redistill.rounds import branches
from redistill.settings.sections import Params


def idle(root: Path, params: Params) -> list[str]:
    """
    Say which rounds of *params* will be passed through, and why, as the run in *root* stands.

    That is known of what has been mined already; with ``mine.stop: never`` no round is passed.
    """
    if params.section("mine", MineSettings).stop == "never":
        return []
    known = branches.branches(params)
    stops: dict[str, str] = {}
    for name in branches.rounds_of(known)[1:]:
        before = known[name].from_
        if why := _stopped(root / f"metrics/gaps/{before}.json"):
            stops[name] = f"the loop stopped at {before}, as metrics/gaps/{before}.json says: {why}"
    if not stops:
        return []
    return [
        f"{', '.join(stops)}: nothing is refined and no student trained; "
        f"{next(iter(stops.values()))}. mine.stop: never runs every round, no_gain those after "
        "any gain"
    ]


def _stopped(file: Path) -> str | None:
    """Why the loop stopped, as `mine` wrote it to *file*; None where it did not, or has not run."""
    if not file.is_file():
        return None
    decision = json.loads(file.read_text(encoding="utf-8"))["decision"]
    return str(decision["because"]) if decision["stop"] else None
