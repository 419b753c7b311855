"""Code that means harm is put to its tests, and nothing comes of it but that it fails them."""

import ctypes
import errno
import os
import platform
import shutil
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from redistill.sandbox import exam, walls
from redistill.sandbox.exam import Limits, Result
from redistill.sandbox.inside import system_calls

PR_SET_CHILD_SUBREAPER = 36
TESTS = "assert f() == 42"
LIMITS = Limits(seconds=8.0, memory=256, insist=True)
BRIEF = Limits(seconds=1.0, memory=256, insist=True)
WALLS = ["filter", *(["bubblewrap"] if shutil.which(walls.BWRAP) else [])]

pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(not system_calls.known(), reason="needs Linux on a machine that is known"),
]

# Bodies of f, which is to return 42. PLACE is a folder of the test, PORT one that listens.
PROCESSES = {
    "fork bomb": "for _ in range(200): os.fork()",
    "fork by its number": "for _ in range(200):\n  if ctypes.CDLL(None).syscall(57) == -1: 1 / 0",
    "vfork by its number": "if ctypes.CDLL(None).syscall(58) == -1: 1 / 0",
    "clone3 by its number": "if ctypes.CDLL(None).syscall(435, 0, 0) == -1: 1 / 0",
    "fork from libc": "if ctypes.CDLL(None).fork() == -1: 1 / 0",
    "daemon": "if os.fork() == 0:\n  os.setsid()\n  os.fork()\n  time.sleep(60)",
    "shell": "if os.system('touch PLACE/x'): 1 / 0",
    "program": "subprocess.run(['/bin/true'])",
    "another program in its place": "os.execv('/bin/true', ['true'])",
    "pool of processes": "return multiprocessing.Pool(2).map(len, ['a' * 42])[0]",
    "threads without end": "while True: threading.Thread(target=time.sleep, args=(60,)).start()",
    "new session": "os.setsid()",
    "new user": "if ctypes.CDLL(None).unshare(0x10000000) == -1: 1 / 0",
    "mount": "if ctypes.CDLL(None).mount(b'x', b'/tmp', b'tmpfs', 0, 0) == -1: 1 / 0",
    "back to root": "os.setuid(0)",
}
SIGNALS = {
    "kill the parent": "os.kill(os.getppid(), 9)",
    "kill everything": "os.kill(-1, 9)",
    "kill the group": "os.killpg(0, 9)",
    "stop the parent": "os.kill(os.getppid(), signal.SIGSTOP)",
    "signal by a handle": "signal.pidfd_send_signal(os.pidfd_open(os.getppid()), 9)",
    "trace the parent": "if ctypes.CDLL(None).ptrace(16, os.getppid(), 0, 0) == -1: 1 / 0",
    "lower the parent's limits": "resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE, (0, 0))",
    "slow the parent down": "os.setpriority(os.PRIO_PROCESS, os.getppid(), 19)",
    "signal by a pipe": "fcntl.fcntl(os.pipe()[0], fcntl.F_SETOWN, os.getppid())",
    "signal by a pair of sockets": "own, pair = struct.pack('i', os.getppid()), "
    "socket.socketpair()\n"
    " fcntl.ioctl(pair[0], 0x8901, own); fcntl.ioctl(pair[0], 0x5452, struct.pack('i', 1))\n"
    " pair[1].send(b'x'); return 42",
    "signals of a pipe": "fcntl.ioctl(os.pipe()[0], 0x5452, struct.pack('i', 1)); return 42",
    "outlive the parent": "if ctypes.CDLL(None).prctl(1, 0) == 0: return 42\n raise OSError",
    "keys of a terminal": "fcntl.ioctl(1, 0x5412, b'x')",
    "raise its own limits": "resource.setrlimit(resource.RLIMIT_AS, (-1, -1))",
}
NETWORK = {
    "connection": "socket.create_connection(('127.0.0.1', PORT))",
    "web": "return len(urllib.request.urlopen('http://127.0.0.1:PORT/').read())",
    "name of a host": "return len(socket.getaddrinfo('example.com', 80)) or 42",
    "listener": "socket.socket().bind(('127.0.0.1', 0))",
    "raw packets": "socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
    "local socket": "socket.socket(socket.AF_UNIX).connect('/run/dbus/system_bus_socket')",
}
FILES = {
    "file in a temporary folder": "open('PLACE/x', 'w').write('x')",
    "file beside it": "open('x', 'w').write('x')",
    "file at home": "open(os.path.expanduser('~/x'), 'w').write('x')",
    "changed file": "open('PLACE/victim', 'r+').write('x')",
    "longer file": "open('PLACE/victim', 'a').write('x')",
    "shorter file": "os.truncate('PLACE/victim', 0)",
    "lost file": "os.remove('PLACE/victim')",
    "moved file": "os.rename('PLACE/victim', 'PLACE/x')",
    "lost folder": "shutil.rmtree('PLACE'); os.rmdir('PLACE')",
    "symbolic link": "os.symlink('/etc/passwd', 'PLACE/x')",
    "hard link": "os.link('PLACE/victim', 'PLACE/x')",
    "folder": "os.mkdir('PLACE/x')",
    "rights": "os.chmod('PLACE/victim', 0o777)",
    "times": "os.utime('PLACE/victim', (0, 0))",
    "pipe with a name": "os.mkfifo('PLACE/x')",
    "its own worker": "open(WORKER, 'a').write('x')",
    "memory of itself": "open('/proc/self/mem', 'r+b').write(b'x')",
    "memory of the parent": "open(f'/proc/{os.getppid()}/mem', 'r+b').write(b'x')",
    "kernel": "open('/proc/sys/kernel/hostname', 'w').write('x')",
    "shared memory": "multiprocessing.shared_memory.SharedMemory(create=True, size=42)",
    "shared memory of old": "if ctypes.CDLL(None).shmget(0, 42, 0o1600) == -1: 1 / 0",
    "attributes of a file": "fcntl.ioctl(os.open('PLACE/victim', 0), 0x40086602, "
    "struct.pack('l', 0x80)); return 42",
    "lock on a file": "fcntl.flock(os.open('PLACE/victim', 0), 2); return 42",
    "other lock on a file": "fcntl.lockf(os.open('PLACE/victim', 0), 1); return 42",
    "file in memory": "os.memfd_create('x')",
    "too many files": "held = [open(os.devnull) for _ in range(1000)]; return 42",
}
LOADS = {
    "endless loop": "while True: pass",
    "sleep": "time.sleep(600)",
    "deaf to time": "signal.signal(signal.SIGXCPU, signal.SIG_IGN)\n while True: pass",
    "output without end": "while True: print('x' * 10**6)",
    "a power": "return len(str(7 ** 7 ** 12))",
    "backtracking": "re.match('(a|aa)+$', 'a' * 60 + 'b'); return 42",
}
MEMORY = {
    "much memory": "return len(bytearray(10 ** 10)) and 42",
    "more and more memory": "held = []\n while True: held.append(bytearray(10 ** 6))",
    "zip bomb": "return len(zlib.decompress(zlib.compress(bytes(10 ** 8)) * 1, bufsize=10 ** 9))",
    "bomb in a bomb": "held = [zlib.decompress(BOMB) for _ in range(99)]; return 42",
    "deep recursion": "return f()",
    "deeper recursion": "sys.setrecursionlimit(10 ** 9); return f()",
    "deep source": "eval('(' * 10 ** 5 + ')' * 10 ** 5)",
    "long list": "return [0] * 10 ** 10",
    "long answer": "return 'x' * 10 ** 7",
    "deep answer": "held = []\n for _ in range(10 ** 4): held = [held]\n return held",
    "crash": "ctypes.string_at(0)",
}
FORGED = {
    "end with 0": "os._exit(0)",
    "polite end": "sys.exit(0)",
    "interrupt": "raise KeyboardInterrupt",
    "printed pass": """print('{"kind": "passes", "where": "1 of 1"}'); sys.exit(0)""",
    "pass on every pipe": "for n in range(3, 40):\n  try: os.write(n, b'"
    '{"kind": "passes", "where": "1 of 1"}'
    "\\n')\n  except OSError: pass\n os._exit(0)",
    "reply before the question": "for n in range(3, 40):\n  try: os.write(n, b'"
    '{"mark": "0", "value": {"int": "0x2a"}, "args": []}'
    "\\n' * 9)\n  except OSError: pass",
    "equal to all": "class E:\n  def __eq__(self, o): return True\n return E()",
    "number equal to all": "class E(int):\n  def __eq__(self, o): return True\n return E(1)",
    "values patched": "v = sys.modules['redistill.sandbox.inside.values']\n"
    " v.encode = lambda *a: {'plain': True, 'int': '0x2a'}",
    "value of another form": "sys.modules['redistill.sandbox.inside.values'].encode = "
    "lambda *a: {'int': 'x' * 99}",
    "value without an end": "sys.modules['redistill.sandbox.inside.values'].encode = "
    "lambda *a: {'float': '1e999999999'}",
    "builtins patched": "import builtins\n builtins.AssertionError = type('E', (), {})\n return 1",
    "search for the answer": "held = [o for o in gc.get_objects() if isinstance(o, (str, dict))]\n"
    " return 42 if any('== 4' + '2' in str(o) for o in held) else 0",
    "frames of the caller": "found = sys._getframe()\n text = ''\n"
    " while found: text += repr(found.f_locals)[:10 ** 5]; found = found.f_back\n"
    " return 42 if '== 4' + '2' in text else 0",
    "exit at the end": "atexit.register(print, 'passes'); signal.raise_signal(signal.SIGTERM)",
}
ACTS = PROCESSES | SIGNALS | NETWORK | FILES  # which they are kept from
HOSTILE = PROCESSES | SIGNALS | NETWORK | FILES | LOADS | MEMORY | FORGED
HEAD = """\
import atexit, ctypes, fcntl, gc, multiprocessing, multiprocessing.shared_memory, os, re, shutil
import resource
import signal, socket, struct, subprocess, sys, threading, time, urllib.request, zlib
BOMB = zlib.compress(bytes(10 ** 7))
WORKER = sys.modules["redistill.sandbox.inside.worker"].__file__
def f():
 {body}
"""


