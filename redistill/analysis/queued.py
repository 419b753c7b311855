"""Seeds that the queue of DVC runs side by side, each in a copy of the project."""

import re
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from redistill.analysis import experiments, sweep
from redistill.console.endings import Stopped
from redistill.console.exceptions import INTERNAL, TRY_AGAIN, RefusedError
from redistill.records.json_file import read_json

POLL = 5.0  # seconds between two looks, each of which is a process of DVC's of some seconds
IDLE = 60.0  # seconds without a worker after which nobody is going to run what is queued
ROW = re.compile(r"^([0-9a-f]{7,40})\s+(\S+)\s.*\b(Queued|Running|Failed|Success)$", re.MULTILINE)
WORKERS = re.compile(r"^Worker status: (\d+) active, (\d+) idle$", re.MULTILINE)
QUEUED, RUNNING = "Queued", "Running"
PROCESSES = Path(".dvc/tmp/exps")  # where DVC notes the number of each process that it starts


@dataclass(frozen=True)
class Task:
    """An experiment in the queue: its *number*, by which DVC finds its log, name and state."""

    number: str
    name: str
    state: str


@dataclass(frozen=True)
class Look:
    """What one look at the queue found: its *tasks*, and how many *workers* there are."""

    tasks: Sequence[Task]
    workers: int

    def at_work(self, names: Collection[str]) -> set[str]:
        """Return those of *names* that are queued or run."""
        return {task.name for task in self.tasks if task.state in (QUEUED, RUNNING)} & set(names)

    def running(self, names: Collection[str]) -> list[Task]:
        """Return the tasks of *names* that run, as far as DVC knows."""
        return [task for task in self.tasks if task.state == RUNNING and task.name in names]


def run(
    plan: sweep.Plan,
    seeds: Sequence[int],
    jobs: int,
    say: Callable[[str], object],
    copied: Sequence[str] = (),
) -> None:
    """
    Have the queue of DVC run *seeds*, *jobs* at a time, and keep the results of each.

    What a sweep before has queued is not queued again, but for what was running when its worker
    was killed. Each experiment is given what is to be *copied*. Raises RefusedError: 70 with the
    command that shows the log where a seed failed, 75 where the queue has no worker, 128 and the
    signal for a signal, after which the workers go on.
    """
    held = sweep.held(plan)  # what is edited or committed while they run is another sweep
    names = {held.name(seed): seed for seed in dict.fromkeys(seeds)}
    before = _let_go(plan.root, look(plan.root), names, say)
    for name, seed in names.items():
        if plan.settings() != held.settings():
            raise RefusedError(
                "params.yaml: edited while the seeds were queued; the same command queues them "
                "with what it says now",
                code=TRY_AGAIN,
            )
        if name not in before.at_work(names):
            queue(plan, seed, copied)
    _dvc(plan.root, "queue", "start", f"--jobs={jobs}")
    say(f"{len(names)} experiments, {jobs} at a time; dvc queue logs NAME shows what one says")
    try:
        last = _waited(plan.root, names, say)
    except Stopped as stop:
        raise RefusedError(
            f"stopped by {stop.name}; the workers of DVC go on, and the same command waits for "
            "them (dvc queue stop --kill ends them)",
            code=int(str(stop.code)),
        ) from None
    left = sweep.missing(held, list(names.values()), force=False)
    if left:
        raise _failed(held, left, last, {task.number for task in before.tasks})


def queue(plan: sweep.Plan, seed: int, copied: Sequence[str] = ()) -> str:
    """Queue *seed* as an experiment of DVC with what is to be *copied*, and return its name."""
    name = plan.name(seed)
    words = [*plan.words(seed), "--queue", f"--name={name}"]
    words += [f"--copy-paths={path}" for path in copied]  # which git does not track
    kept = "what was queued before stays queued"
    try:
        experiments.run(plan.root, words, f"seed {seed}", kept, plan.rest(seed))
    except RefusedError:  # it may be queued with what was edited meanwhile, under this name
        if any((task.name, task.state) == (name, QUEUED) for task in look(plan.root).tasks):
            _dvc(plan.root, "queue", "remove", name)
        raise
    return name


