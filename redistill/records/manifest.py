"""What a folder holds, by size and sha256: written last, and checked before the folder is used."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from redistill.records import json_file

NAME = "manifest.json"
VERSION = 1


def write(folder: Path) -> None:
    """
    Write the manifest of every file under *folder*, after all of them are on disk.

    It is the folder's commit point: one that was interrupted has none.
    """
    files = {}
    for file in _files(folder):
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
        files[file.relative_to(folder).as_posix()] = {
            "bytes": file.stat().st_size,
            "sha256": _sha256(file),
        }
    json_file.write_json(folder / NAME, {"version": VERSION, "files": files})
    for path in (folder / NAME, folder):
        handle = os.open(path, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)


def verify(folder: Path) -> list[str]:
    """
    Name everything in which *folder* differs from its manifest, one line a file; empty if nothing.

    A file that the manifest does not list is a fault too: what reads the folder might read it.
    """
    listed = _listed(folder)
    if isinstance(listed, str):
        return [listed]
    found = {file.relative_to(folder).as_posix(): file for file in _files(folder)}
    faults = [_fault(folder / name, listed[name]) for name in sorted(listed)]
    faults += [f"{folder / name}: not in the manifest" for name in sorted(set(found) - set(listed))]
    faults += [
        f"{path}: a link to a folder, which is not in the manifest"
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() and path.is_dir()
    ]
    return [fault for fault in faults if fault]


def digest(folder: Path) -> str:
    """Compute the sha256 of the manifest itself, which stands for everything in *folder*."""
    return _sha256(folder / NAME)


def _listed(folder: Path) -> dict[str, Any] | str:
    """The files that the manifest lists, or what is wrong with the manifest."""
    path = folder / NAME
    if not path.is_file():
        return f"{path}: missing, so the folder is incomplete"
    try:
        files = json.loads(path.read_text(encoding="utf-8"))["files"]
        sound = all(
            isinstance(entry["bytes"], int) and isinstance(entry["sha256"], str)
            for entry in files.values()
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return f"{path}: damaged, it is no manifest"
    inside = all(not Path(name).is_absolute() and ".." not in Path(name).parts for name in files)
    return files if sound and inside else f"{path}: damaged, it is no manifest"


def _fault(file: Path, entry: dict[str, Any]) -> str | None:
    if not file.is_file():
        return f"{file}: missing"
    size, found = file.stat().st_size, _sha256(file)
    if size == entry["bytes"] and found == entry["sha256"]:
        return None
    return (
        f"{file}: {size} bytes with sha256 {found}, "
        f"expected {entry['bytes']} bytes with sha256 {entry['sha256']}"
    )


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if not p.is_dir() and p != folder / NAME)


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
