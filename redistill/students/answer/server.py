"""A student behind an OpenAI-compatible server: started or found, and asked without any cache."""

import asyncio
import hashlib
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, NoReturn

from redistill.console.exceptions import CONFIG, TRY_AGAIN, RefusedError
from redistill.console.progress import Progress
from redistill.llm import endpoint, response
from redistill.llm.address import reachable
from redistill.llm.connection import Connection
from redistill.llm.response import RETRIED, Reading
from redistill.llm.secret import secret_in
from redistill.records.types import Output
from redistill.students.answer.local import Draws, Engine
from redistill.students.model.note import NOTE

COMMAND = "REDISTILL_STUDENT_SERVER"  # a command that serves {model} at {port}
URL = "REDISTILL_STUDENT_URL"  # or the address of a server that is running
KEY = "REDISTILL_STUDENT_KEY"  # the key that it wants, if any
DIALECT = "REDISTILL_STUDENT_DIALECT"
WAIT = "REDISTILL_STUDENT_WAIT"  # seconds that a server has to come up
STANDARD_WAIT = 600.0
GRACE = 15.0  # seconds that a server and its processes have to end by themselves
GONE = 2.0  # seconds that killed ones have to disappear
# What vLLM, SGLang and llama.cpp would otherwise add to a draw by defaults of their own.
PLAIN = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}
# Started through this, a server ends with us even if we are killed.
LAUNCHER = (
    "import ctypes, os, sys\n"
    "if sys.platform == 'linux': ctypes.CDLL(None).prctl(1, 15)\n"
    "os.execvp(sys.argv[1], sys.argv[1:])"
)


@dataclass(frozen=True)
class Server:
    """Where a student is served, and under which name; *ended* says how its process ended."""

    address: str
    secret: str
    model: str
    ended: Callable[[], str | None] = lambda: None


@contextmanager
def served(
    student: Path,
    *,
    eos: int,
    max_new_tokens: int,
    text_of: Callable[[Sequence[int]], str],
) -> Iterator[Engine]:
    """
    Reach the student in the folder *student* behind a server, as the environment says.

    REDISTILL_STUDENT_SERVER is a command that is run for as long as the block lasts,
    REDISTILL_STUDENT_URL a server that is running and must list the student under `name`, in which
    the hash of its weights stands: no other student's answers can be taken for its own. Nothing
    that comes back is stored. *text_of* gives the text of a prompt for servers that take no ids.
    """
    command, address = os.environ.get(COMMAND), os.environ.get(URL)
    if bool(command) == bool(address):
        raise RefusedError(
            f"evaluate.engine is server: set either {COMMAND}, a command that serves {{model}} at "
            f"{{port}}, or {URL}, the address of a server that is running; see docs/answering.md",
            code=CONFIG,
        )
    ask = partial(
        _complete, eos=eos, max_new_tokens=max_new_tokens, text_of=text_of, dialect=_dialect()
    )
    if command:
        with _started(command, student) as server:
            yield partial(ask, server)
    else:
        yield partial(ask, _found(str(address), student))


def name(student: Path) -> str:
    """Say what *student* is called at a server: its folder, and the hash of all files in it."""
    whole = hashlib.sha256()
    for file in sorted(student.rglob("*")):
        if file.is_file() and file.name != NOTE:
            with file.open("rb") as opened:
                content = hashlib.file_digest(opened, "sha256").hexdigest()
            whole.update(f"{file.relative_to(student).as_posix()}\0{content}\n".encode())
    return f"{student.name}-{whole.hexdigest()[:16]}"


def _dialect() -> str:
    dialect = os.environ.get(DIALECT) or "ids"
    if dialect not in ("ids", "text"):
        raise RefusedError(f"{DIALECT}: expected ids or text, got {dialect!r}", code=CONFIG)
    return dialect


def _secret() -> str:
    return secret_in(KEY if os.environ.get(KEY) else None, KEY)


