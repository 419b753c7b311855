"""What stands around a process that runs code of others: bubblewrap, or its own filter alone."""

import itertools
import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from redistill.console.exceptions import CONFIG, RefusedError
from redistill.sandbox.inside import system_calls

ROOT = Path(__file__).parent.parent.parent
INSIDE = Path(__file__).parent / "inside"
SYSTEM = ("/usr", "/lib", "/lib64", "/bin")
PYTHON, EXAM = "/python", "/exam"  # where the interpreter and the worker lie behind the wall
STRANGER, STRANGERS = 1_000_000_000, 500  # first of the user ids that nobody has, and how many
COUNT = itertools.count()
HELD = "[]"  # what a worker says that could do nothing of what it tried
THREADS = 64  # of a user, where they can be counted apart
# Not -I, which is deaf to the environment: it is all ours, and sets order in sets of texts.
ALONE = ("-s", "-P", "-S", "-B")
ENVIRONMENT = {"PYTHONHASHSEED": "0"}
BEGIN = (
    "import sys; sys.path.insert(0, sys.argv[1]); from redistill.sandbox.inside import worker; "
    "del sys.path[0]; worker.main(sys.argv[2:])"
)
BWRAP = "bwrap"
NEEDS = "grade.grader: tests runs code that a model wrote"
MISSING = (
    f"{NEEDS}, and bubblewrap is not installed; install it (apt install bubblewrap, dnf install "
    "bubblewrap), or set grade.tests.insist: true to run that code behind the filter of system "
    "calls alone (docs/judging.md says what that leaves open)"
)
CHECK = ("check", "0", "0", "256", "10")  # role, and words that the role has no use for, and limits
SLOW = 60.0  # seconds in which an interpreter has started, on a machine that is busy


@dataclass(frozen=True)
class Wall:
    """
    A way to run the worker: behind *bubblewrap*, the path of the program, or without (None).
    """

    bubblewrap: str | None

    def command(self) -> list[str]:
        """Return the command line up to the words for the worker."""
        if self.bubblewrap is None:
            return [sys.executable, *ALONE, "-c", BEGIN, str(ROOT)]
        prefix = os.path.realpath(sys.base_prefix)
        own = not any(prefix == known or prefix.startswith(f"{known}/") for known in SYSTEM)
        version = f"bin/python{sysconfig.get_python_version()}"
        python = f"{PYTHON if own else prefix}/{version}"
        return [
            self.bubblewrap,
            *self._namespaces(),
            *(word for place in SYSTEM for word in ("--ro-bind-try", place, place)),
            *(("--ro-bind", prefix, PYTHON) if own else ()),
            *("--ro-bind", str(INSIDE), f"{EXAM}/redistill/sandbox/inside"),
            *("--dev-bind", os.devnull, os.devnull),
            *("--clearenv", "--setenv", "LD_LIBRARY_PATH", f"{PYTHON}/lib"),
            *(word for name, value in ENVIRONMENT.items() for word in ("--setenv", name, value)),
            *("--remount-ro", "/", "--chdir", "/"),
            *(python, *ALONE, "-c", BEGIN, EXAM),
        ]

    def user(self) -> int:
        """Return the user that the next worker becomes, a new one each time; 0: none."""
        if self.bubblewrap is None or os.getuid():
            return 0
        return STRANGER + STRANGERS * os.getpid() + next(COUNT) % STRANGERS

    @property
    def threads(self) -> int:
        """How many threads the worker's user may have, 0 where others count as well."""
        return THREADS if self.bubblewrap else 0

    def _namespaces(self) -> list[str]:
        """Without a user namespace for root: it becomes another user, whom limits hold for."""
        own = ["--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts"]
        whose = [] if os.getuid() == 0 else ["--unshare-user"]
        return [*whose, *own, "--unshare-cgroup-try", "--die-with-parent", "--new-session"]


def choose(*, insist: bool) -> Wall:
    """
    Choose the wall of this machine: bubblewrap where it is, or none where the settings *insist*.

    Raises RefusedError (78) where neither holds, and where no filter of calls is known.
    """
    if not system_calls.known():
        raise RefusedError(
            f"{NEEDS}, and system calls can be filtered on Linux on x86-64 and 64-bit ARM alone; "
            "take such a machine",
            code=CONFIG,
        )
    found = shutil.which(BWRAP)
    if found is None and not insist:
        raise RefusedError(MISSING, code=CONFIG)
    wall = Wall(found)
    prove(wall)
    return wall


def prove(wall: Wall) -> None:
    """
    Have a process behind *wall* try what it must not be able to do.

    Raises RefusedError (78) where it can, or where it cannot even start.
    """
    if told := _open(wall):
        raise RefusedError(
            f"{NEEDS}, and {wall.bubblewrap or 'the filter of system calls'} does not hold it on "
            f"this machine ({told}); have user namespaces allowed, or take another machine",
            code=CONFIG,
        )


def _open(wall: Wall) -> str:
    """What a process behind *wall* can do, or why none starts there; empty where all is well."""
    command = [*wall.command(), *CHECK, str(wall.threads), str(wall.user())]
    try:
        ran = subprocess.run(  # noqa: S603 - our own program
            command, capture_output=True, text=True, env=ENVIRONMENT, cwd="/", timeout=SLOW,
            check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"no end within {SLOW:g} s"
    if not ran.returncode and ran.stdout == HELD:
        return ""
    return (ran.stdout or ran.stderr).strip().rpartition("\n")[2] or f"code {ran.returncode}"