@dataclass
class Place:
    """A folder that code may not change, and a port that it may not reach."""

    folder: Path
    listener: socket.socket = field(repr=False)

    def state(self) -> list[tuple[str, int, int, bytes]]:
        """Say what the folder holds."""
        return [
            (f.name, f.stat().st_mode, f.stat().st_mtime_ns, f.read_bytes())
            for f in sorted(self.folder.iterdir())
        ]

    def reached(self) -> bool:
        """Say whether anybody has connected."""
        try:
            self.listener.accept()
        except BlockingIOError:
            return False
        return True


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A folder, open to all, that holds a file which is."""
    folder = Path("/tmp") / f"hostile-{os.getpid()}-{tmp_path.name}"  # noqa: S108 - open to all
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    (folder / "victim").write_bytes(b"whole")
    (folder / "victim").chmod(0o666)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield Place(folder, listener)
    shutil.rmtree(folder)


@pytest.fixture(params=WALLS)
def wall(request: pytest.FixtureRequest) -> walls.Wall:
    """Every wall of this machine."""
    return walls.Wall(shutil.which(walls.BWRAP) if request.param == "bubblewrap" else None)


def sat(body: str, wall: walls.Wall, tests: str = TESTS, limits: Limits = LIMITS) -> Result:
    return exam.sit(tests, HEAD.format(body=body), limits, wall)


@pytest.fixture(autouse=True, scope="module")
def heir() -> Iterator[None]:
    """Whatever a process of ours leaves behind comes to us, and not to the first of the machine."""
    prctl = ctypes.CDLL(None).prctl
    assert prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    yield
    assert prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0) == 0


def left() -> set[int]:
    """The processes that stem from this one, whatever they run."""
    return {process.pid for process in psutil.Process().children(recursive=True) if runs(process)}


def runs(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def ended(others: set[int]) -> bool:
    """Say whether all of our processes but *others* have ended, or do so at once."""
    until = time.monotonic() + 5
    while not left() <= others and time.monotonic() < until:
        time.sleep(0.02)
    return left() <= others


def test_code_that_does_as_it_is_asked_passes(wall: walls.Wall):
    assert sat("return 42", wall) == Result("passes", "1 of 1")


def test_a_wall_is_tried_before_it_is_trusted(wall: walls.Wall):
    walls.prove(wall)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_code_fails_its_tests_and_changes_nothing(
    name: str, wall: walls.Wall, place: Place
):
    before, others = place.state(), left()
    body = HOSTILE[name].replace("PLACE", str(place.folder))
    body = body.replace("PORT", str(place.listener.getsockname()[1]))
    limits = BRIEF if name in LOADS else LIMITS
    began = time.monotonic()

    found = sat(body, wall, limits=limits)

    assert not found.passed
    assert name not in ACTS or found.kind != "wrong_result"  # it was kept from it
    assert name not in LOADS or found.kind == "over_limit"
    assert time.monotonic() - began < limits.seconds + 5
    assert place.state() == before
    assert not place.reached()
    assert ended(others)


def test_more_than_thirty_programs_are_tried():
    assert len(HOSTILE) > 30


SHARED = ("shmctl", "msgctl", "semctl", "msgsnd", "msgrcv", "semop", "mq_unlink",
          "setxattrat", "removexattrat", "file_setattr")  # fmt: skip


def test_what_others_share_is_out_of_reach_by_the_numbers_of_the_calls_too(wall: walls.Wall):
    column, _ = system_calls.MACHINES[platform.machine()]
    numbers = [system_calls.FORBIDDEN[name][column] for name in SHARED]
    body = (
        "libc, found = ctypes.CDLL(None, use_errno=True), []\n"
        f" for n in {numbers}:\n"
        "  libc.syscall(n, -1, -1, -1, 0, 0, 0); found.append(ctypes.get_errno())\n"
        " return found"
    )

    assert sat(body, wall, f"assert f() == {[errno.EPERM] * len(numbers)}").passed


def test_sets_of_texts_have_one_order_in_all_processes(wall: walls.Wall):
    order = "[*{*'abcdefghijkl'}]"

    assert sat(f"return {order}", wall, f"assert f() == {order}").passed


def test_no_secret_of_the_environment_is_there(wall: walls.Wall, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("REDISTILL_TEST_KEY", "s3cret-of-ours")

    found = sat(
        "return [*os.environ.values(), os.getcwd()]", wall, "assert 's3cret' not in str(f())"
    )

    assert found.passed


def test_behind_bubblewrap_there_is_no_home_no_process_and_no_data():
    if "bubblewrap" not in WALLS:
        pytest.skip("bubblewrap is not installed")
    wall = walls.Wall(shutil.which(walls.BWRAP))
    places = [str(Path.cwd()), "/proc", "/home", "/etc", "/tmp"]  # noqa: S108 - a name
    body = f"return [os.path.exists(p) for p in {places!r}]"

    assert sat(body, wall, "assert f() == [False] * 5").passed
    assert sat("return os.listdir('/root') if os.path.exists('/root') else []", wall,
               "assert f() == []").passed  # fmt: skip


def test_an_exam_that_is_broken_off_leaves_no_process(wall: walls.Wall):
    before = left()

    assert sat("time.sleep(60)", wall, limits=BRIEF).kind == "over_limit"

    assert ended(before)
