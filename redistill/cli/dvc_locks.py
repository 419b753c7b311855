"""What DVC keeps of a run, and whether it is whole: its lock file and its locks."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from redistill.console.preflight import Finding

LOCK = "dvc.lock"
RWLOCK = Path("tmp/rwlock")  # DVC's own lock file, in its folder
SCHEMA = "2.0"  # what DVC 3 writes at the head of dvc.lock
MENDS = "redistill doctor --repair"
ENTRY = re.compile(r"^  (?=[^\s#-])", re.MULTILINE)  # where the entry of a stage begins
MD5 = re.compile(r"[0-9a-f]{32}(\.dir)?")
CONFLICT = re.compile(r"^(<{7}|={7}|>{7})", re.MULTILINE)  # what a merge of git leaves


@dataclass(frozen=True)
class Lock:
    """
    What dvc.lock says of every stage whose entry is *whole*, by the stage's name.

    *rest* is what stands beside the stages, *fault* says what keeps DVC from reading the file.
    """

    whole: dict[str, Any]
    rest: dict[str, Any] = field(default_factory=dict)
    fault: str | None = None


@dataclass(frozen=True)
class Held:
    """
    What DVC's lock file says is held: *kept* by processes that run, or by ones that have *ended*.

    DVC clears up after these itself, unless it is *stuck*: another process has such a number now.
    *fault* says what keeps DVC from reading the file.
    """

    kept: dict[str, Any] = field(default_factory=dict)
    pids: frozenset[int] = frozenset()
    ended: frozenset[int] = frozenset()
    stuck: bool = False
    fault: str | None = None


def damage(root: Path) -> str | None:
    """
    Say in one line what a kill left in *root* that keeps DVC from working, and what mends it.

    Only the ends of dvc.lock are looked at, which is what a kill cuts off. While a process of DVC
    runs there, a file that is not whole is being written, and no fault.
    """
    told = []
    if (root / LOCK).is_file() and _cut((root / LOCK).read_bytes()):
        told.append(f"{LOCK} was cut off while DVC wrote it")
    state = folder(root)
    if state is not None and (fault := read_held(state / RWLOCK).fault):
        told.append(f"{shown(state, root)} is {fault}")
    if not told or running(root):
        return None
    return f"{', and '.join(told)}: no command of DVC works; {MENDS} mends it and loses no training"


def findings(root: Path) -> list[Finding]:
    """Say how dvc.lock and DVC's locks in *root* are, where they are whole."""
    return [*_lock_finding(root / LOCK), *_held_finding(folder(root))]


def folder(root: Path) -> Path | None:
    """Find DVC's folder of the project in *root*: its own, or that of a repository around it."""
    places = [root.resolve(), *root.resolve().parents]
    return next((place / ".dvc" for place in places if (place / ".dvc/config").is_file()), None)


def running(root: Path) -> list[int]:
    """Find the processes of DVC, other than this one, that work in *root* or below."""
    import psutil  # DVC's own, and of no use before something is wrong

    top, found = root.resolve(), []
    for process in psutil.process_iter():
        try:
            if _is_dvc(process.cmdline()) and Path(process.cwd()).is_relative_to(top):
                found.append(process.pid)
        except (psutil.Error, OSError):  # it has ended, or is another user's
            continue
    return found


def read_lock(file: Path) -> Lock:
    """
    Read dvc.lock *file*, whole or not; there is nothing in one that is absent.

    An entry is whole if all of it stands there as DVC writes it. The last one of a file that was
    cut off is never taken for whole, as nothing says how long it was.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Lock({})
    except UnicodeDecodeError:
        text = file.read_text(encoding="utf-8", errors="replace") + "\0"
    return parse(text)


def parse(text: str) -> Lock:
    """Read the *text* of a dvc.lock, as `read_lock` does."""
    content = _loaded(text)
    if content is not None and text.endswith("\n") and "\0" not in text:
        stages = content.get("stages", {})
        rest = {key: value for key, value in content.items() if key != "stages"}
        if (
            content.get("schema") == SCHEMA
            and isinstance(stages, dict)
            and all(map(whole, stages.values()))
        ):
            return Lock(dict(stages), rest)
    kept = dict(_entries(text))
    told = f"cut off or damaged, {len(kept)} entries of it are whole"
    return Lock(kept, {"schema": SCHEMA}, told if text.strip() else "empty")


def read_held(file: Path) -> Held:
    """Read DVC's own lock *file*; nothing is held where there is none."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Held()
    except ValueError:
        return Held(fault="cut off")
    if not _well_formed(content):
        return Held(fault="not what DVC writes there")
    import psutil

    alive = {pid for pid in _pids(content) if _lives(pid, file)}
    ended = frozenset(_pids(content) - alive)
    return Held(_of(content, alive), frozenset(alive), ended, any(map(psutil.pid_exists, ended)))


