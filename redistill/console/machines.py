"""Lines to a stage from processes on other machines: over TCP, with a word that only they know."""

import hmac
import json
import os
import secrets
import socket
from dataclasses import dataclass

from redistill.console.exceptions import CONFIG, RefusedError

HOST = "REDISTILL_HOST"  # the stage's machine, as the others reach it
PLACE = "REDISTILL_LEADER_AT"  # where the stage listens, and the word, in the processes
WORD = 32  # bytes
HELLO = 1000  # bytes at most before a line has said its word
REACH = 60  # seconds to reach the stage in
IDLE, BETWEEN, PROBES = 20, 5, 4  # seconds, seconds, count: when the other machine counts as gone


@dataclass
class Door:
    """Where a stage hears processes of other machines, and the *word* that lets them in."""

    listener: socket.socket
    host: str
    word: str

    def variables(self) -> dict[str, str]:
        """Return what the processes are told, to find the stage."""
        told = {"host": self.host, "port": self.listener.getsockname()[1], "word": self.word}
        return {PLACE: json.dumps(told)}

    def accepted(self) -> socket.socket:
        """Take the next line, whose word is not heard yet."""
        line = self.listener.accept()[0]
        _keep_alive(line)
        return line

    def lets_in(self, hello: bytes) -> int | None:
        """Read the first thing said on a line: the stream it is of, or None without the word."""
        try:
            said = json.loads(hello)
            known = hmac.compare_digest(said["word"].encode(), self.word.encode())
            return {0: 0, 1: 1, 2: 2}[said["stream"]] if known else None
        except (ValueError, LookupError, TypeError, AttributeError):
            return None


def door() -> Door | None:
    """
    Listen at REDISTILL_HOST, where it is set, at a free port.

    Raises RefusedError (78) where it is no address of this machine.
    """
    host = os.environ.get(HOST, "").strip()
    if not host:
        return None
    try:
        family, _, _, _, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
        listener = socket.create_server(address[:2], family=family)
    except (OSError, UnicodeError) as problem:
        raise RefusedError(
            f"{HOST}: {host!r} is no address of this machine: {problem}; name it as the other "
            "machines reach it, or leave it out where all processes run here",
            code=CONFIG,
        ) from problem
    return Door(listener, host, secrets.token_hex(WORD))


def line(stream: int = 0) -> socket.socket | None:
    """
    Reach the stage on its machine; None where it listens to no other one.

    With *stream* 1 or 2 what is written to the line becomes the stage's output or error. Raises
    OSError where the stage cannot be reached.
    """
    if PLACE not in os.environ:
        return None
    told = json.loads(os.environ[PLACE])
    reached = socket.create_connection((told["host"], told["port"]), REACH)
    reached.settimeout(None)
    _keep_alive(reached)
    reached.sendall(json.dumps({"word": told["word"], "stream": stream}).encode() + b"\n")
    return reached


def _keep_alive(line: socket.socket) -> None:
    """Have the end of *line* noticed where the other machine is gone without a word."""
    line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("IDLE", IDLE), ("INTVL", BETWEEN), ("CNT", PROBES)):
        if option := getattr(socket, f"TCP_KEEP{name}", None):
            line.setsockopt(socket.IPPROTO_TCP, option, value)
