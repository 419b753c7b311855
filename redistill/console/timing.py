"""How long a piece of work took, in files that DVC does not hash: no stage depends on them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from redistill.console import drafts, rank


@dataclass(frozen=True)
class Timing:
    """The wall *seconds* that a process took, and the *tokens* that it went through in them."""

    seconds: float
    tokens: int

    @property
    def tokens_per_second(self) -> int:
        """Tokens a second; 0 where no time passed."""
        return round(self.tokens / self.seconds) if self.seconds else 0

    def __str__(self) -> str:
        shared = f" on {rank.count()} processes" if rank.count() > 1 else ""
        return f"{self.tokens_per_second} tokens/s, {self.seconds:.1f} s{shared}"


def write(path: Path, timing: Timing | None) -> None:
    """Write *timing* to *path*; None, where nothing was computed, leaves no file there."""
    if timing is None:
        path.unlink(missing_ok=True)
        return
    content = {
        "seconds": round(timing.seconds, 1),
        "tokens": timing.tokens,
        "tokens_per_second": timing.tokens_per_second,
    }
    if rank.count() > 1:
        content["processes"] = rank.count()
    with drafts.file(path) as draft:
        draft.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read(folder: Path) -> dict[str, dict[str, float]]:
    """
    Read what is timed under *folder*, by stage and branch, as in ``train/r0``.

    What is no timing is left out.
    """
    found = {}
    for file in sorted(folder.glob("*/*.json")):
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            found[f"{file.parent.name}/{file.stem}"] = {
                name: float(content[name]) for name in ("seconds", "tokens", "tokens_per_second")
            }
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return found


def lines(found: Mapping[str, Mapping[str, float]]) -> list[tuple[str, ...]]:
    """
    Write *found*, which `read` read, as a table: a row for each branch, a column for each stage.

    >>> lines({"train/r0": {"seconds": 2.0, "tokens": 60, "tokens_per_second": 30}})
    [('branch', 'train'), ('r0', '2.0 s, 30 tokens/s')]
    """
    cells: dict[str, dict[str, str]] = {}
    for name, timing in found.items():
        stage, _, branch = name.partition("/")
        told = f"{timing['seconds']:.1f} s, {timing['tokens_per_second']:,.0f} tokens/s"
        cells.setdefault(branch, {})[stage] = told
    stages = list(dict.fromkeys(stage for row in cells.values() for stage in row))
    rows = ((branch, *(row.get(stage, "") for stage in stages)) for branch, row in cells.items())
    return [("branch", *stages), *rows]
