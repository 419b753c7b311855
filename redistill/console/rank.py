"""Which process of a stage this is, where several share its work, and how it ends beside them."""

import ctypes
import json
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

from redistill.console import machines

LEADER = "REDISTILL_LEADER"  # the socket of the stage that had this process started, on its machine
OWN = "redistill: "  # begins what a process says that has not reached the stage
GRACE = 3.0  # seconds to end in once the stage is gone; one that waits for others hears no signal
PR_SET_PDEATHSIG = 1
# What a launcher's own settings say of numbers, which params.yaml says: data, not place.
UNHEARD = ("ACCELERATE_MIXED_PRECISION", "ACCELERATE_GRADIENT_ACCUMULATION_STEPS")
# torchrun's names, and those by which Intel MPI and MPICH, Open MPI and MVAPICH say the same.
NAMES = {
    "WORLD_SIZE": ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE"),
    "RANK": ("PMI_RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK"),
    "LOCAL_RANK": ("MPI_LOCALRANKID", "OMPI_COMM_WORLD_LOCAL_RANK", "MV2_COMM_WORLD_LOCAL_RANK"),
    "LOCAL_WORLD_SIZE": (
        "MPI_LOCALNRANKS", "OMPI_COMM_WORLD_LOCAL_SIZE", "MV2_COMM_WORLD_LOCAL_SIZE",
    ),
}  # fmt: skip
MEETING = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}  # where mpirun itself names no place

_line: socket.socket | None = None  # to the stage, from `join` on


def launched() -> bool:
    """Say whether a stage had this process started to share its work."""
    return LEADER in os.environ


def count() -> int:
    """Count the processes that share the work of this stage; 1 where it does it alone."""
    return int(os.environ.get("WORLD_SIZE") or 1) if launched() else 1


def number() -> int:
    """Return the number of this process among them, from 0."""
    return int(os.environ.get("RANK") or 0) if launched() else 0


def first() -> bool:
    """Say whether this process is the one that speaks, writes and saves."""
    return number() == 0


def end_others() -> None:
    """Let every process but the first end here: what follows is said and written once."""
    if not first():
        sys.exit(0)


def end_with_parent(number: int) -> None:
    """Have this process get the signal *number* when the one that started it is gone."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)


def join() -> list[str]:
    """
    Take part in the work of the stage that had this process started; returns the stage's options.

    They come from the stage itself, as torchrun takes some for its own on a command line.

    The first process gets the stage's own standard output and error; what others print goes where
    the launcher prints. Whatever happens to the stage, this process does not outlive it. Ends where
    the stage is on another machine and listens to no other one.
    """
    global _line
    _line = _reached()
    _named()
    _tell({"number": number(), "count": count(), "alone": _alone(), "pid": os.getpid()})
    told, streams = _options(_line)
    for there, stream in enumerate(streams, 1):
        os.dup2(stream, there)
        os.close(stream)
    if first() and _line.family != socket.AF_UNIX:
        _speak_far()
    for name in UNHEARD:
        os.environ.pop(name, None)
    threading.Thread(target=_watch, args=(_line,), daemon=True).start()
    return list(json.loads(told))


def _reached() -> socket.socket:
    """A line to the stage, by a file where it is on this machine."""
    line = socket.socket(socket.AF_UNIX)
    try:
        line.connect(os.environ[LEADER])
    except OSError:
        line.close()
        return _far(machines.PROCESS)
    return line


def _far(line: int) -> socket.socket:
    try:
        return machines.reach(line)
    except KeyError:
        sys.exit(
            f"{OWN}this process is on another machine than the stage; set {machines.HOST} there to "
            "the name or address by which others reach it"
        )
    except OSError as problem:
        host, port = machines.at()
        sys.exit(f"{OWN}the stage cannot be reached at {host}, port {port}: {problem}")


def _options(line: socket.socket) -> tuple[bytes, list[int]]:
    """The options of the stage and its open files; ends where the stage has hung up."""
    told, streams = b"", list[int]()
    while not told.endswith(b"\n"):
        try:
            more, files, _, _ = socket.recv_fds(line, 1 if not told else 65536, 2)
        except OSError:
            more, files = b"", []
        if not more:
            sys.exit(f"{OWN}the stage has hung up")
        told, streams = told + more, streams + files
    return told, streams


def _speak_far() -> None:
    """Have what this process writes shown by the stage on its machine."""
    for there in (machines.OUTPUT, machines.ERROR):  # by the numbers of the two files
        with _far(there) as line:
            os.dup2(line.fileno(), there)


def _named() -> None:
    """Give what mpirun says of this process torchrun's names, which torch and accelerate read."""
    if "WORLD_SIZE" in os.environ:
        return
    for name, others in NAMES.items():
        if found := next((os.environ[other] for other in others if other in os.environ), None):
            os.environ[name] = found
    if count() > 1:
        stage = {"MASTER_ADDR": machines.at()[0]} if machines.ADDRESS in os.environ else {}
        os.environ.update({**MEETING, **stage, **os.environ})


def _alone() -> bool:
    """Whether accelerate was asked for several processes on a CPU, of which it starts one."""
    asked = {"ACCELERATE_USE_CPU", "MASTER_ADDR"} <= os.environ.keys()
    return asked and "WORLD_SIZE" not in os.environ


def leave(name: str, line: str, code: int) -> NoReturn:
    """Tell the stage, which says it for all, the *line* that this process ends with, and end."""
    _tell({"code": code, "line": line})
    raise _Told(code)


def shared(work: Callable[[], Any]) -> None:
    """Do *work* as one of several, and tell the stage how it ended; a failure with its trace."""
    try:
        work()
    except _Told:
        raise
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        _tell({"code": code})
        raise
    except BaseException:
        _tell({"code": 1, "trace": traceback.format_exc()})
        sys.exit(1)
    _tell({"code": 0})


class _Told(SystemExit):
    """The end of a process that has said why."""


def _tell(what: dict[str, Any]) -> None:
    if _line is None:
        return
    try:
        _line.sendall(json.dumps(what).encode() + b"\n")
    except OSError:  # the stage is gone: nobody is left to be told, and `_watch` ends this process
        return


def _watch(line: socket.socket) -> None:
    """End this process when the stage hangs up, at first so that drafts are taken away."""
    with suppress(OSError):  # its machine is gone
        while line.recv(1):
            pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os.kill(os.getpid(), signal.SIGKILL)
