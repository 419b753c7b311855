"""
Commands of Python run in forks of a process that has imported torch, transformers and DVC already.

A command such as ``python -m stages.train`` spends seconds on imports before it does anything. A
server imports libraries and `redistill` once for all tests, and forks for each command. A fork runs
what lies in its own folder: where a file of `redistill` there is another one, it imports them anew.
Within `dvc repro` the commands of stages come here by a `python` that stands first on the PATH.

`REDISTILL_TEST_FORKS=0` has every command run in a process of its own, as users have it; so do the
tests that kill a process, and those marked `processes`.
"""

import array
import atexit
import functools
import gc
import hashlib
import importlib
import json
import logging
import multiprocessing.util
import os
import pickle
import pkgutil
import runpy
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
import types
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from forks_client import send

SOCKET = "REDISTILL_TEST_FORKS"  # the variable that names where the server listens; 0 for none
OFFLINE = {"HF_HUB_OFFLINE": "1"}  # of the server, and so of whatever runs in its forks
ROOT = Path(__file__).resolve().parent.parent
OWN = "redistill"  # the package that is imported beforehand, for forks whose folder has it alike
IMPORTED = (  # what takes long, and what it imports later on
    "torch", "transformers", "transformers.models.llama.modeling_llama",
    "transformers.models.gpt2.modeling_gpt2", "transformers.trainer", "transformers.integrations",
    "accelerate", "datasets", "tokenizers", "safetensors.torch", "huggingface_hub", "pydantic",
    "click", "jsonlines", "ruamel.yaml", "rich.table", "rapidfuzz", "numpy",
    "scipy.special", "scipy.stats", "matplotlib.pyplot", "matplotlib.backends.backend_svg",
    "jinja2", "openai", "aiolimiter",
    "dvc.cli", "dvc.repo", "dvc.repo.reproduce", "dvc.commands.repro", "dvc.stage.run",
    "dvc.repo.index", "dvc.dvcfile", "dvc.lock", "dvc.data_cloud", "dvc_data.hashfile",
)  # fmt: skip
# What libraries read when they are imported: a command with other values is run by itself
READ_EARLY = ("HF_", "TRANSFORMERS_", "OMP_", "MKL_", "TORCH_", "PYTHONHASHSEED", "TMPDIR")
RUN = ("stages.", "redistill.cli", "dvc", "tests.")
SHIM = """\
#!{python} -SE
import sys
sys.path[:0] = [{tests!r}]
from forks_client import main
main({python!r})
"""


def run(
    module: str, words: Sequence[str], cwd: Path | None = None, **more: str
) -> subprocess.CompletedProcess[str]:
    """
    Run ``python -m`` *module* in *cwd*, in a fork where that is the same.

    *more* are variables beside those of this process; nothing goes to the network.
    """
    process = start(module, words, cwd, **more)
    out, err = process.communicate()
    return subprocess.CompletedProcess([module, *words], process.returncode, out, err)


def start(module: str, words: Sequence[str], cwd: Path | None = None, **more: str) -> "Process":
    """Start what `run` runs, and go on: a process that can be killed."""
    env = {**os.environ, **OFFLINE, **more}
    cwd = cwd or Path.cwd()
    place = env.get(SOCKET, "0")
    if place == "0" or not module.startswith(RUN) or early(env) != early(os.environ | OFFLINE):
        command = [sys.executable, "-m", module, *words]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=cwd, env=env, stdout=pipe, stderr=pipe, text=True)
    _started(place)
    shown = {**env, "PATH": f"{Path(place).parent}:{env['PATH']}", SOCKET: place}
    return Forked(place, {"argv": [module, *words], "cwd": str(cwd), "env": shown})


