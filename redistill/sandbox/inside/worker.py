"""
The two processes of an exam: one that has the code and answers, one that has the tests and asks.

Runs by itself, with nothing of Redistill but its own folder. Neither process sees what the other
holds: the code never sees the tests, and what it returns is read as plain data.
"""

import ast
import builtins
import json
import os
import resource
import secrets
import socket
import sys
from collections.abc import Callable
from typing import Any, BinaryIO

from redistill.sandbox.inside import system_calls, values

FILES, FILE_SIZE = 32, 1024 * 1024  # open at once, and bytes of the largest
LACKS = "has no function"  # before its name
NAMES = 80  # characters of a source line that is named
UNFIT = (StopIteration, StopAsyncIteration, UnicodeError)  # the first end a map or zip in the tests
DEFINED = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


class GoneError(BaseException):  # which no test takes for one that it expects
    """The process with the code does not answer any more."""


class LackingError(BaseException):
    """The code has no function of that name, or does not run at all."""


def main(words: list[str]) -> None:
    """Play the role that *words* name: file descriptors, then limits."""
    role, text, told, memory, seconds, threads, user = words[0], *map(int, words[1:])
    if role == "check":
        lock(memory, seconds, threads, user)
        sys.stdout.write(json.dumps(open_ways()))
        return
    with os.fdopen(text, "rb") as file:
        program = file.read().decode("utf-8")
    if role == "answer":
        answer(program, partner(), lambda: lock(memory, seconds, threads, user))
    else:
        report = os.fdopen(told, "wb", buffering=0)
        links = partner()
        lock(memory, seconds, threads, user)
        kind, where = ask(program, links)
        report.write(json.dumps({"kind": kind, "where": where}).encode())
        os._exit(0)


def partner() -> tuple[BinaryIO, BinaryIO]:
    """Take the pipes from and to the other process off stdin and stdout, which then are nothing."""
    source, sink = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb", buffering=0)
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nothing, number)
    os.close(nothing)
    return source, sink


def lock(memory: int, seconds: int, threads: int, user: int) -> None:
    """
    Give up all that code of others has no use for, for good.

    *memory* is in MiB, *seconds* are those of the processor. With *threads* above 0 there are at
    most so many of the user; with a *user* above 0 the process becomes that one.
    """
    limits = {
        resource.RLIMIT_AS: memory * 1024 * 1024,
        resource.RLIMIT_CPU: seconds,
        resource.RLIMIT_FSIZE: FILE_SIZE,
        resource.RLIMIT_NOFILE: FILES,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
    }
    if threads:
        limits[resource.RLIMIT_NPROC] = threads
    if user:
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
    system_calls.end_with_parent()  # not before: a change of user takes it back
    for limit, most in limits.items():
        resource.setrlimit(limit, (most, most))
    system_calls.forbid()


def open_ways() -> list[str]:
    """Try what a process that is shut in must not be able to do, and name what it can."""
    place = f"/tmp/{secrets.token_hex(8)}"  # noqa: S108 - it is not to be made
    tried: dict[str, Callable[[], object]] = {
        "a network": socket.socket,
        "other processes": os.fork,
        "other programs": lambda: os.execv("/bin/true", ["true"]),  # noqa: S606
        "signals": lambda: os.kill(os.getppid(), 0),
        "files": lambda: os.open(place, os.O_WRONLY | os.O_CREAT),
    }
    found = []
    for name, act in tried.items():
        try:
            act()
        except PermissionError:
            continue
        found.append(name)
    return found


def answer(code: str, links: tuple[BinaryIO, BinaryIO], shut: Callable[[], None]) -> None:
    """Run *code* once the process is shut in, then call its functions as they are asked for."""
    source, sink = links
    shut()
    space: dict[str, Any] = {"__name__": "solution", "__builtins__": builtins}
    try:
        exec(compile(code, "solution", "exec"), space)  # noqa: S102 - what all of this is for
        sink.write(values.line({"ready": None}))
    except BaseException as fault:
        sink.write(values.line({"ready": type(fault).__name__}))
        return
    while asked := source.readline(values.LONGEST):
        sink.write(values.line(_called(space, json.loads(asked))))


