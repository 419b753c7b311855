"""The lines from a stage to the processes that share it: what they say, and how they end."""

import json
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from redistill.console import machines
from redistill.console.exceptions import CONFIG, INTERNAL, RefusedError

LOOK = 0.2  # seconds between two looks at the launcher
SETTLE = 0.5  # seconds after a first failure in which its cause may still be heard
GRACE = 10.0  # seconds of silence after which what is still to come from far away is given up
ARRIVE = 300.0  # seconds after the first process in which the others have to come
STRANGERS = 64  # lines at most that have not said the word yet, each for GRACE seconds at most


@dataclass
class _Process:
    """One that shares the work: its line, what it said of itself, and how it ended."""

    line: socket.socket
    far: bool = False
    heard: bytes = b""
    number: int = 0
    count: int = 0
    ended: dict[str, Any] | None = None


@dataclass
class _Stranger:
    """A line from another machine that has not said the word yet."""

    line: socket.socket
    heard: bytes = b""
    far: bool = True
    since: float = field(default_factory=time.monotonic)


@dataclass
class _Output:
    """A line on which comes what the first process, on another machine, writes."""

    line: socket.socket
    number: int


@dataclass
class Lines:
    """
    The lines to the processes that *launcher* has started for the stage *what*.

    Near ones come to *listener*, those of other machines to the *door*; each is told the options
    *words*. *faults* are how some ended that did not end well.
    """

    listener: socket.socket
    door: machines.Door | None
    launcher: subprocess.Popen[bytes]
    words: Sequence[str]
    what: str
    faults: list[dict[str, Any]] = field(default_factory=list)
    processes: list[_Process] = field(default_factory=list)
    _selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    _began: float = 0.0  # when the first process had said its number

    def hear(self) -> None:
        """
        Hear the processes until the launcher has ended and all is said, or one of them has failed.

        Raises RefusedError (78) where processes do not know of each other, or do not come.
        """
        self._selector.register(self.listener, selectors.EVENT_READ)
        for listener in self.door.listeners if self.door else []:
            self._selector.register(listener, selectors.EVENT_READ)
        last, failed = time.monotonic(), None
        while True:
            over = self.launcher.poll() is not None
            ready = [key for key, _ in self._selector.select(LOOK)]
            for key in ready:
                if key.data is None:
                    self._accept(key.fileobj)
                elif not self._hears(key.data):
                    self._close(key.data)
            now = time.monotonic()
            last = now if ready else last
            if failed is None and self.faults:
                failed = now
            if failed is not None and now >= failed + (GRACE if ready else SETTLE):
                return
            if over and not ready and (now >= last + GRACE or not self._expected()):
                return
            self._wait_no_longer(now)

    def close(self) -> None:
        """Hang up on all."""
        for line in self._open():
            line.line.close()
        self._selector.close()

    def _open(self) -> list[Any]:
        return [key.data for key in self._selector.get_map().values() if key.data is not None]

    def _expected(self) -> bool:
        """Whether something may still be on its way from another machine."""
        return any(isinstance(line, _Output) or line.far for line in self._open())

    def _close(self, line: Any) -> None:
        with suppress(KeyError, ValueError):  # it is closed already
            self._selector.unregister(line.line)
        line.line.close()

    def _accept(self, listener: Any) -> None:
        """Take the next line; one from another machine is a stranger's at first."""
        try:
            line = listener.accept()[0]
        except OSError:  # it has hung up already, or there are too many
            return
        if listener is self.listener:
            self.processes.append(_Process(line))
            self._selector.register(line, selectors.EVENT_READ, self.processes[-1])
            return
        strangers = [known for known in self._open() if isinstance(known, _Stranger)]
        if len(strangers) >= STRANGERS:  # a process says the word at once
            self._close(min(strangers, key=attrgetter("since")))
        self._selector.register(line, selectors.EVENT_READ, _Stranger(line))

    def _wait_no_longer(self, now: float) -> None:
        """Hang up on strangers that say nothing, and refuse where processes do not come."""
        for line in self._open():
            if isinstance(line, _Stranger) and now >= line.since + GRACE:
                self._close(line)
        numbers = {process.number for process in self.processes if process.count}
        missing = {*range(max((p.count for p in self.processes), default=0))} - numbers
        if missing and now >= self._began + ARRIVE:
            told = ", ".join(map(str, sorted(missing)))
            raise RefusedError(
                f"{self.what}: within {ARRIVE:.0f} s process {told} did not come, of "
                f"{len(numbers) + len(missing)}; see to its machine: the project and the virtual "
                f"environment under the same path, and a way to {machines.HOST}",
                code=CONFIG,
            )

    def _hears(self, line: Any) -> bool:
        """Hear what comes on *line*; False once nothing more can."""
        try:
            if isinstance(line, _Stranger):
                return self._greets(line)
            said = line.line.recv(65536)
        except OSError:  # it died, or its machine did
            said = b""
        if isinstance(line, _Process):
            self._takes(line, said)
        elif isinstance(line, _Output):
            stream = {machines.OUTPUT: sys.stdout, machines.ERROR: sys.stderr}[line.number]
            stream.flush()
            stream.buffer.write(said)
            stream.buffer.flush()
        return bool(said)

    def _greets(self, line: _Stranger) -> bool:
        """Take a stranger as what it says it is once it has said the word; False without it."""
        said = line.line.recv(machines.GREETING - len(line.heard))
        line.heard += said
        if said and len(line.heard) < machines.GREETING:
            return True
        number = self.door.line_of(line.heard) if self.door else None
        if number is None:
            return False
        machines.keep_alive(line.line, control=number == machines.PROCESS)
        known: _Process | _Output = _Output(line.line, number)
        if number == machines.PROCESS:
            known = _Process(line.line, far=True)
            self.processes.append(known)
        self._selector.modify(line.line, selectors.EVENT_READ, known)
        return True

    def _takes(self, process: _Process, said: bytes) -> None:
        process.heard += said
        *whole, process.heard = process.heard.split(b"\n")
        for line in whole:
            self._heard(process, json.loads(line))
        if not said and process.ended is None:
            named = f"process {process.number} of {process.count}" if process.count else "a process"
            self.faults.append({"code": INTERNAL, "died": f"{named} died without a word"})

    def _heard(self, process: _Process, told: dict[str, Any]) -> None:
        if "code" in told:
            process.ended = told
            if told["code"]:
                self.faults.append(told)
            return
        process.number, process.count = told["number"], told["count"]
        self._began = self._began or time.monotonic()
        self._know(told["alone"])
        options = json.dumps(list(self.words)).encode() + b"\n"
        with suppress(OSError):  # it died meanwhile, which its line says next
            if process.number or process.far:  # no open file goes to another machine
                process.line.sendall(options)
                return
            sent = socket.send_fds(process.line, [options], [1, 2])
            process.line.sendall(options[sent:])

    def _know(self, alone: bool) -> None:
        """Refuse processes that do not know of each other: each would do the whole work."""
        if alone:
            raise RefusedError(
                f"{self.what}: accelerate starts one process on a CPU, whatever --num_processes "
                "says; add --mpirun_hostfile, or take torchrun --standalone --nproc-per-node N",
                code=CONFIG,
            )
        known = [process for process in self.processes if process.count]
        if len(known) > known[0].count:
            raise RefusedError(
                f"{self.what} started {len(known)} processes that do not "
                "know of each other; start them by torchrun, accelerate or mpirun",
                code=CONFIG,
            )
