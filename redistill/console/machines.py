"""Lines to a stage from processes on other machines: over TCP, with a word that only they know."""

import hmac
import ipaddress
import os
import secrets
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from redistill.console.exceptions import CONFIG, RefusedError

HOST = "REDISTILL_HOST"  # the stage's machine, as the others reach it
ADDRESS = "REDISTILL_LEADER_ADDRESS"  # of the stage, in the processes: word@host:port
WORD = 32  # bytes
PROCESS, OUTPUT, ERROR = LINES = 0, 1, 2  # what a line is of
GREETING = 2 * WORD + 3  # bytes: the word, what the line is of, and the end of the line
REACH = 60  # seconds to reach the stage in
IDLE, BETWEEN, PROBES = 20, 5, 4  # seconds, seconds, count: when the other machine counts as gone
GONE = 40_000  # milliseconds without an answer to what was sent, after which it does, too


@dataclass(frozen=True)
class Door:
    """Where a stage hears processes of other machines, and the *word* that lets them in."""

    listeners: list[socket.socket]
    host: str
    word: str

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for listener in self.listeners:
            listener.close()

    def variables(self) -> dict[str, str]:
        """Return what the processes are told, to find the stage."""
        return {ADDRESS: f"{self.word}@{self.host}:{self.listeners[0].getsockname()[1]}"}

    def line_of(self, greeting: bytes) -> int | None:
        """Say what the line with this *greeting* is of; None where it does not have the word."""
        known = [hmac.compare_digest(greeting, _greeting(self.word, line)) for line in LINES]
        return LINES[known.index(True)] if any(known) else None


def _greeting(word: str, line: int) -> bytes:
    return f"{word} {line}\n".encode()


def door() -> Door | None:
    """
    Listen at REDISTILL_HOST, where it is set: at each of its addresses, at one free port.

    Raises RefusedError (78) where it is no address of this machine, or none that others reach.
    """
    host = os.environ.get(HOST, "").strip()
    if not host:
        return None
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        addresses = dict.fromkeys((family, address[0]) for family, _, _, _, address in found)
        _check(host, [str(address) for _, address in addresses])
        listeners = _listening([*addresses])
    except (OSError, UnicodeError) as problem:
        raise RefusedError(
            f"{HOST}: {host!r} is no address of this machine: {problem}; name it as the other "
            "machines reach it, or leave it out where all processes run here",
            code=CONFIG,
        ) from problem
    return Door(listeners, host, secrets.token_hex(WORD))


def _listening(addresses: Sequence[tuple[int, str | int]]) -> list[socket.socket]:
    """Listen at each of *addresses*, at one free port."""
    port, listeners = 0, []
    try:
        for family, address in addresses:
            listeners.append(socket.create_server((address, port), family=family))
            listeners[-1].setblocking(False)
            port = listeners[0].getsockname()[1]
    except OSError:
        for listener in listeners:
            listener.close()
        raise
    return listeners


def _check(host: str, addresses: list[str]) -> None:
    """Refuse a *host* by whose *addresses* no other machine can reach this one."""
    known = [ipaddress.ip_address(address.partition("%")[0]) for address in addresses]
    if any(address.is_unspecified for address in known):
        raise RefusedError(
            f"{HOST}: {host!r} is no address that another machine can reach; name one of this "
            "machine's",
            code=CONFIG,
        )
    here = host == "localhost" or host in addresses  # as it was meant, then
    if all(address.is_loopback for address in known) and not here:
        raise RefusedError(
            f"{HOST}: {host!r} is {addresses[0]} on this machine, where no other one can reach it "
            "(see /etc/hosts); give the address that the others know",
            code=CONFIG,
        )


def at() -> tuple[str, int]:
    """Return the host and port at which the stage hears other machines; raises KeyError."""
    host, _, port = os.environ[ADDRESS].partition("@")[2].rpartition(":")
    return host, int(port)


def reach(line: int = PROCESS) -> socket.socket:
    """
    Reach the stage on its machine; what is written to a *line* of OUTPUT or ERROR it shows.

    Raises KeyError where the stage listens to no other machine, OSError where it is not reached.
    """
    reached = socket.create_connection(at(), REACH)
    reached.settimeout(None)
    keep_alive(reached, control=line == PROCESS)
    reached.sendall(_greeting(os.environ[ADDRESS].partition("@")[0], line))
    return reached


def keep_alive(line: socket.socket, *, control: bool) -> None:
    """
    Have the end of *line* noticed where the other machine is gone without a word.

    On a *control* line that is also so while something sent is not answered; output may wait as
    long as its reader does.
    """
    options = {"KEEPIDLE": IDLE, "KEEPINTVL": BETWEEN, "KEEPCNT": PROBES}
    if control:
        options["USER_TIMEOUT"] = GONE
    line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in options.items():
        if option := getattr(socket, f"TCP_{name}", None):
            line.setsockopt(socket.IPPROTO_TCP, option, value)
