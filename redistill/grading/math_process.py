"""Comparing mathematical answers in a process that can be killed, and is when time is up."""

import atexit
import importlib.util
import json
import os
import select
import subprocess
import sys
import threading
import time
from functools import lru_cache
from pathlib import Path

from redistill.console.exceptions import CONFIG, RefusedError
from redistill.grading import math_worker

WORKER = Path(math_worker.__file__)
LIMIT = 5.0  # seconds for one pair of answers
START_LIMIT = 120.0  # seconds until the libraries are imported, on a machine that is busy
MAX_ANSWER = 256  # characters
MAX_REPLY = 4096  # bytes
# What the worker gets to know of its surroundings: enough to find its libraries, and no key.
KEPT = ("PATH", "PYTHONPATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH")
INSTALL = "grade.grader: math needs math-verify 0.9 or later: pip install redistill[math]"


class Worker:
    """One worker process: started when first asked, started again when it had to be killed."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._lock = threading.Lock()
        self.kills = 0

    @property
    def pid(self) -> int | None:
        """The process that compares at the moment, None where none runs."""
        return self._process.pid if self._process is not None else None

    def same(self, gold: str, answer: str) -> bool:
        """
        Say whether the two are equal; what takes more than LIMIT seconds or all memory is not.

        Raises RefusedError where math-verify is not installed.
        """
        with self._lock:
            asked = json.dumps({"gold": gold, "answer": answer}).encode() + b"\n"
            for _ in range(2):  # a worker that died between two questions is no verdict
                process = self._running()
                try:
                    process.stdin.write(asked)  # type: ignore[union-attr]
                    break
                except BrokenPipeError:
                    self.stop()
            reply = self._reply(LIMIT)
            if reply is None:
                self.kills += 1
                self.stop()
                return False
            return reply.get("equal") is True

    def stop(self) -> None:
        """Kill the worker, if there is one."""
        process, self._process = self._process, None
        if process is not None and self._owner == os.getpid():
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout) if process is not None else ():
            if pipe is not None:
                pipe.close()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._owner == os.getpid():
            return self._process
        self._process = None  # after a fork the pipes are the parent's
        command = [sys.executable, "-P", str(WORKER)]  # -P: our folder hides modules of Python
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={name: os.environ[name] for name in KEPT if name in os.environ},
            bufsize=0,
        )
        self._owner = os.getpid()
        ready = self._reply(START_LIMIT)
        if ready is None or "ready" not in ready:
            self.stop()
            told = f" ({ready['missing']})" if ready and "missing" in ready else ""
            raise RefusedError(INSTALL + told, code=CONFIG)
        return self._process

    def _reply(self, seconds: float) -> dict[str, object] | None:
        """The worker's next line; None where it ended, or none came within *seconds*."""
        assert self._process is not None  # noqa: S101
        assert self._process.stdout is not None  # noqa: S101
        source = self._process.stdout.fileno()
        line, end = b"", time.monotonic() + seconds
        while not line.endswith(b"\n") and len(line) < MAX_REPLY:
            left = end - time.monotonic()
            if left <= 0 or not select.select([source], [], [], left)[0]:
                return None
            part = os.read(source, MAX_REPLY)
            if not part:
                return None
            line += part
        found = json.loads(line)
        return found if isinstance(found, dict) else None


WORKING = Worker()
atexit.register(WORKING.stop)


def check() -> None:
    """Refuse to go on where math-verify is not installed, without importing it."""
    if importlib.util.find_spec("math_verify") is None:
        raise RefusedError(INSTALL, code=CONFIG)


@lru_cache(maxsize=4096)
def same(gold: str, answer: str) -> bool:
    """
    Say whether *answer* is *gold* to math-verify.

    Longer ones than MAX_ANSWER are not compared.
    """
    if max(len(gold), len(answer)) > MAX_ANSWER:
        return False
    return WORKING.same(gold, answer)
