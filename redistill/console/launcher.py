"""A stage that is shared by several processes: they are started, heard, and ended together."""

import json
import os
import selectors
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

from redistill.console import machines, rank
from redistill.console.exceptions import CONFIG, INTERNAL, RefusedError
from redistill.console.safe_text import safe_text

COMMAND = "REDISTILL_LAUNCH"  # starts processes, as in: torchrun --nproc-per-node 8
QUIET = {"TORCH_CPP_LOG_LEVEL": "ERROR"}  # DDP warns of looking for weights that are not used
LOOK = 0.2  # seconds between two looks at the launcher
SETTLE = 0.5  # seconds after a first failure in which its cause may still be heard
GRACE = 10.0  # seconds that a launcher has to end in
LINES = 12  # of what the launcher printed that are shown where no process said why it ended


def wanted() -> bool:
    """Say whether this process is to have others started, and is none of these itself."""
    return bool(os.environ.get(COMMAND, "").strip()) and not rank.launched()


def lead(module: str, words: Sequence[str]) -> None:
    """
    Have the launcher of REDISTILL_LAUNCH run ``-m`` *module*, with the options *words*, to its end.

    The processes speak through this one; those of other machines reach it at REDISTILL_HOST. Where
    one of them fails all are ended, and RefusedError has its line and its code; 70 where it died
    without a word. None outlives this process.
    """
    with TemporaryDirectory(prefix="redistill-") as folder:
        place, log = Path(folder) / "leader", Path(folder) / "log"
        door = machines.door()
        with socket.socket(socket.AF_UNIX) as listener, log.open("wb") as printed:
            listener.bind(str(place))
            listener.listen()
            told = {rank.LEADER: str(place), **(door.variables() if door else {})}
            process = _started(module, told, printed)
            led = _Led(listener, door, process, words)
            try:
                led.watch()
            finally:
                led.end()
        _settle(led, process.returncode, log)


def _started(module: str, told: dict[str, str], printed: IO[bytes]) -> subprocess.Popen[bytes]:
    command = shlex.split(os.environ[COMMAND])
    program = shutil.which(command[0])
    if program is None:
        raise RefusedError(f"{COMMAND}: there is no program {command[0]!r}", code=CONFIG)
    return subprocess.Popen(  # noqa: S603 - the user's own command
        [program, *command[1:], "-m", module],
        env={**QUIET, **os.environ, **told},
        stdin=subprocess.DEVNULL,
        stdout=printed,
        stderr=printed,
        preexec_fn=lambda: rank.end_with_parent(signal.SIGKILL),
    )


@dataclass
class _Process:
    """
    One that shares the work: its line, what it said of itself, and how it ended.

    A *stranger* has not said its word yet; what comes on the line of a *stream* is shown as it is.
    """

    line: socket.socket
    far: bool = False
    stranger: bool = False
    stream: int = 0
    heard: bytes = b""
    number: int = 0
    count: int = 0
    ended: dict[str, Any] | None = None