def _called(space: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
    """The reply to a call: the value and the arguments as they are after it, or what was raised."""
    mark = {"mark": asked["mark"]}
    function = space.get(asked["name"])
    if not callable(function):
        return mark | {"lacking": asked["name"]}
    given = [values.decode(one) for one in asked["args"]]
    named = {name: values.decode(one) for name, one in asked["named"].items()}
    try:
        returned = values.encode(function(*given, **named))
        left = [_left(one) for one in given]
    except BaseException as fault:
        return mark | {"raised": type(fault).__name__}
    return mark | {"value": returned, "args": left}


def _left(argument: Any) -> Any:
    """An argument as the function left it; None where it is no plain data any more."""
    try:
        return values.encode(argument)
    except (values.NotPlainError, RecursionError):
        return None


def ask(tests: str, links: tuple[BinaryIO, BinaryIO]) -> tuple[str, str]:
    """Put *tests* to the process that has the code: what it comes to, and at which of them."""
    asker = Asker(*links)
    try:
        asker.begin()
    except LackingError as fault:
        return "no_code", str(fault)
    except GoneError as fault:
        return "over_limit", str(fault)
    tree = ast.parse(tests)
    space: dict[str, Any] = {"__name__": "tests", "__builtins__": builtins}
    space |= {name: asker.function(name) for name in free_names(tree)}
    steps = [one for one in tree.body if not isinstance(one, (*DEFINED, ast.Assign))]
    for one in tree.body:
        where, failed = _where(tests, one, steps), None
        try:
            exec(compile(ast.Module([one], []), "tests", "exec"), space)  # noqa: S102
        except BaseException as fault:
            failed = "raises" if fault is asker.raised else "wrong_result"
        # First, as the tests may have caught it: no except of theirs makes an end a result.
        if isinstance(asker.ended, LackingError):
            return "no_code", str(asker.ended)
        if asker.ended is not None:
            return "over_limit", where
        if failed is not None:
            return failed, where
    return ("passes", f"{len(steps)} of {len(steps)}") if asker.asked else ("no_code", "not called")


def _where(tests: str, one: ast.stmt, steps: list[ast.stmt]) -> str:
    source = " ".join((ast.get_source_segment(tests, one) or "").split())[:NAMES]
    return f"test {steps.index(one) + 1} of {len(steps)}: {source}" if one in steps else source


def free_names(tree: ast.AST) -> set[str]:
    """Return the names that *tree* uses and does not define, which are those of the code."""
    used: set[str] = set()
    defined: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            (used if isinstance(node.ctx, ast.Load) else defined).add(node.id)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            defined.add(node.name)
        elif isinstance(node, ast.arg):
            defined.add(node.arg)
        elif isinstance(node, ast.alias):
            defined.add((node.asname or node.name).partition(".")[0])
        elif isinstance(node, ast.ExceptHandler) and node.name:
            defined.add(node.name)
    return {name for name in used - defined if not hasattr(builtins, name)}


class Asker:
    """
    Calls functions of the other process; *raised* is the last exception that came from there.

    *ended* is why no call after it is answered, whatever the tests make of it: None while they are.
    """

    def __init__(self, source: BinaryIO, sink: BinaryIO) -> None:
        self._source, self._sink = source, sink
        self.raised: BaseException | None = None
        self.ended: GoneError | LackingError | None = None
        self.asked = 0

    def begin(self) -> None:
        """Wait until the code has run; raises LackingError where it cannot."""
        why = self._reply().get("ready", "")
        if why is not None:
            raise LackingError(_name(why) or "does not run")

    def function(self, name: str) -> Callable[..., Any]:
        """Return what stands in the tests for the function *name* of the code."""

        def call(*args: Any, **named: Any) -> Any:
            if self.ended is not None:
                raise self.ended
            try:
                return self._call(name, args, named)
            except (GoneError, LackingError) as fault:
                self.ended = fault
                raise

        call.__name__ = name
        return call

    def _call(self, name: str, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        self.asked += 1
        mark = secrets.token_hex(8)  # so that no reply is written before it is asked for
        given = [values.encode(one) for one in args]
        options = {key: values.encode(one) for key, one in named.items()}
        try:
            self._sink.write(
                values.line({"mark": mark, "name": name, "args": given, "named": options})
            )
        except BrokenPipeError:
            raise GoneError("it ended by itself") from None
        reply = self._reply()
        if reply.get("mark") != mark:
            raise GoneError("it answers what it was not asked")
        if "lacking" in reply:
            raise LackingError(f"{LACKS} {name}")
        if "raised" in reply:
            raise self._exception(_name(reply["raised"]))
        try:
            for old, new in zip(args, reply["args"], strict=True):
                if new is not None:
                    values.renew(old, values.decode(new))
            return values.decode(reply["value"])
        except (ValueError, TypeError, LookupError, ArithmeticError, RecursionError):
            raise GoneError("it answers with no value") from None

    def _exception(self, name: str) -> BaseException:
        kind = getattr(builtins, name, None)
        real = isinstance(kind, type) and issubclass(kind, Exception) and kind not in UNFIT
        try:
            self.raised = kind(name) if real and kind is not None else RuntimeError(name)
        except TypeError:  # one that takes other arguments
            self.raised = RuntimeError(name)
        return self.raised

    def _reply(self) -> dict[str, Any]:
        found = self._source.readline(values.LONGEST)
        try:
            reply = json.loads(found)
        except (ValueError, RecursionError):
            raise GoneError("it ended by itself") from None
        if not isinstance(reply, dict):
            raise GoneError("it answers with no value")
        return reply


def _name(text: Any) -> str:
    """*text* as the name of an exception, empty where it cannot be one: code chose it."""
    return text if isinstance(text, str) and text.isidentifier() and len(text) <= 40 else ""
