"""
The program that compares answers with math-verify, in a process of its own that can be killed.

It is run as a file, imports nothing of Redistill, reads one JSON object ``{"gold", "answer"}`` a
line and answers each with ``{"equal"}``. math-verify parses with sympy, which can hang or take all
memory on a few characters (``9**9**9``), and its own time limits are signals that C code ignores:
they are switched off here, and the process that started this one kills it when time is up.
"""

import contextlib
import importlib
import importlib.metadata
import json
import os
import resource
import signal
import sys
from typing import Any

MAX_MEMORY = 1 << 30  # bytes of address space; the libraries take about 100 MB of it
MAX_SECONDS = 10  # of processor time for one answer, should nobody be left to kill this process
PR_SET_PDEATHSIG = 1
OLDEST = (0, 9)


def main() -> None:
    """Answer until the input ends."""
    confine()
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what a library prints is no answer
    try:
        version = importlib.metadata.version("math-verify")
        if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
            raise ImportError(f"math-verify {version} is too old")
        same("1/2", "0.5")  # imports everything, so that it counts as no answer's time
    except (ImportError, ValueError) as problem:
        _say(out, {"missing": str(problem)})
        return
    _say(out, {"ready": version})
    for line in sys.stdin:
        asked = json.loads(line)
        used = resource.getrusage(resource.RUSAGE_SELF)
        spent = int(used.ru_utime + used.ru_stime)
        resource.setrlimit(resource.RLIMIT_CPU, (spent + MAX_SECONDS, resource.RLIM_INFINITY))
        _say(out, {"equal": same(asked["gold"], asked["answer"])})


def confine() -> None:
    """Allow this process no files, no core dumps, little memory, and no life after its parent."""
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one that started this
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == 1:  # it was gone before we asked
            sys.exit(1)


def same(gold: str, answer: str) -> bool:
    """Say whether math-verify holds *answer* to be *gold*; what it cannot parse is not."""
    library = importlib.import_module("math_verify")
    try:
        left, right = parsed(library, gold), parsed(library, answer)
        return bool(left and right and library.verify(left, right, timeout_seconds=None))
    except (Exception, RecursionError, MemoryError):  # whatever a parser raises on such text
        return False


def parsed(library: Any, text: str) -> list[Any]:
    """
    Have math-verify parse the whole of *text* as one formula.

    Only as LaTeX: read as an expression, ``9**9**9`` would be its last 9.
    """
    config = library.LatexExtractionConfig(boxed_match_priority=0)
    shown = text.replace("**", "^")
    shown = shown if "$" in text or "\\[" in text else f"${shown}$"
    return list(library.parse(shown, [config], parsing_timeout=None))


def _say(out: Any, content: dict[str, Any]) -> None:
    with contextlib.suppress(BrokenPipeError):
        out.write(json.dumps(content) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
