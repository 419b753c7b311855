"""What `redistill doctor` can mend: what is wrong, what it costs to leave it, and the mending."""

import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from redistill.cli import dvc_locks
from redistill.console.exceptions import TRY_AGAIN, RefusedError
from redistill.console.preflight import Finding
from redistill.records.json_file import write_text


@dataclass(frozen=True)
class Repair:
    """
    A *fault* that a check found and that can be mended.

    *cost* says what it costs to leave it, *command* what mends it; *mend* does, and says what it
    did. Only one that ``fails`` stands in the way of a run.
    """

    check: str
    fault: str
    cost: str
    mend: Callable[[], str]
    command: str = dvc_locks.MENDS
    state: Literal["fails", "note"] = "fails"

    @property
    def finding(self) -> Finding:
        """What `redistill doctor` says of it."""
        return Finding(
            self.check, self.state, f"{self.fault}; {self.cost}; mend it: {self.command}"
        )


def faults(root: Path) -> list[Repair]:
    """Find what can be mended in *root*, in the order in which it has to be."""
    return [repair for kind in KINDS for repair in kind(root)]


def findings(root: Path) -> list[Finding]:
    """Say what has to be mended in *root*, and what is whole."""
    return [*(repair.finding for repair in faults(root)), *dvc_locks.findings(root)]


def repair(root: Path) -> Iterator[str]:
    """
    Mend what can be mended in *root*, and say for each what was done.

    Raises RefusedError (75) while DVC runs there: what it writes at the moment looks damaged.
    """
    if pids := dvc_locks.running(root):
        raise RefusedError(
            f"DVC runs here (pid {', '.join(map(str, pids))}): nothing is mended before it has "
            "ended",
            code=TRY_AGAIN,
        )
    for kind in KINDS:
        for found in kind(root):  # each sees what those before it have mended
            yield f"{found.check}: {found.fault}; {found.mend()}"


def held(root: Path) -> Iterator[Repair]:
    """Find a lock file of DVC that is cut off, or that names processes which have ended."""
    state = dvc_locks.folder(root)
    if state is None:
        return
    file = state / dvc_locks.RWLOCK
    found = dvc_locks.read_held(file)
    if found.fault is None and not found.ended:
        return
    pids = ", ".join(map(str, sorted(found.ended)))
    fault = f"{dvc_locks.shown(state, root)} is {found.fault}"
    cost = "no command of DVC works until then"
    if found.fault is None:
        fault = f"{dvc_locks.shown(state, root)} holds paths of pid {pids}, which ended"
        cost = "DVC says that they are busy" if found.stuck else "DVC clears that up itself"

    def mend() -> str:
        write_text(file, dvc_locks.text_of(found))
        return f"left what {len(found.pids)} running processes hold"

    yield Repair(
        "DVC's locks", fault, cost, mend, state="fails" if found.fault or found.stuck else "note"
    )


def lock(root: Path) -> Iterator[Repair]:
    """Find a dvc.lock that is empty, cut off or damaged."""
    file = root / dvc_locks.LOCK
    found = dvc_locks.read_lock(file)
    if found.fault is None:
        return

    def mend() -> str:
        from redistill.cli import lock_restoring  # imports DVC

        return lock_restoring.restore(root, found)

    yield Repair(
        dvc_locks.LOCK,
        f"dvc.lock is {found.fault}",
        "no command of DVC works until then (what was paid for is in the store, every student in "
        "DVC's cache)",
        mend,
    )


def drafts(root: Path) -> Iterator[Repair]:
    """Find what a killed run left half-written; neither DVC nor git looks at it."""
    found = [
        file
        for folder in ("data", "metrics")
        for pattern in (".*.tmp", ".*.old")
        for file in (root / folder).rglob(pattern)
        if not file.is_symlink()
    ]
    if not found:
        return
    within = (f for file in found for f in ([file] if file.is_file() else file.rglob("*")))
    size = sum(file.stat().st_size for file in within if file.is_file())

    def mend() -> str:
        for file in found:
            shutil.rmtree(file) if file.is_dir() else file.unlink(missing_ok=True)
        return "removed"

    yield Repair(
        "drafts",
        f"{len(found)} drafts, such as {found[0]}, were half-written when a run was killed",
        f"they take {size / 1e6:.1f} MB",
        mend,
        state="note",
    )


KINDS: tuple[Callable[[Path], Iterable[Repair]], ...] = (held, lock, drafts)
