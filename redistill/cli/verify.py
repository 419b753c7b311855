"""Whether what a run has on disk is what was written: everything hashed anew."""

import hashlib
import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from redistill.console.exceptions import RefusedError
from redistill.llm import store
from redistill.records.manifest import NAME as MANIFEST

LOCK = "dvc.lock"
CACHE = ".dvc/cache/files/md5"

Place = Literal["working tree", "cache"]
Check = Callable[[Path], Iterable[str]]


@dataclass
class Report:
    """The *faults*, a line each, and how many files were hashed in which place."""

    faults: list[str] = field(default_factory=list)
    hashed: dict[Place, int] = field(default_factory=lambda: {"working tree": 0, "cache": 0})
    absent: dict[Place, int] = field(default_factory=lambda: {"working tree": 0, "cache": 0})
    left_out: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        """How many files were hashed in all."""
        return sum(self.hashed.values())


@dataclass(frozen=True)
class Named:
    """A file that dvc.lock names: the out it is part of, its path, and the MD5 of its bytes."""

    out: str
    path: str
    md5: str


def verify(
    root: Path,
    *,
    cache: Path,
    database: Path,
    folders: dict[Path, Check] | None = None,
    declared: Mapping[str, set[str]] | None = None,
    writing: Iterable[str] = (),
) -> Report:
    """
    Hash every file that dvc.lock in *root* names, in the working tree and in DVC's *cache*.

    DVC trusts the mode of an object in its cache and never hashes it again, so it hands on a
    damaged one as up to date. The record store *database* is checked row by row, each of *folders*
    with the check that is given for it. A file that is in neither place is a fault, one that is in
    one of them is not. What *declared* says are the outs of each stage must be those of dvc.lock.
    An out that a stage is *writing* is left out and told. Raises RefusedError for a dvc.lock that
    cannot be read.
    """
    report = Report()
    locked = [*outs(root / LOCK)]
    report.faults += _displaced(locked, declared or {})
    for _, out, md5 in locked:
        if out in writing:
            report.left_out.append(out)
            continue
        for named in _files(root, cache, out, md5, report):
            _look(root, cache, named, report)
    if database.exists():
        report.faults += [f"record store: {database}: {fault}" for fault in _store(database)]
    for folder, check in (folders or {}).items():
        if folder.as_posix() in report.left_out:
            continue
        report.faults += [f"{folder}: {fault}" for fault in check(folder)]
    report.faults = list(dict.fromkeys(report.faults))
    return report


def outs(lock: Path) -> Iterator[tuple[str, str, str]]:
    """
    Read the stage, path and MD5 of every out of every stage that dvc.lock records.

    The MD5 of a folder ends in .dir.
    """
    try:
        content = YAML(typ="safe", pure=True).load(lock.read_text(encoding="utf-8"))
    except OSError as problem:
        raise RefusedError(f"{lock}: cannot be read: {problem.strerror}") from problem
    except (YAMLError, ValueError) as problem:
        raise RefusedError(f"{lock}: damaged: no YAML; git checkout {LOCK}") from problem
    if not isinstance(content, dict) or not isinstance(content.get("stages"), dict):
        raise RefusedError(f"{lock}: damaged, or empty after a crash; git checkout {LOCK}")
    for name, stage in content["stages"].items():
        for out in stage.get("outs", []) if isinstance(stage, dict) else []:
            if out.get("hash") != "md5" or not isinstance(out.get("md5"), str) or "path" not in out:
                raise RefusedError(f"{lock}: {name}: {out.get('path')} has no MD5; run dvc commit")
            yield str(name), str(out["path"]), out["md5"]


def kept_by_dvc(root: Path) -> tuple[Path, dict[str, set[str]]]:
    """Find where DVC keeps its objects for *root*, and the outs of each stage of its dvc.yaml."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(str(root)) as repo:
            declared = {
                str(stage.name): {str(out.def_path) for out in stage.outs}
                for stage in repo.stage.load_all(str(root / "dvc.yaml"))
            }
            return Path(repo.cache.local.path), declared
    except DvcException as problem:
        raise RefusedError(f"{root}: {problem}") from problem


def manifests(root: Path) -> list[Path]:
    """Find the folders below data/ that have a manifest of their own."""
    return sorted(file.parent for file in (root / "data").rglob(MANIFEST))


def md5_of(path: Path) -> str:
    """Compute the MD5 of the bytes of *path*, as DVC names its objects."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, partial(hashlib.md5, usedforsecurity=False)).hexdigest()


