"""What a check found: that it holds, that it fails, or something to know."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from redistill.refusals import RefusedError


@dataclass(frozen=True)
class Finding:
    """The outcome of one *check*, in words; only one that ``fails`` stands in the way of a run."""

    check: str
    state: Literal["holds", "fails", "note"]
    told: str


def held(check: str, fault: str | None, told: str) -> Finding:
    """A finding that fails with *fault*, or holds with *told* where there is none."""
    return Finding(check, "fails", fault) if fault else Finding(check, "holds", told)


def failing(findings: Iterable[Finding]) -> list[Finding]:
    """Those of *findings* that stand in the way."""
    return [finding for finding in findings if finding.state == "fails"]


def gate(findings: Sequence[Finding]) -> None:
    """Raise RefusedError with every reason of *findings* that fails; do nothing if none does."""
    reasons = [f"{finding.check}: {finding.told}" for finding in failing(findings)]
    if reasons:
        raise RefusedError("; ".join(reasons) + " (redistill doctor shows more)")
