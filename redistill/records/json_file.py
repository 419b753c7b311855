"""Files of JSON and of text, each read whole and written in one atomic replacement."""

import json
from pathlib import Path
from typing import Any

from redistill.console import drafts
from redistill.console.exceptions import RefusedError


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write *content* as indented JSON with sorted keys, in one atomic replacement."""
    text = json.dumps(content, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False)
    write_text(path, text + "\n")


def write_text(path: Path, text: str) -> None:
    """Write *text* in one atomic replacement of *path*."""
    with drafts.file(path) as draft:
        draft.write_text(text, encoding="utf-8", newline="\n")


def read_json(file: Path) -> dict[str, Any]:
    """Read the metrics in *file*; refuses one that is not there or no JSON, with what to do."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as problem:
        raise RefusedError(
            f"{file}: cannot be read: {problem.strerror}; run dvc repro"
        ) from problem
    except ValueError as problem:
        raise RefusedError(f"{file}: not JSON: {problem}; run dvc repro") from problem
    if not isinstance(content, dict):
        raise RefusedError(f"{file}: not an object of JSON; run dvc repro")
    return content
