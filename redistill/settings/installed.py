"""Which code a project was made with: the installed version, and a digest of each module."""

import hashlib
import importlib.metadata
import importlib.util
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from redistill.console.exceptions import CONFIG, RefusedError

STAMP = "installed.json"
PACKAGES = ("redistill", "stages")
SKIPPED = ("__pycache__", "project")


def stamp() -> dict[str, Any]:
    """
    Make the stamp of what is installed: ``version``, and a digest a module, nested as packages are.

    Stages of a project depend on its entries as those of a clone depend on the source files, so
    that an upgrade reruns what it changes and nothing else.
    """
    found: dict[str, Any] = {"version": importlib.metadata.version("redistill")}
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        assert spec is not None  # noqa: S101 - one of them is running this
        assert spec.origin is not None  # noqa: S101
        found[name] = _digests(Path(spec.origin).parent)
    return found


def differences(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> list[str]:
    """Return the modules, by their dotted names, in which two stamps differ."""
    one, other = dict(_flat(theirs)), dict(_flat(ours))
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


def check(root: Path) -> None:
    """
    Refuse to run a project in *root* with other code than its stamp names.

    A folder without a stamp, such as a clone of the repository, is let through. Raises
    RefusedError (78) with the command that brings the project up to date.
    """
    file = root / STAMP
    if not file.is_file():
        return
    theirs, ours = read(file), stamp()
    changed = [name for name in differences(theirs, ours) if name != "version"]
    if changed:
        raise RefusedError(
            f"{file}: the project is of redistill {theirs.get('version')}, and {ours['version']} "
            f"is installed, which differs in {len(changed)} modules ({changed[0]} first): "
            "redistill upgrade makes the stages stale that import them",
            code=CONFIG,
        )


def read(file: Path) -> dict[str, Any]:
    """Read the stamp in *file*; raises RefusedError (78) where it is none."""
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as problem:
        raise RefusedError(
            f"{file}: not a stamp: {problem}; redistill upgrade writes it anew", code=CONFIG
        ) from problem


def _digests(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for entry in sorted(folder.iterdir()):
        if entry.name in SKIPPED:
            continue
        if entry.is_dir():
            if inner := _digests(entry):
                found[entry.name] = inner
        elif entry.stat().st_size and entry.suffix not in (".pyc", ".so"):
            content = hashlib.sha256(entry.read_bytes()).hexdigest()
            found[entry.stem if entry.suffix in (".py", ".txt") else entry.name] = content[:16]
    return found


def _flat(stamp: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    for name, value in stamp.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", str(value)