def _found(url: str, student: Path) -> Server:
    """The running server at *url*, if it serves the weights of *student*."""
    address, secret, wanted = reachable(url, URL), _secret(), name(student)
    try:
        listed = asyncio.run(_models(address, secret))
    except OSError as problem:
        raise RefusedError(
            f"{URL}: {address} cannot be reached: {problem}", code=TRY_AGAIN
        ) from None
    if wanted not in listed:
        raise RefusedError(
            f"{URL}: the server at {address} does not serve {wanted} (the folder of the student, "
            f"with the hash of its weights), but {', '.join(listed)[:200] or 'nothing'}; serve "
            f"{student} under that name (vLLM: --served-model-name, llama.cpp: --alias)",
            code=CONFIG,
        )
    return Server(address, secret, wanted)


@contextmanager
def _started(template: str, student: Path) -> Iterator[Server]:
    """The server that the command *template* starts, ended with all its processes at the end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    fields = {"{model}": str(student), "{port}": str(port), "{name}": name(student)}
    command = _filled(template, fields)
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(  # noqa: S603 - the user's own command, without a shell
            [sys.executable, "-c", LAUNCHER, *command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        before = signal.signal(signal.SIGTERM, _leave)
        try:
            yield _up(process, log, f"http://127.0.0.1:{port}/v1", fields["{name}"], template)
        finally:
            _end(process)
            signal.signal(signal.SIGTERM, before)


def _filled(template: str, fields: dict[str, str]) -> list[str]:
    try:
        words = shlex.split(template)
    except ValueError as problem:
        raise RefusedError(f"{COMMAND}: {problem}", code=CONFIG) from None
    for field in ("{model}", "{port}"):
        if not any(field in word for word in words):
            raise RefusedError(f"{COMMAND}: needs {field} where that goes", code=CONFIG)
    if shutil.which(words[0]) is None:
        raise RefusedError(f"{COMMAND}: there is no command {words[0]!r}", code=CONFIG)
    for field, value in fields.items():
        words = [word.replace(field, value) for word in words]
    return words


def _leave(number: int, _: object) -> NoReturn:
    """Leave through all ``finally`` blocks, so that the server ends as well."""
    raise SystemExit(128 + number)


def _up(
    process: "subprocess.Popen[bytes]", log: IO[bytes], address: str, wanted: str, template: str
) -> Server:
    """Wait until the server of *process* lists its model."""
    secret = _secret()

    def ended() -> str | None:
        code = process.poll()
        return None if code is None else f"the student's server ended with {code}: {_tail(log)}"

    deadline = time.monotonic() + endpoint.number(WAIT, STANDARD_WAIT)
    while time.monotonic() < deadline:
        if told := ended():
            raise RefusedError(f"{COMMAND}: {told}", code=CONFIG)
        try:
            listed = asyncio.run(_models(address, secret))
        except OSError:
            time.sleep(0.2)
            continue
        if wanted not in listed and ("{name}" in template or len(listed) != 1):
            raise RefusedError(
                f"{COMMAND}: the server lists {', '.join(listed)[:200] or 'nothing'}, not {wanted}",
                code=CONFIG,
            )
        return Server(address, secret, wanted if wanted in listed else listed[0], ended)
    raise RefusedError(f"{COMMAND}: no model within {WAIT} seconds: {_tail(log)}", code=CONFIG)


def _tail(log: IO[bytes]) -> str:
    log.seek(0, os.SEEK_END)
    log.seek(max(0, log.tell() - 4096))
    lines = log.read().decode("utf-8", "replace").split("\n")
    return next(
        (line.strip()[-300:] for line in reversed(lines) if line.strip()), "it said nothing"
    )


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End the server and every process that it started in its session."""
    for number, seconds in ((signal.SIGTERM, GRACE), (signal.SIGKILL, GONE)):
        until = time.monotonic() + seconds
        try:
            os.killpg(process.pid, number)
            while time.monotonic() < until:
                process.poll()
                os.killpg(process.pid, 0)
                time.sleep(0.02)
        except ProcessLookupError:
            return


