"""What DVC keeps of a run, and whether it is whole: its lock file and its locks."""

import json
from pathlib import Path

from redistill.console.preflight import Finding


def locks(root: Path) -> list[Finding]:
    """
    Check the state of dvc.lock and of DVC's own lock file in *root*.

    A kill while DVC writes leaves dvc.lock without content, or its lock file without sense; each
    comes with the command that mends it, and neither costs a call to a teacher.
    """
    return [_lock_file(root / "dvc.lock"), _rwlock(root / ".dvc" / "tmp" / "rwlock")]


def _lock_file(file: Path) -> Finding:
    if not file.exists():
        return Finding("dvc.lock", "note", "not there: every stage is new")
    text = file.read_text(encoding="utf-8", errors="replace")
    if text.strip() and "stages:" in text and "\0" not in text:
        return Finding("dvc.lock", "holds", "readable")
    told = "it was cut off while it was written: git checkout dvc.lock, then dvc repro"
    return Finding("dvc.lock", "fails", f"{told} (what was paid for is in the store)")


def _rwlock(file: Path) -> Finding:
    if not file.exists() or not file.read_bytes().strip():
        return Finding("DVC's locks", "holds", "none is held")
    try:
        held = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        return Finding("DVC's locks", "fails", f"{file.name} is not readable: rm .dvc/tmp/rwlock")
    return Finding("DVC's locks", "note" if held else "holds", _told(held))


def _told(held: object) -> str:
    paths = sorted(held) if isinstance(held, dict) else []
    return f"a run holds {len(paths)} paths" if paths else "none is held"
