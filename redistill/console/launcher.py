"""A stage that is shared by several processes: they are started, heard, and ended together."""

import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

from redistill.console import lines, machines, rank
from redistill.console.exceptions import CONFIG, RefusedError
from redistill.console.safe_text import safe_text

COMMAND = "REDISTILL_LAUNCH"  # starts processes, as in: torchrun --nproc-per-node 8
QUIET = {"TORCH_CPP_LOG_LEVEL": "ERROR"}  # DDP warns of looking for weights that are not used
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
    with TemporaryDirectory(prefix="redistill-") as folder, ExitStack() as opened:
        place, log = Path(folder) / "leader", Path(folder) / "log"
        far = machines.door()
        door = opened.enter_context(far) if far else None
        listener = opened.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(str(place))
        listener.listen()
        told = {rank.LEADER: str(place), **(door.variables() if door else {})}
        with log.open("wb") as printed:
            process = _started(module, told, printed)
        heard = lines.Lines(listener, door, process, words, f"{COMMAND}: {os.environ[COMMAND]!r}")
        try:
            heard.hear()
        except RefusedError:
            _show(log, whole=False)
            raise
        finally:
            heard.close()
            _end(process)
        _settle(heard, process.returncode, log)


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


def _end(launcher: subprocess.Popen[bytes]) -> None:
    """End *launcher* where it is still there."""
    if launcher.poll() is None:
        launcher.terminate()
    try:
        launcher.wait(GRACE)
    except subprocess.TimeoutExpired:
        launcher.kill()
        launcher.wait()


def _settle(heard: lines.Lines, code: int, log: Path) -> None:
    """Raise what ended the processes, the cause before what followed from it."""
    if heard.faults:
        _raise(min(heard.faults, key=_rank_of))
    if code or not heard.processes:
        _show(log, whole=True)
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


def _show(log: Path, *, whole: bool) -> None:
    """Print what processes that did not reach the stage said, or the end of a *whole* log."""
    with log.open(encoding="utf-8", errors="replace") as printed:
        kept = deque(printed, LINES)
        printed.seek(0)
        own = [line[line.index(rank.OWN) :] for line in printed if rank.OWN in line]
    for line in dict.fromkeys(own) or (kept if whole else ()):
        print(safe_text(line.rstrip()), file=sys.stderr)
