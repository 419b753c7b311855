"""What a stage notes of a student beside its weights, read without opening them."""

import json
from pathlib import Path
from typing import Any

from redistill.records import manifest

NOTE = "redistill.json"


def save_note(out: Path, note: dict[str, Any]) -> None:
    """Write *note* and the manifest: all there is to a round that was passed through."""
    out.mkdir(parents=True, exist_ok=True)
    (out / NOTE).write_text(json.dumps(note, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    manifest.write(out)


def read_note(student: Path) -> dict[str, Any]:
    """Read what was noted of *student*; empty for one from elsewhere."""
    file = student / NOTE
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}