@dataclass
class _Led:
    """The processes of a stage; *faults* are how some ended that did not end well."""

    listener: socket.socket
    door: machines.Door | None
    launcher: subprocess.Popen[bytes]
    words: Sequence[str]
    processes: list[_Process] = field(default_factory=list)
    streams: list[_Process] = field(default_factory=list)
    faults: list[dict[str, Any]] = field(default_factory=list)

    def watch(self) -> None:
        """Hear the processes until the launcher has ended, or one of them has failed."""
        with selectors.DefaultSelector() as selector:
            selector.register(self.listener, selectors.EVENT_READ)
            if self.door:
                selector.register(self.door.listener, selectors.EVENT_READ)
            until = None
            while until is None or time.monotonic() < until:
                over = self.launcher.poll() is not None
                ready = selector.select(LOOK)
                for key, _ in ready:
                    if key.data is None:
                        process = self._comes(near=key.fileobj is self.listener)
                        selector.register(process.line, selectors.EVENT_READ, process)
                    elif not self._hears(key.data):
                        selector.unregister(key.fileobj)
                if over and not ready and not self.streams:
                    return
                if until is None and (self.faults or over):
                    until = time.monotonic() + (SETTLE if self.faults else GRACE)

    def end(self) -> None:
        """End whatever is still there of launcher and processes."""
        for process in [*self.processes, *self.streams]:
            process.line.close()
        if self.door:
            self.door.listener.close()
        if self.launcher.poll() is None:
            self.launcher.terminate()
        try:
            self.launcher.wait(GRACE)
        except subprocess.TimeoutExpired:
            self.launcher.kill()
            self.launcher.wait()

    def _comes(self, *, near: bool) -> _Process:
        """Take the next line; one from another machine is a stranger's at first."""
        if near or not self.door:
            process = _Process(self.listener.accept()[0])
            self.processes.append(process)
            return process
        return _Process(self.door.accepted(), far=True, stranger=True)

    def _hears(self, process: _Process) -> bool:
        """Hear what *process* says; False once it has nothing more to say."""
        try:
            said = process.line.recv(65536)
        except OSError:  # it died, or its machine did
            said = b""
        process.heard += said
        if process.stranger and not self._meets(process, last=not said):
            return False
        if process.stranger:
            return True
        if process.stream:
            self._shows(process, last=not said)
            return bool(said)
        *whole, process.heard = process.heard.split(b"\n")
        for line in whole:
            self._takes(process, json.loads(line))
        if not said and process.ended is None:
            told = f"process {process.number} of {process.count} died without a word"
            self.faults.append({"code": INTERNAL, "died": told})
        return bool(said)

    def _meets(self, process: _Process, *, last: bool) -> bool:
        """Take a stranger as one of these once it has said the word; False where it is none."""
        hello, found, rest = process.heard.partition(b"\n")
        if not found and not last and len(hello) <= machines.HELLO:
            return True
        stream = self.door.lets_in(hello) if self.door and found else None
        if stream is None:
            process.line.close()
            return False
        process.stranger, process.stream, process.heard = False, stream, rest
        (self.streams if stream else self.processes).append(process)
        return True

    def _shows(self, process: _Process, *, last: bool) -> None:
        """Pass on what the first process, on another machine, wrote to its output or error."""
        stream = (sys.stdout, sys.stderr)[process.stream - 1]
        stream.flush()
        stream.buffer.write(process.heard)
        stream.buffer.flush()
        process.heard = b""
        if last:
            self.streams.remove(process)

    def _takes(self, process: _Process, told: dict[str, Any]) -> None:
        if "code" in told:
            process.ended = told
            if told["code"]:
                self.faults.append(told)
            return
        process.number, process.count = told["number"], told["count"]
        self._know(told["alone"])
        options = json.dumps(list(self.words)).encode() + b"\n"
        if process.far:  # no open file goes to another machine: output comes on a line of its own
            process.line.sendall(options)
            return
        streams = [1, 2] if process.number == 0 else []
        sent = socket.send_fds(process.line, [options], streams)
        process.line.sendall(options[sent:])

    def _know(self, alone: bool) -> None:
        """Refuse processes that do not know of each other: each would do the whole work."""
        if alone:
            raise RefusedError(
                f"{COMMAND}: accelerate starts one process on a CPU, whatever --num_processes "
                "says; add --mpirun_hostfile, or take torchrun --standalone --nproc-per-node N",
                code=CONFIG,
            )
        known = [process for process in self.processes if process.count]
        if len(known) > known[0].count:
            raise RefusedError(
                f"{COMMAND}: {os.environ[COMMAND]!r} started {len(known)} processes that do not "
                "know of each other; start them by torchrun, accelerate or mpirun",
                code=CONFIG,
            )


def _settle(led: _Led, code: int, log: Path) -> None:
    """Raise what ended the processes, the cause before what followed from it."""
    if led.faults:
        _raise(min(led.faults, key=_rank_of))
    if code or not led.processes:
        _show(log)
        told = f"ended with {code}" if code else "started no process of this stage"
        raise RefusedError(f"{COMMAND}: {os.environ[COMMAND]!r} {told}", code=CONFIG)


def _rank_of(fault: dict[str, Any]) -> int:
    """The place of *fault* among several: a refusal, a sudden death, an exception, a signal."""
    if "line" in fault:
        return 0 if fault["code"] <= 128 else 3
    return 1 if "died" in fault else 2


def _raise(fault: dict[str, Any]) -> None:
    if "line" in fault:
        raise RefusedError(fault["line"], code=fault["code"])
    if "died" in fault:
        raise RefusedError(
            f"{fault['died']} (killed, or out of memory), and the others were ended; run it again",
            code=fault["code"],
        )
    sys.stderr.write(fault.get("trace", ""))
    sys.exit(fault["code"])


def _show(log: Path) -> None:
    """Print the end of what the launcher printed."""
    with log.open(encoding="utf-8", errors="replace") as printed:
        for line in deque(printed, LINES):
            print(safe_text(line.rstrip()), file=sys.stderr)
