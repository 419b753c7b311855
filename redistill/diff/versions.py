"""The versions of the rationales that can be compared: rounds, files, files of git revisions."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from redistill.console.exceptions import RefusedError
from redistill.diff.compare import Change, Row, compare
from redistill.records.fingerprint import digest
from redistill.records.jsonl import stream
from redistill.records.types import Prediction, Rationale
from redistill.rounds.branches import NAME

RATIONALES = "data/rationales/{}.jsonl"
ANSWERS = "data/predictions/{}/train.jsonl"
CHUNK = 1 << 20  # bytes


@dataclass(frozen=True)
class Copy:
    """A file of records: where it can be read, and the *name* that refusals call it."""

    path: Path
    name: str

    def rows(self, kind: type[Row]) -> Iterator[Row]:
        """Read the records of the copy, one at a time; they have to be sorted by problem."""
        return stream(self.path, kind, by="problem", name=self.name)


@dataclass(frozen=True)
class Edition:
    """One version of the rationales, with the *answers* of the student taught it, if known."""

    name: str
    rationales: Copy
    answers: Copy | None = None


def find(name: str, scratch: Path) -> Edition:
    """
    Find the version *name*: a round (r1), a file, or either in a git revision (main~3:r1).

    What a revision has is copied into the folder *scratch*, from the DVC cache, from a remote or
    from git; nothing is checked out. The answers of a round are those in the working tree. Raises
    RefusedError for what there is not.
    """
    copy = fetch(name, scratch, RATIONALES)
    answers = Path(ANSWERS.format(name))
    found = copy.name == RATIONALES.format(name) and answers.is_file()
    return Edition(name, copy, Copy(answers, str(answers)) if found else None)


def fetch(name: str, scratch: Path, form: str = "{}") -> Copy:
    """
    Fetch the file *name*, as REVISION:FILE or in the working tree.

    *form* makes a file of a round.
    """
    revision, colon, inside = name.partition(":")
    if colon and not Path(name).exists():
        path = form.format(inside) if _is_round(inside) else inside
        copy = scratch / f"{digest(revision, path)}.jsonl"
        if not copy.exists():
            _copy(revision, path, copy)
        return Copy(copy, f"{revision}:{path}")
    file = Path(form.format(name)) if _is_round(name) else Path(name)
    file = file if file.is_file() else Path(name)
    if not file.is_file():
        known = sorted(path.stem for path in Path(RATIONALES).parent.glob("*.jsonl"))
        there = f"; the rounds here are {', '.join(known)}" if known else ""
        raise RefusedError(f"there is no round, file or revision {name!r}{there}")
    return Copy(file, str(file))


def answered(edition: Edition, answers: str | None, scratch: Path) -> Edition:
    """Give *edition* the predictions in *answers*, a file or REVISION:FILE, where it is given."""
    return replace(edition, answers=fetch(answers, scratch)) if answers else edition


def changes(before: Edition, after: Edition) -> Iterator[Change]:
    """Say what became of each problem from *before* to *after*; reads both files once."""
    return compare(
        before.rationales.rows(Rationale),
        after.rationales.rows(Rationale),
        then=before.answers.rows(Prediction) if before.answers else (),
        now=after.answers.rows(Prediction) if after.answers else (),
        of_round=of_round,
    )


def of_round(name: str) -> Iterator[Rationale]:
    """
    Read the rationales of the round *name* in the working tree.

    There are none where there is no such file.
    """
    file = Path(RATIONALES.format(name))
    if _is_round(name) and file.is_file():
        yield from Copy(file, str(file)).rows(Rationale)


def _is_round(name: str) -> bool:
    return bool(NAME.fullmatch(name)) and not name.endswith(".jsonl")


def _copy(revision: str, path: str, to: Path) -> None:
    """
    Copy the file *path* as git *revision* has it, in git itself or under DVC.

    DVC delivers a damaged object of its cache without a word, so the bytes are held against the
    MD5 that the revision records.
    """
    from dvc.api import DVCFileSystem  # takes a while: what has no revision does without
    from dvc.exceptions import DvcException

    shown = f"{revision}:{path}"
    try:
        files = DVCFileSystem(".", rev=revision, config=_config(), subrepos=True)
        inside = _from_top(path)
        md5 = _md5(files, inside, shown)
        with files.open(inside, "rb") as source, to.open("wb") as target:
            found = _copied(source, target)
    except FileNotFoundError as problem:
        raise RefusedError(
            f"{shown}: neither the DVC cache nor a remote has its content; push it from where it "
            f"was made (dvc push), or make it again there"
        ) from problem
    except (DvcException, OSError) as problem:
        raise RefusedError(f"{shown}: {problem}") from problem
    if md5 and found != md5:
        to.unlink()
        raise RefusedError(
            f"{shown}: the content in the DVC cache or remote is damaged: its MD5 is {found}, not "
            f"{md5}; remove that object from the cache and fetch it again"
        )


def _from_top(path: str) -> str:
    """*path* as seen from the top of git's checkout, where a revision begins for DVC."""
    here = Path.cwd()
    top = next((place for place in (here, *here.parents) if (place / ".git").exists()), here)
    if not (here / path).is_relative_to(top):
        raise RefusedError(f"{path}: is not in the repository that {top} is a checkout of")
    return (here / path).relative_to(top).as_posix()


def _config() -> Any:
    """The settings of DVC in the working tree: remotes that were added after a revision count."""
    from dvc.config import Config

    return Config.from_cwd(validate=False)


def _md5(files: Any, path: str, shown: str) -> str | None:
    """What the revision records as the file's MD5; None where the file is in git itself."""
    try:
        info = files.info(path)
    except FileNotFoundError as problem:
        raise RefusedError(f"{shown}: there is no such file in that revision") from problem
    if info["type"] != "file":
        raise RefusedError(f"{shown}: is a folder")
    entry = info.get("dvc_info", {}).get("entry")
    known = entry.hash_info if entry else None
    return str(known.value) if known and known.name == "md5" else None


def _copied(source: IO[bytes], target: IO[bytes]) -> str:
    """Copy *source* to *target*; returns the MD5 of what it held."""
    whole = hashlib.md5(usedforsecurity=False)
    while block := source.read(CHUNK):
        whole.update(block)
        target.write(block)
    return whole.hexdigest()