def look(root: Path) -> Look:
    """Look at the queue of DVC in *root*."""
    told = _dvc(root, "queue", "status")
    workers = WORKERS.search(told)
    return Look(
        [Task(*found) for found in ROW.findall(told)],
        sum(map(int, workers.groups())) if workers else 0,
    )


def _waited(root: Path, names: Collection[str], say: Callable[[str], object]) -> Look:
    """The queue once none of *names* is at work; each is said to have ended as it does."""
    left, seen = set(names), time.monotonic()
    while True:
        found = _let_go(root, look(root), names, say)
        at_work = found.at_work(names)
        for name in sorted(left - at_work):
            say(f"{name} has ended")
        left = at_work
        if not left:
            return found
        seen = time.monotonic() if found.workers or found.running(names) else seen
        if time.monotonic() - seen > IDLE:
            raise RefusedError(
                f"{', '.join(sorted(left))}: in the queue, and DVC has no worker for it; "
                "the same command starts one",
                code=TRY_AGAIN,
            )
        time.sleep(POLL)


def _let_go(root: Path, found: Look, names: Collection[str], say: Callable[[str], object]) -> Look:
    """
    Have DVC give up those of *names* that count as running though no process is at them any more.

    *found* is what a look just found; returns what holds then. A second look tells a task that was
    lost from one that ends just now.
    """
    lost = _lost(root, found.running(names))
    if not lost:
        return found
    time.sleep(POLL)
    again = look(root)
    for task in _lost(root, again.running(names)):
        if task in lost:
            say(f"{task.name}: its process is gone, killed with its worker")
            _dvc(root, "queue", "kill", "--force", task.name)
            again = look(root)
    return again


def _lost(root: Path, running: Sequence[Task]) -> list[Task]:
    """Those of the *running* tasks that neither a process of their own nor a worker is at."""
    if not running:
        return []
    noted = root / _dvc(root, "root").strip() / PROCESSES
    working = any(_runs(file) for file in noted.glob("celery/dvc-exp-worker-*.json"))
    lost = []
    for task in running:
        files = list(noted.glob(f"run/{task.number}*/{task.number}*.json"))
        own = any(_runs(file) for file in files)
        begun = any(_returned(file) is None for file in files)
        if not own and (begun or not working):  # a worker makes ready what has no process yet
            lost.append(task)
    return lost


def _runs(noted: Path) -> bool:
    """Whether the process of DVC's that is *noted* still runs, and no other by its number."""
    found = _read(noted)
    if found is None:
        return False
    try:
        return any("dvc" in word for word in psutil.Process(found["pid"]).cmdline())
    except (psutil.NoSuchProcess, psutil.AccessDenied):  # none, or another user's by its number
        return False


def _returned(noted: Path) -> int | None:
    """What the process that is *noted* ended with; None where nobody has seen its end."""
    found = _read(noted)
    code: int | None = found["returncode"] if found else 0
    return code


def _read(noted: Path) -> dict[str, Any] | None:
    """What is *noted* of a process; None where DVC has just taken the note away: it has ended."""
    try:
        return read_json(noted)
    except RefusedError:
        if noted.exists():
            raise
        return None


def _failed(
    plan: sweep.Plan, left: Sequence[int], last: Look, before: Collection[str]
) -> RefusedError:
    """What to say of the seeds that *left* no results; *before* are tasks of other sweeps."""
    logs = []
    for seed in left:
        tasks = [task for task in last.tasks if task.name == plan.name(seed)]
        own = [task for task in tasks if task.number not in before] or tasks
        where = own[0].number if own else plan.name(seed)
        logs.append(f"seed {seed}: dvc queue logs {where}")
    return RefusedError(
        f"{len(left)} of the experiments left no results ({'; '.join(logs)}); those that ended "
        "well are kept, and the same command goes on from there",
        code=INTERNAL,
    )


def _dvc(root: Path, *words: str) -> str:
    """What a command of DVC prints; raises RefusedError (70) where it fails."""
    ran = subprocess.run(  # noqa: S603 - dvc, no shell
        [sys.executable, "-m", "dvc", *words], cwd=root, capture_output=True, text=True, check=False
    )
    if ran.returncode:
        told = (ran.stderr.strip() or ran.stdout.strip()).splitlines()
        raise RefusedError(
            f"dvc {' '.join(words)}: {told[-1] if told else ran.returncode}", code=INTERNAL
        )
    return ran.stdout