def object_of(cache: Path, md5: str) -> Path:
    """Say where the object of *md5* is in the cache."""
    return cache / md5[:2] / md5[2:]


def _files(root: Path, cache: Path, out: str, md5: str, report: Report) -> Iterator[Named]:
    """The files of an out: itself, or for a folder those that its listing in the cache names."""
    if not md5.endswith(".dir"):
        yield Named(out, out, md5)
        return
    listing = object_of(cache, md5)
    if not listing.is_file():
        report.absent["cache"] += 1
        found = _listed(root / out) if (root / out).is_dir() else "nothing"
        if found != md5:
            wanted = f"expected {md5}, found {found}"
            report.faults.append(f"{out}: its listing {listing} is absent, {wanted}")
        return
    report.hashed["cache"] += 1
    found = f"{md5_of(listing)}.dir"
    if found != md5:
        report.faults.append(_fault(out, listing, "cache", md5, found))
        return
    listed = {entry["relpath"]: entry["md5"] for entry in json.loads(listing.read_bytes())}
    report.faults += _strange(root, cache, out, listed.keys())
    for name, wanted in listed.items():
        yield Named(out, f"{out}/{name}", wanted)


def _look(root: Path, cache: Path, named: Named, report: Report) -> None:
    places: dict[Place, Path] = {
        "working tree": root / named.path,
        "cache": object_of(cache, named.md5),
    }
    there: dict[Place, Path] = {place: p for place, p in places.items() if p.is_file()}
    for place, path in places.items():
        if place not in there:
            report.absent[place] += 1
            continue
        report.hashed[place] += 1
        found = md5_of(path)
        if found != named.md5:
            shown = Path(named.path) if place == "working tree" else path
            report.faults.append(_fault(named.out, shown, place, named.md5, found))
    if not there:
        report.faults.append(
            f"{named.out}: {named.path}: in neither the working tree nor the cache, expected MD5 "
            f"{named.md5}; dvc pull, or dvc repro"
        )


def _displaced(
    known: Iterable[tuple[str, str, str]], declared: Mapping[str, set[str]]
) -> Iterator[str]:
    """The outs of which dvc.lock has *known* others than dvc.yaml has *declared*."""
    locked: dict[str, set[str]] = {}
    for stage, out, _ in known:
        locked.setdefault(stage, set()).add(out)
    mend = f"git checkout {LOCK}, or dvc repro if dvc.yaml is what changed"
    for stage in sorted(locked.keys() & declared.keys()):
        for out in sorted(locked[stage] - declared[stage]):
            yield f"{LOCK}: {stage}: {out}: no out of this stage in dvc.yaml; {mend}"
        for out in sorted(declared[stage] - locked[stage]):
            yield f"{LOCK}: {stage}: {out}: is an out in dvc.yaml, and not here; {mend}"


def _strange(root: Path, cache: Path, out: str, listed: Collection[str]) -> Iterator[str]:
    """What lies in the folder of an out, and is not *listed*: other files, links of any kind."""
    if not (root / out).is_dir():
        return
    for path in sorted((root / out).rglob("*")):
        name = path.relative_to(root / out).as_posix()
        if path.is_symlink() and not _of_dvc(path, cache, listed, name):
            yield f"{out}: {path}: a link to {os.readlink(path)}, which DVC did not make; remove it"
        elif not path.is_dir() and name not in listed:
            yield f"{out}: {path}: not in what {LOCK} lists; remove it, or dvc repro"


def _of_dvc(link: Path, cache: Path, listed: Collection[str], name: str) -> bool:
    """Whether *link* is one into the cache, as DVC makes them with cache.type symlink."""
    return name in listed and link.resolve().is_relative_to(cache.resolve())


def _fault(out: str, path: Path, place: Place, expected: str, found: str) -> str:
    mend = "dvc checkout" if place == "working tree" else "remove it, then dvc pull or dvc repro"
    return f"{out}: {path} ({place}): expected MD5 {expected}, found {found}; {mend}"


def _listed(folder: Path) -> str:
    """The MD5 that DVC gives *folder*: that of the list of its files and their MD5s, as JSON."""
    entries: list[dict[str, Any]] = [
        {"md5": md5_of(file), "relpath": file.relative_to(folder).as_posix()}
        for file in folder.rglob("*")
        if file.is_file()
    ]
    entries.sort(key=lambda entry: entry["relpath"])
    text = json.dumps(entries, sort_keys=True)
    return f"{hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()}.dir"


def _store(database: Path) -> list[str]:
    try:
        with store.reading(database) as known:
            return list(known.damaged())
    except RefusedError as refusal:
        return [str(refusal)]