async def _models(address: str, secret: str) -> list[str]:
    """The models that a server lists; raises OSError while it does not."""
    connection = Connection(address, secret)
    try:
        async with asyncio.timeout(10):
            raw = await connection.get("/models")
    finally:
        await connection.close()
    if raw.status != 200:
        raise ConnectionError(f"HTTP {raw.status}")
    try:
        return [str(model["id"]) for model in json.loads(raw.body)["data"]]
    except (ValueError, KeyError, TypeError):
        raise ConnectionError("no list of models") from None


def _complete(
    server: Server,
    prompts: Sequence[Sequence[int]],
    draws: Draws | None,
    say: str,
    *,
    eos: int,
    max_new_tokens: int,
    text_of: Callable[[Sequence[int]], str],
    dialect: str,
) -> list[Output]:
    """Complete *prompts* at *server*; raises RefusedError where a single one has no answer."""
    bodies = []
    for place, prompt in enumerate(prompts):
        body: dict[str, Any] = {
            "model": server.model,
            "prompt": list(prompt) if dialect == "ids" else text_of(prompt),
            "max_tokens": max_new_tokens,
            "temperature": draws.temperature if draws else 0.0,
        }
        if draws:
            body |= {"top_p": draws.top_p, "seed": draws.seeds[place] % 2**31}
        if dialect == "ids":
            body |= {"stop_token_ids": [eos], **PLAIN}
        bodies.append(body)
    readings = asyncio.run(_all(server, bodies, say))
    return [_understood(r, prompt) for r, prompt in zip(readings, prompts, strict=True)]


def _understood(reading: Reading, prompt: Sequence[int]) -> Output:
    eos = reading.outcome == "answered"
    if reading.prompt_tokens is None or reading.completion_tokens is None:
        raise RefusedError("the student's server does not count tokens (usage)", code=CONFIG)
    if reading.prompt_tokens != len(prompt):
        raise RefusedError(
            f"the student's server read a prompt of {len(prompt)} tokens as "
            f"{reading.prompt_tokens}: it does not see what the student was trained on",
            code=CONFIG,
        )
    return Output(text=reading.text, eos=eos, tokens=max(0, reading.completion_tokens - eos))


async def _all(server: Server, bodies: Sequence[dict[str, Any]], say: str) -> list[Reading]:
    policy = endpoint.policy()
    connection = Connection(server.address, server.secret)
    readings: dict[int, Reading] = {}
    progress = Progress(say, len(bodies))
    waiting = iter(enumerate(bodies))

    async def work() -> None:
        for place, body in waiting:  # one iterator for all: each goes to one of them
            readings[place] = await _one(server, connection, body, policy)
            progress.to(len(readings))

    workers = [asyncio.create_task(work()) for _ in range(min(policy.concurrency, len(bodies)))]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        await connection.close()
        progress.close()
    return [readings[place] for place in range(len(bodies))]


async def _one(
    server: Server,
    connection: Connection,
    body: dict[str, Any],
    policy: endpoint.Policy,
) -> Reading:
    for attempt in range(policy.attempts):
        retry_after = None
        try:
            async with asyncio.timeout(policy.deadline):
                raw = await connection.post("/completions", body)
            reading, retry_after = response.read_completion(raw.status, raw.body), raw.retry_after
        except TimeoutError:
            reading = Reading("timeout", detail=f"no answer within {policy.deadline:g} s")
        except OSError as problem:
            reading = Reading("no_connection", detail=f"{type(problem).__name__}: {problem}"[:200])
        if reading.outcome in ("answered", "truncated"):
            return reading
        if told := server.ended():
            raise RefusedError(told, code=TRY_AGAIN)
        if reading.outcome not in RETRIED:
            raise RefusedError(
                f"the student's server refused a prompt: {reading.detail}; see docs/answering.md",
                code=CONFIG,
            )
        if attempt + 1 < policy.attempts:
            await asyncio.sleep(endpoint.wait(retry_after, attempt, policy))
    raise RefusedError(
        f"the student's server did not answer in {policy.attempts} tries: {reading.outcome} "
        f"({reading.detail}); no prediction was written",
        code=TRY_AGAIN,
    )
