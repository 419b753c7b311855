"""What a check found before anything runs: that it holds, that it fails, or something to know."""

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from redistill.console.exceptions import RefusedError


@dataclass(frozen=True)
class Finding:
    """The outcome of one *check*, in words; only one that ``fails`` stands in the way of a run."""

    check: str
    state: Literal["holds", "fails", "note"]
    told: str


def held(check: str, fault: str | None, told: str) -> Finding:
    """Make a finding that fails with *fault*, or holds with *told* where there is none."""
    return Finding(check, "fails", fault) if fault else Finding(check, "holds", told)


def failing(findings: Iterable[Finding]) -> list[Finding]:
    """Return those of *findings* that stand in the way."""
    return [finding for finding in findings if finding.state == "fails"]


def gate(findings: Sequence[Finding]) -> None:
    """Raise RefusedError with every reason of *findings* that fails; do nothing if none does."""
    reasons = [f"{finding.check}: {finding.told}" for finding in failing(findings)]
    if reasons:
        raise RefusedError("; ".join(reasons) + " (redistill doctor shows more)")


def room(folder: Path, needed: int, what: str) -> Finding:
    """Check whether the disk of *folder*, an existing one, has *needed* bytes free for *what*."""
    free = shutil.disk_usage(folder).free
    fault = f"{_size(free)} free, {what} take about {_size(needed)}" if needed > free else None
    return held("disk", fault, f"{_size(free)} free; {what} take about {_size(needed)}")


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