def text_of(held: Held) -> str:
    """Write what is *kept* of *held* as DVC does."""
    return json.dumps(held.kept or {"write": {}, "read": {}})


def whole(entry: object) -> bool:
    """Say whether *entry* is what DVC writes of a stage: a command, and a hash for every path."""
    if not isinstance(entry, dict) or not isinstance(entry.get("cmd"), str | list):
        return False
    paths = [path for kind in ("deps", "outs") for path in entry.get(kind) or []]
    return all(_hashed(path) for path in paths)


def _cut(text: bytes) -> bool:
    """Whether *text*, of a dvc.lock, lacks its head or end, or holds a conflict of git."""
    ends = text.startswith((b"schema:", b"stages:")) and text.endswith(b"\n")
    marks = (b"\0", b"\n<<<<<<<", b"\n>>>>>>>")
    return not ends or b"stages:" not in text or any(mark in text for mark in marks)


def _hashed(path: object) -> bool:
    if not isinstance(path, dict) or not isinstance(path.get("path"), str):
        return False
    md5 = path.get("md5")
    return path.get("hash") != "md5" or (isinstance(md5, str) and bool(MD5.fullmatch(md5)))


def _entries(text: str) -> Iterator[tuple[str, Any]]:
    """The whole entries of the *text* of a damaged dvc.lock, but for the last one."""
    _, head, body = text.partition("\nstages:\n")
    parts = [f"  {part}" for part in ENTRY.split(body)[1:-1]] if head else []
    found: dict[str, list[Any]] = {}
    for part in parts:
        if "\0" in part or "\ufffd" in part or CONFLICT.search(part):
            continue
        for name, entry in (_loaded(part) or {}).items():
            found.setdefault(name, []).append(entry)
    for name, known in found.items():
        if len(known) == 1 and whole(known[0]) and known[0].get("outs"):  # cut off before, else
            yield name, known[0]


def _loaded(text: str) -> dict[str, Any] | None:
    """What *text* is as YAML; None where it is no mapping."""
    try:
        content = YAML(typ="safe").load(text)
    except (YAMLError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _well_formed(content: object) -> bool:
    if not isinstance(content, dict) or not content.keys() <= {"read", "write"}:
        return False
    if not all(isinstance(paths, dict) for paths in content.values()):
        return False
    infos = [*content.get("write", {}).values()]
    for readers in content.get("read", {}).values():
        infos += readers if isinstance(readers, list) else [None]
    return all(
        isinstance(info, dict)
        and info.keys() == {"pid", "cmd"}
        and isinstance(info["pid"], int)
        and isinstance(info["cmd"], str)
        for info in infos
    )


def _pids(content: Mapping[str, Any]) -> set[int]:
    readers = [info for infos in content.get("read", {}).values() for info in infos]
    return {info["pid"] for info in (*readers, *content.get("write", {}).values())}


def _of(content: Mapping[str, Any], alive: set[int]) -> dict[str, Any]:
    """What of *content* is held by the processes *alive*."""
    read = {
        path: [info for info in infos if info["pid"] in alive]
        for path, infos in content.get("read", {}).items()
    }
    write = {path: info for path, info in content.get("write", {}).items() if info["pid"] in alive}
    return {"write": write, "read": {path: infos for path, infos in read.items() if infos}}


def _lives(pid: int, file: Path) -> bool:
    """
    Whether the process *pid* that DVC's lock *file* names is still there.

    A number is given to another process in time: one that began after the file was written is not
    the one that it names.
    """
    import psutil

    try:
        return bool(psutil.Process(pid).create_time() <= file.stat().st_mtime + 1)
    except psutil.NoSuchProcess:
        return False


def _is_dvc(words: list[str]) -> bool:
    """Whether *words* are a command of DVC: dvc, python -m dvc, python .../bin/dvc."""
    first = [Path(word).name for word in words[:2]]
    return "dvc" in first or (len(words) > 2 and words[1] == "-m" and words[2] == "dvc")


def _lock_finding(file: Path) -> Iterator[Finding]:
    if not file.exists():
        yield Finding(LOCK, "note", "not there: every stage is new")
    elif read_lock(file).fault is None:
        yield Finding(LOCK, "holds", "readable")


def _held_finding(state: Path | None) -> Iterator[Finding]:
    if state is None:
        yield Finding("DVC's locks", "note", "this folder is no repository of DVC: dvc init")
        return
    held = read_held(state / RWLOCK)
    if held.fault or held.ended:
        return  # which is mended
    paths = len({*held.kept.get("read", {}), *held.kept.get("write", {})})
    pids = ", ".join(map(str, sorted(held.pids)))
    told = f"a run (pid {pids}) holds {paths} paths" if paths else "none is held"
    yield Finding("DVC's locks", "note" if paths else "holds", told)


def shown(state: Path, root: Path) -> str:
    """Name the lock file in DVC's folder *state* as seen from *root*."""
    place = Path(".dvc") if state.parent == root.resolve() else state
    return str(place / RWLOCK)