class Forked:
    """A process that the server forked for us; what `subprocess.Popen` of it would be."""

    def __init__(self, place: str, request: Mapping[str, Any]) -> None:
        self.out, self.err = (tempfile.TemporaryFile() for _ in range(2))  # noqa: SIM115
        self.line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.line.connect(place)
        with open(os.devnull, "rb") as nothing:
            send(self.line, request, [nothing.fileno(), self.out.fileno(), self.err.fileno()])
        self.told, self.code = b"", None
        while b"\n" not in self.told:
            self.told += self.line.recv(64)
        pid, _, self.told = self.told.partition(b"\n")
        self.pid = int(pid)

    @property
    def returncode(self) -> int | None:
        return self.code

    def poll(self) -> int | None:
        """The exit code, None while it runs."""
        return self._code(0.0)

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int:
        code = self._code(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
        return code

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        self.wait(timeout)
        texts = []
        for file in (self.out, self.err):
            file.seek(0)
            texts.append(file.read().decode())
        return texts[0], texts[1]

    def _code(self, timeout: float | None) -> int | None:
        while self.code is None:
            self.line.settimeout(timeout)
            try:
                part = self.line.recv(64)
            except (TimeoutError, BlockingIOError):
                return None
            self.told += part
            if not part:
                self.code = int(self.told or b"70")
                self.line.close()
        return self.code


Process = Forked | subprocess.Popen[str]  # what `start` starts


def early(env: Mapping[str, str]) -> dict[str, str]:
    """The variables of *env* that libraries read when they are imported."""
    return {key: value for key, value in env.items() if key.startswith(READ_EARLY)}


def place() -> str:
    """A name for the socket of a new session, in a folder with the `python` that leads there."""
    folder = Path(tempfile.mkdtemp(prefix="forks-"))
    shim = folder / "python"
    here = str(Path(__file__).parent)
    shim.write_text(SHIM.format(python=sys.executable, tests=here), encoding="utf-8")
    shim.chmod(0o755)
    return str(folder / "socket")


def end(place: str) -> None:
    """End the server at *place*, and clear away what was made for it."""
    if Path(place).exists():
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
            line.connect(place)
            send(line, {"end": True}, [])
    shutil.rmtree(Path(place).parent, ignore_errors=True)


def _started(place: str) -> None:
    """Start the server at *place*, unless it runs; of several that want it, one does."""
    if Path(place).exists():
        return
    from filelock import FileLock

    with FileLock(f"{place}.lock"):
        if Path(place).exists():
            return
        log = open(f"{place}.log", "wb")  # noqa: SIM115 - the server's for as long as it runs
        server = subprocess.Popen(
            [sys.executable, str(Path(__file__)), place],
            cwd=Path(place).parent,
            env=os.environ | OFFLINE,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        until = time.monotonic() + 120
        while not Path(place).exists():
            if server.poll() is not None or time.monotonic() > until:
                raise RuntimeError(
                    f"the server of forks does not start: {Path(f'{place}.log').read_text()}"
                )
            time.sleep(0.05)


def serve(place: str) -> None:
    """Import what takes long, and fork for every request until the one to end."""
    base = [path for path in sys.path if path != str(Path(__file__).parent)]
    for name in IMPORTED:
        try:
            __import__(name)
        except ImportError as problem:
            print(f"{name}: {problem}", flush=True)
    sys.path.insert(0, str(ROOT))
    for found in pkgutil.walk_packages([str(ROOT / OWN)], f"{OWN}."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)
    _hasten(Path(place).parent / "yaml")
    _look_once()
    _forget_exits()
    parent = int(os.environ.get("REDISTILL_TEST_CONTROLLER", "0"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
        door.bind(f"{place}.new")
        door.listen(64)
        os.rename(f"{place}.new", place)
        _attend(door, base, parent)


def _attend(door: socket.socket, base: list[str], parent: int) -> None:
    """Fork for every request at the *door*, and send the exit code of every fork that ended."""
    running: dict[int, tuple[int, socket.socket]] = {}  # by what is readable when a fork has ended
    with selectors.DefaultSelector() as waiting:
        waiting.register(door, selectors.EVENT_READ)
        while True:
            ready = waiting.select(timeout=2.0)
            if not ready and parent and not Path(f"/proc/{parent}").exists():
                return
            for key, _ in ready:
                if key.fileobj is not door:
                    waiting.unregister(key.fileobj)
                    _ended(key.fd, *running.pop(key.fd))
                    continue
                line, _ = door.accept()
                request, fds = _received(line)
                if request.get("end"):
                    line.close()
                    return
                child = os.fork()
                if not child:
                    for held in (door, line, *(other for _, other in running.values())):
                        held.close()
                    for held in running:
                        os.close(held)
                    _become(request, fds, base)
                for fd in fds:
                    os.close(fd)
                ended = os.pidfd_open(child)
                running[ended] = child, line
                waiting.register(ended, selectors.EVENT_READ)
                _tell(line, f"{child}\n")


def _ended(fd: int, pid: int, line: socket.socket) -> None:
    """Send the exit code of the fork *pid*, of which *fd* says that it has ended."""
    os.close(fd)
    _tell(line, str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])))
    line.close()


def _tell(line: socket.socket, text: str) -> None:
    with suppress(OSError):  # whoever asked may be gone; the fork goes on, as a process would
        line.sendall(text.encode())


def _forget_exits() -> None:
    """Leave out what libraries do when a process ends: in a fork they have nothing to clear up."""
    weakref.finalize._registry.clear()  # type: ignore[attr-defined]
    atexit._clear()
    for ends in (logging.shutdown, multiprocessing.util._exit_function):
        atexit.register(ends)
    atexit.register(weakref.finalize._exitfunc)  # type: ignore[attr-defined]


def same(one: Path, other: Path) -> bool:
    """Whether there is no folder *one*, or the same files as in *other*, by size and time."""
    return not one.is_dir() or _listed(one) == _listed(other)


def _listed(folder: Path) -> dict[str, tuple[int, int]]:
    found = {}
    for place, _, names in os.walk(folder, followlinks=True):  # to redistill/project
        for name in names:
            if not name.endswith(".pyc"):
                seen = os.stat(os.path.join(place, name))
                found[os.path.relpath(os.path.join(place, name), folder)] = (
                    seen.st_size,
                    seen.st_mtime_ns,
                )
    return found


def _hasten(kept: Path) -> None:
    """
    Have DVC read and write YAML by libyaml, and read the same text once.

    It does so for every stage, dvc.lock by a parser that keeps comments and takes ten times as
    long: more than half of what a run of small stages takes. What a fork has read is *kept*.
    """
    from dvc.utils import strictyaml
    from dvc.utils.serialize import _yaml
    from yaml import CSafeDumper
    from yaml import dump as dumped

    known: dict[str, bytes] = {}
    kept.mkdir(exist_ok=True)
    parse = _yaml.parse_yaml

    def load(text: str, path: str, typ: str = "safe") -> Any:
        if text not in known:
            file = kept / hashlib.sha256(text.encode()).hexdigest()
            if file.is_file():
                known[text] = file.read_bytes()
            else:
                _keep(file, known, text, parse(text, path))
        return pickle.loads(known[text])  # noqa: S301 - ours, a line above

    def strict(text: str, path: str, typ: str = "safe") -> Any:
        return load(text, path) if typ == "safe" else parse(text, path, typ)

    def whole(data: Any) -> str:
        return str(dumped(data, Dumper=CSafeDumper, default_flow_style=False, sort_keys=False))

    @functools.cache
    def entry(name: str, content: str) -> str:
        return whole({"stages": {name: json.loads(content)}}).removeprefix("stages:\n")

    def dump(data: Any, stream: Any) -> None:
        plain = json.loads(json.dumps(data))
        if [*plain] == ["schema", "stages"] and plain["stages"]:  # dvc.lock, stage by stage
            stages = (entry(name, json.dumps(found)) for name, found in plain["stages"].items())
            text = "".join((whole({"schema": plain["schema"]}), "stages:\n", *stages))
        else:
            text = whole(plain)
        _keep(kept / hashlib.sha256(text.encode()).hexdigest(), known, text, plain)
        stream.write(text)

    _yaml.parse_yaml = _yaml.parse_yaml_for_update = load
    strictyaml.parse_yaml = strict
    _yaml._dump = dump


def _look_once() -> None:
    """
    Have DVC look once at each file and folder of our code, and for a key of the settings by name.

    It looks at every dep of a stage four times, and at the same folders for every stage: a third of
    what a run of small stages takes. No code changes while one command of DVC runs.
    """
    import dpath
    from dvc import output
    from dvc.dependency import param
    from fsspec.implementations.memory import MemoryFileSystem

    known: dict[tuple[str, str], Any] = {}
    build, get, info = output.build, dpath.get, MemoryFileSystem.info

    def built(odb: Any, path: str, fs: Any, name: str, **more: Any) -> Any:
        code = tuple(f"{os.getcwd()}/{folder}/" for folder in (OWN, "stages"))
        if not more.get("dry_run") or not path.startswith(code):
            return build(odb, path, fs, name, **more)
        key = path, name
        if key not in known:
            known[key] = build(odb, path, fs, name, **more)
        return known[key]

    def value(settings: Any, path: str, separator: str) -> Any:
        found = settings
        for key in path.split(separator):
            if not isinstance(found, dict) or key not in found:
                return get(settings, path, separator=separator)
            found = found[key]
        return found

    def told(self: Any, path: str, **more: Any) -> Any:
        place = self._strip_protocol(path)
        if place not in self.store:  # a folder, for which all files are looked through
            return info(self, path, **more)
        file = self.store[place]
        return {"name": place, "size": file.size, "type": "file", "created": file.created}

    output.build = built
    param.dpath = types.SimpleNamespace(get=value, search=dpath.search)
    MemoryFileSystem.info = told


def _keep(file: Path, known: dict[str, bytes], text: str, data: Any) -> None:
    """Keep what *text* says for this fork and, in a *file* that is whole or not there, for all."""
    known[text] = pickle.dumps(data)
    draft = file.with_suffix(f".{os.getpid()}")
    draft.write_bytes(known[text])
    draft.rename(file)


def _received(line: socket.socket) -> tuple[dict[str, Any], list[int]]:
    fds = array.array("i")
    head, held, *_ = line.recvmsg(8, socket.CMSG_LEN(3 * fds.itemsize))
    for level, kind, data in held:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    left, parts = int.from_bytes(head, "big"), []
    while left:
        part = line.recv(min(left, 1 << 16))
        parts.append(part)
        left -= len(part)
    return json.loads(b"".join(parts)), list(fds)


def _become(request: dict[str, Any], fds: list[int], base: list[str]) -> None:
    """Be the process that *request* asks for, and end."""
    for number, fd in enumerate(fds):
        os.dup2(fd, number)
    for fd in fds:
        if fd > 2:
            os.close(fd)
    os.setsid()
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:] = [request["cwd"], *paths, *base]
    if not same(Path(request["cwd"]) / OWN, ROOT / OWN):
        for name in [n for n in sys.modules if n.partition(".")[0] == OWN]:
            del sys.modules[name]
    sys.stdin, sys.stdout, sys.stderr = (
        open(number, mode, held, encoding="utf-8", closefd=False)  # noqa: SIM115 - until it ends
        for number, (mode, held) in enumerate((("r", -1), ("w", -1), ("w", 1)))  # stderr by lines
    )
    module, *words = request["argv"]
    sys.argv = [module, *words]
    gc.freeze()
    if module == "dvc":
        gc.disable()  # a third of its time, and it ends soon
    code: Any = 0
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as done:
        code = done.code
    except BaseException:
        traceback.print_exc()
        code = 1
    if isinstance(code, str):
        print(code, file=sys.stderr)
        code = 1
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(int(code or 0))


if __name__ == "__main__":
    serve(sys.argv[1])
