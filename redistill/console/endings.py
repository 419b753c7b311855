"""How a command ends: with its exit code and at most one line, whatever stopped it."""

import errno
import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, NoReturn, TextIO

from redistill.console import disk
from redistill.console.exceptions import IO, RefusedError
from redistill.console.safe_text import safe_text

SIGNALS = (signal.SIGINT, signal.SIGTERM)
AGAIN = 0.01  # seconds until a signal is sent again
UNREAD = 128 + signal.SIGPIPE  # as the shell has it of a command whose reader went away


class Stopped(SystemExit):
    """A signal that asks the process to end, raised wherever it was at work."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.name = signal.Signals(number).name


class OutputError(Exception):
    """Standard output did not take what was printed; *number* is the errno."""

    def __init__(self, number: int) -> None:
        super().__init__(os.strerror(number))
        self.number = number


def _leave(name: str, line: str, code: int) -> NoReturn:
    print(safe_text(f"{name}: {line}"), file=sys.stderr)
    sys.exit(code)


def run(
    name: str,
    call: Callable[[], Any],
    *,
    stopped: str,
    goes_on: bool = False,
    leave: Callable[[str, str, int], NoReturn] = _leave,
) -> Any:
    """
    Return what *call* does, or leave with one line on stderr that begins with *name*.

    A refusal leaves with its own code, a disk that is full or fails and an output that is closed or
    full with 74, a signal with 128 and its number, and *stopped* says how to go on. A reader that
    has gone away ends the command with 141 and no word; with *goes_on* it ends nothing, as what is
    printed is not what the command is for. *leave* takes the line elsewhere than to stderr.
    """
    try:
        with _heard(), _printed(goes_on=goes_on):
            return call()
    except RefusedError as refusal:
        leave(name, str(refusal), refusal.code)
    except Stopped as stop:
        leave(name, f"stopped by {stop.name}; {stopped}", int(str(stop.code)))
    except OutputError as fault:
        if fault.number == errno.EPIPE:
            sys.exit(UNREAD)
        leave(name, f"standard output cannot be written: {fault}", IO)
    except Exception as problem:
        refused = disk.refusal(problem)
        if refused is None:
            raise
        leave(name, str(refused), refused.code)


def quiet_interrupts() -> None:
    """Let a process that is interrupted while it still imports end without a traceback."""

    def told(kind: type[BaseException], value: BaseException, where: TracebackType | None) -> None:
        if not issubclass(kind, KeyboardInterrupt):
            before(kind, value, where)

    before, sys.excepthook = sys.excepthook, told


@contextmanager
def _heard() -> Iterator[None]:
    """
    Raise Stopped on a signal that asks to end, so that drafts are taken away.

    Python drops what is raised while it frees an object; the signal is then sent again.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    # a job in the background, or one under nohup, ignores them
    heeded = [one for one in SIGNALS if signal.getsignal(one) != signal.SIG_IGN]

    def stop(number: int, _: FrameType | None) -> NoReturn:
        for one in heeded:  # a second one would stop what takes away drafts
            signal.signal(one, signal.SIG_IGN)
        raise Stopped(number)

    def lost(unraisable: Any) -> None:
        if not isinstance(unraisable.exc_value, Stopped):
            told(unraisable)
            return
        number = signal.Signals[unraisable.exc_value.name]
        for one in heeded:
            signal.signal(one, stop)
        # once more, and later: what is raised in here is lost as well
        threading.Timer(AGAIN, os.kill, (os.getpid(), number)).start()

    before = {number: signal.signal(number, stop) for number in heeded}
    told, sys.unraisablehook = sys.unraisablehook, lost
    try:
        yield
    finally:
        sys.unraisablehook = told
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _printed(*, goes_on: bool) -> Iterator[None]:
    """Know a failure to print for what it is, and have all printed before the process ends."""
    if sys.stdout is None:
        raise RefusedError("standard output is closed; open it, as in > /dev/null", code=IO)
    before = sys.stdout, sys.stderr
    if not _is(sys.stdout, 1):  # another that tests put there
        yield
        return
    sys.stdout = _stream(sys.stdout, 1, {errno.EPIPE} if goes_on else set())
    if _is(sys.stderr, 2):
        sys.stderr = _stream(sys.stderr, 2, set(errno.errorcode))
    try:
        yield
    except SystemExit:  # so click ends a command that went well, too
        _flush()
        raise
    else:
        _flush()
    finally:
        sys.stdout, sys.stderr = before


def _flush() -> None:
    try:
        sys.stdout.flush()
    except OutputError:
        _nowhere(1)  # the interpreter flushes once more when it ends
        raise


def _is(stream: Any, number: int) -> bool:
    try:
        return isinstance(stream, io.TextIOWrapper) and stream.fileno() == number
    except (OSError, ValueError):  # it has no file behind it
        return False


def _stream(like: TextIO, number: int, unheard: set[int]) -> io.TextIOWrapper:
    """A stream *like* another on the same file; errors that are *unheard* lose what is printed."""
    like.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_Printer(number, unheard)),
        encoding=like.encoding,
        errors=like.errors,
        line_buffering=number == 2 or like.isatty(),
    )


class _Printer(io.FileIO):
    def __init__(self, number: int, unheard: set[int]) -> None:
        super().__init__(number, "w", closefd=False)
        self.unheard = unheard

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as problem:
            number = problem.errno or errno.EIO
        _nowhere(self.fileno())
        if number in self.unheard:
            return memoryview(data).nbytes
        raise OutputError(number)


def _nowhere(number: int) -> None:
    """Let whatever else is printed go nowhere."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, number)
    os.close(nothing)
