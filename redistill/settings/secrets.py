"""Keys of paid services: known by the name of an environment variable, and never written."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from redistill.console.exceptions import CONFIG, RefusedError

# What services' keys look like; a name of a variable, a path or a sentence does not.
SHAPE = re.compile(
    r"\b(?:sk-[A-Za-z0-9_-]{16,}|hf_[A-Za-z0-9]{20,}|gsk_[A-Za-z0-9]{20,}|AIza[A-Za-z0-9_-]{30,}"
    r"|xai-[A-Za-z0-9]{20,}|ghp_[A-Za-z0-9]{30,})"
)
SCANNED = 65536  # characters of a settings file: keys stand near the top, and it is capped anyway


def refuse_keys(path: Path, text: str) -> None:
    """Refuse settings in which something has the shape of a key, without repeating it."""
    for number, line in enumerate(text[:SCANNED].split("\n"), 1):
        if SHAPE.search(line):
            raise RefusedError(
                f"{path}:{number}: holds what looks like a key; put the key into an environment "
                "variable, its name into params.yaml, and have this one revoked",
                code=CONFIG,
            )


def without_keys(settings: Mapping[str, Any]) -> dict[str, str] | None:
    """Copy the environment without the keys whose names *settings* hold; None where none is set."""
    names = set(_names(settings))
    if not any(name in os.environ for name in names):
        return None
    return {name: value for name, value in os.environ.items() if name not in names}


def _names(content: Mapping[str, Any]) -> list[str]:
    """Every variable that a ``key:`` of a section names, or an ``env:`` in its headers or query."""
    sections = [s for s in content.values() if isinstance(s, Mapping)]
    sections += [s for found in sections for s in found.values() if isinstance(s, Mapping)]
    keys = [section.get("key") for section in sections]
    for section in sections:
        added = [section.get("headers"), section.get("query")]
        values = [v for some in added if isinstance(some, Mapping) for v in some.values()]
        keys += [value.get("env") for value in values if isinstance(value, Mapping)]
    return [name for name in keys if isinstance(name, str)]
