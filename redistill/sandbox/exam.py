"""Code put to its tests: two processes behind a wall, and a verdict from the one without it."""

import json
import os
import select
import subprocess
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import IO, Annotated

from pydantic import Field

from redistill.sandbox.inside.worker import LACKS
from redistill.sandbox.walls import ENVIRONMENT, Wall
from redistill.settings.sections import Section

LONGEST = 64 * 1024  # characters of code or tests
MOST = 4096  # bytes of a verdict
KINDS = ("passes", "no_code", "raises", "wrong_result", "over_limit")
AT_ONCE = 8  # exams, on a machine with so many cores


class Limits(Section):
    """
    Section ``grade.tests``: what one exam may take.

    *seconds* are those from its start to its end, and those of the processor of each of its two
    processes, whose *memory* is in MiB. *insist* has code run where bubblewrap is not installed.
    """

    seconds: Annotated[float, Field(ge=0.5, le=600)]
    memory: Annotated[int, Field(ge=64, le=65536)]
    insist: bool


@dataclass(frozen=True)
class Result:
    """What an exam came to: one of KINDS, and *where* it ended or what was wrong."""

    kind: str
    where: str

    @property
    def passed(self) -> bool:
        """Whether the code did what every test asks."""
        return self.kind == "passes"

    @property
    def lacks(self) -> bool:
        """Whether the tests called a function that the code does not have."""
        return self.kind == "no_code" and self.where.startswith(LACKS)

    def __str__(self) -> str:
        return f"{self.kind}: {self.where}"


def sit_all(pairs: Sequence[tuple[str, str]], limits: Limits, wall: Wall) -> list[Result]:
    """Put each code of *pairs* to the tests beside it, as many at once as there are cores."""
    cores = len(os.sched_getaffinity(0))
    with ThreadPoolExecutor(max(1, min(cores, AT_ONCE, len(pairs)))) as pool:
        return list(pool.map(lambda pair: sit(pair[0], pair[1], limits, wall), pairs))


def sit(tests: str, code: str, limits: Limits, wall: Wall) -> Result:
    """
    Put *code* to *tests*, and say what they come to.

    The tests run in a process of their own, which calls the functions of the other with plain data
    and gets such back: the code does not see what it is expected to return. Both are killed when
    time is up.
    """
    if max(len(tests), len(code)) > LONGEST:
        return Result("no_code", f"longer than {LONGEST} characters")
    until = time.monotonic() + limits.seconds
    with ExitStack() as stack:
        asks, answers = _pipe(stack), _pipe(stack)
        told = _pipe(stack)
        run = _Run(limits, wall, stack)
        run.start("answer", code, source=asks[0], sink=answers[1])
        run.start("ask", tests, source=answers[0], sink=asks[1], told=told[1])
        for end in (*asks, *answers, told[1]):
            end.close()
        verdict = _read(told[0].fileno(), until)
    return _result(verdict, limits.seconds)


@dataclass(frozen=True)
class _Run:
    """The processes of an exam, which end with the *stack*."""

    limits: Limits
    wall: Wall
    stack: ExitStack

    def start(
        self,
        role: str,
        text: str,
        source: IO[bytes],
        sink: IO[bytes],
        told: IO[bytes] | None = None,
    ) -> None:
        """Start the process of *role*, which has *text* and is bound to the other by pipes."""
        file = self.stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - the stack's
        file.write(text.encode("utf-8", "surrogatepass"))
        file.seek(0)
        passed = [file.fileno(), *([told.fileno()] if told else [])]
        limits = (self.limits.memory, max(1, round(self.limits.seconds)))
        words = [passed[0], passed[-1], *limits, self.wall.threads, self.wall.user()]
        process = subprocess.Popen(  # noqa: S603 - our own program, behind the wall
            [*self.wall.command(), role, *map(str, words)],
            stdin=source,
            stdout=sink,
            stderr=subprocess.DEVNULL,
            env=ENVIRONMENT,
            cwd="/",
            pass_fds=passed,
            start_new_session=True,
        )
        self.stack.callback(process.wait)
        self.stack.callback(process.kill)


def _pipe(stack: ExitStack) -> tuple[IO[bytes], IO[bytes]]:
    """The two ends of a pipe, which no process inherits that is not handed them."""
    source, sink = os.pipe()
    return stack.enter_context(os.fdopen(source, "rb")), stack.enter_context(os.fdopen(sink, "wb"))


def _read(source: int, until: float) -> bytes | None:
    """What is written to *source* before it is closed; None where that is not before *until*."""
    found = b""
    while len(found) < MOST:
        left = until - time.monotonic()
        if left <= 0 or not select.select([source], [], [], left)[0]:
            return None
        part = os.read(source, MOST)
        if not part:
            break
        found += part
    return found


def _result(verdict: bytes | None, seconds: float) -> Result:
    if verdict is None:
        return Result("over_limit", f"no end within {seconds:g} s")
    if not verdict:
        return Result("over_limit", "the tests themselves ended")
    try:
        told = json.loads(verdict)
        return Result(told["kind"], told["where"])
    except (ValueError, KeyError, TypeError):  # tests that write where the verdict goes
        return Result("over_limit", "the tests themselves ended")
