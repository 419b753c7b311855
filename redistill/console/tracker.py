"""The tracker that REDISTILL_TRACKER names: told of a run by a process beside the stage."""

import importlib.util
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

from redistill.console import rank
from redistill.console.exceptions import CONFIG, RefusedError
from redistill.console.safe_text import safe_text

VARIABLE = "REDISTILL_TRACKER"
NAMES = ("trackio", "wandb", "mlflow")
LIMIT = "REDISTILL_TRACKER_WAIT"  # seconds that a stage waits for its tracker at most
SECONDS = 60.0  # where that is not set: MLflow takes half of it to lay out a new database
LONGEST = 600.0
GRACE = 2.0  # seconds beyond the limit, in which the process beside the stage ends by itself
CURVES = ("train", "base", "target")  # stages whose training is followed; a probe's is not
TOLD = {"publish": "balance", "report": "summary", "transfer": "out"}  # options with what a stage
RECORDED = "metrics"  # recorded; that of all others

_stage: str | None = None  # the one that this process is, once it has a tracker to tell
_down = False  # the tracker failed once: this stage tries no more


def chosen() -> str | None:
    """Return the tracker of the environment, None where it names none; refuses (78) another."""
    name = os.environ.get(VARIABLE, "").strip()
    if name and name not in NAMES:
        known = ", ".join(NAMES)
        raise RefusedError(f"{VARIABLE}: {name!r} is none of {known}", code=CONFIG)
    return name or None


def limit() -> float:
    """Return how many seconds a stage waits for its tracker at most; refuses (78) no number."""
    told = os.environ.get(LIMIT, "").strip()
    try:
        seconds = float(told) if told else SECONDS
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= LONGEST:
        raise RefusedError(
            f"{LIMIT}: {told!r} is no number of seconds from 0 to {LONGEST:.0f}", code=CONFIG
        )
    return seconds


def begin(stage: str) -> None:
    """
    Make ready to tell the tracker of *stage*, where the environment names one.

    Nothing of it is imported here. Raises RefusedError (78) where its package is not installed.
    """
    global _stage, _down
    _stage, _down = (stage if check() else None), False


def check() -> str | None:
    """Return the tracker that is to be told; refuses (78) one that is not installed."""
    name = chosen()
    if name is None:
        return None
    limit()
    found = importlib.util.find_spec(name)
    if found is None or found.origin is None:  # a folder of that name is no package
        raise RefusedError(
            f"{VARIABLE}: {name} is not installed: pip install 'redistill[{name}]', or unset "
            f"{VARIABLE}",
            code=CONFIG,
        )
    return name


def follows() -> bool:
    """Say whether a training of this process is followed step by step."""
    return _stage in CURVES and not _down and rank.first()


def ended(options: Mapping[str, Any]) -> None:
    """
    Tell the tracker what the stage recorded, in the files that its *options* name.

    The figures are read from these files, by the process beside it. A tracker that is down costs
    the stage its limit in seconds, and one line of warning, once.
    """
    if _stage is None or _down or rank.launched():
        return
    keys = (TOLD.get(_stage, RECORDED), "timing")
    if files := [str(options[key]) for key in keys if options.get(key)]:
        Telling({"files": files}).end()


def link(name: str, address: str) -> None:
    """Tell the tracker of the *address* of a thing called *name* that belongs to the run."""
    begin(name)
    if _stage is not None:
        Telling({"links": {name: address}}).end()


class Telling:
    """
    A process that tells the tracker of *what*, and of whatever is said to it.

    It has a session of its own, so that a signal to the stage lets it finish, and it ends by
    itself at the latest the limit after the stage has: it can hold up nothing.
    """

    def __init__(self, what: Mapping[str, Any]) -> None:
        self._limit = limit()
        self._waiting = bytearray()
        self._process: subprocess.Popen[bytes] | None = None
        self._fault = ""
        try:
            self._process = _started()
        except OSError as problem:
            self._fault = f"no process could be started: {problem.strerror}"
        self.say({"tracker": chosen(), "stage": _stage, "limit": self._limit, **what})

    def say(self, told: Mapping[str, Any]) -> None:
        """Say one thing more, which waits here where the process does not take it at once."""
        self._waiting += json.dumps(told, default=str).encode() + b"\n"
        self._push()

    def end(self) -> None:
        """Wait until all is told, at most for the limit; warn on stderr where it was not."""
        global _down
        process = self._process
        until = time.monotonic() + self._limit
        fault = self._settled(process, until) if process else self._fault
        if fault:
            _down = True
            told = f"{_stage}: the tracker {chosen()} was not told of this stage: {fault}"
            print(safe_text(" ".join(told.split())), file=sys.stderr, flush=True)

    def _push(self) -> None:
        while self._waiting and self._process is not None:
            try:
                del self._waiting[: os.write(_pipe(self._process), self._waiting)]
            except BlockingIOError:
                return
            except OSError:  # it has ended, and says why on its way out
                self._waiting.clear()

    def _settled(self, process: subprocess.Popen[bytes], until: float) -> str | None:
        writable = select.poll()
        writable.register(_pipe(process), select.POLLOUT)
        while self._waiting and (left := until - time.monotonic()) > 0:
            writable.poll(1000 * left)
            self._push()
        assert process.stdin is not None  # noqa: S101 - a pipe was asked for
        process.stdin.close()
        try:
            code = process.wait(max(0.0, until - time.monotonic()) + GRACE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return f"it gave no answer within {self._limit:g} s"
        return _heard(process) or (f"the process that tells it ended with {code}" if code else None)


def _started() -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-m", "redistill.tracking"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.set_blocking(_pipe(process), False)
    return process


def _pipe(process: subprocess.Popen[bytes]) -> int:
    assert process.stdin is not None  # noqa: S101 - a pipe was asked for
    return process.stdin.fileno()


def _heard(process: subprocess.Popen[bytes]) -> str:
    """What the *process* said of itself; one that it started may still hold the other end."""
    assert process.stdout is not None  # noqa: S101 - a pipe was asked for
    with process.stdout as pipe:
        os.set_blocking(pipe.fileno(), False)
        said = pipe.read() or b""
    return said.decode("utf-8", "replace").strip()
