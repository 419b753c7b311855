"""Whether there is room on disk for what a run will write."""

import shutil
from pathlib import Path

from redistill.findings import Finding, held


def room(folder: Path, needed: int, what: str) -> Finding:
    """Whether the disk of *folder*, an existing one, has *needed* bytes free for *what*."""
    free = shutil.disk_usage(folder).free
    fault = f"{_size(free)} free, {what} take about {_size(needed)}" if needed > free else None
    return held("disk", fault, f"{_size(free)} free; {what} take about {_size(needed)}")


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
