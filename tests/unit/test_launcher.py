"""How a stage hears the processes that share it, with small programs in their place."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from redistill.console import launcher, lines, machines, rank
from redistill.console.exceptions import RefusedError
from tests.imports import ROOT

HERE = "127.0.0.1"
PROCESS = "from redistill.console import rank, machines\nimport os, sys, time, struct, socket\n"
SHARES = PROCESS + "words = rank.join()\n"


def lead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *programs: str, far: bool = True) -> None:
    """Have a stage in this process shared by *programs*, which see no file of it if *far*."""
    for number, program in enumerate(programs):
        (tmp_path / f"{number}.py").write_text(program, encoding="utf-8")
    away = "REDISTILL_LEADER=/nowhere" if far else ""
    both = " ".join(
        f"{away} RANK={n} WORLD_SIZE={len(programs)} {sys.executable} {tmp_path}/{n}.py &"
        for n in range(len(programs))
    )
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("REDISTILL_LAUNCH", f"sh -c '{both} wait'")
    launcher.lead("stages.train", ["--branch", "r0"])


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(machines.HOST, HERE)


def meddled(monkeypatch: pytest.MonkeyPatch, does: Callable[[socket.socket, str], None]) -> None:
    """Have *does* done on a line of a stranger before the processes are started."""
    started = launcher._started

    def first(module: str, told: dict[str, str], printed: object) -> object:
        word, _, place = told[machines.ADDRESS].partition("@")
        name, _, port = place.rpartition(":")
        stranger = socket.create_connection((name, int(port)))
        threading.Thread(target=does, args=(stranger, word), daemon=True).start()
        return started(module, told, printed)

    monkeypatch.setattr(launcher, "_started", first)


@pytest.mark.parametrize("far", [True, False])
def test_what_the_first_process_writes_is_shown_whole_and_that_of_others_is_not(
    tmp_path: Path, monkeypatch, capfdbinary, host, far: bool
):
    says = SHARES + (
        "sys.stdout.buffer.write(b'\\xff\\x00' * 150_000); sys.stdout.flush()\n"
        "print(words, file=sys.stderr)\nrank.shared(lambda: print('the end'))\n"
    )
    other = SHARES + "print('not this')\nrank.shared(lambda: None)\n"
    lead(tmp_path, monkeypatch, says, other, far=far)

    told = capfdbinary.readouterr()
    assert told.out == b"\xff\x00" * 150_000 + b"the end\n"
    assert told.err == b"['--branch', 'r0']\n"


class Slow:
    """Standard output whose reader takes its time."""

    buffer = property(lambda self: sys.__stdout__.buffer)  # type: ignore[union-attr]

    def flush(self) -> None:
        time.sleep(0.1)


def test_output_that_is_read_slowly_comes_whole_after_the_processes_have_ended(
    tmp_path: Path, monkeypatch, capfdbinary, host
):
    monkeypatch.setattr(lines, "GRACE", 0.5)
    monkeypatch.setattr(sys, "stdout", Slow())
    lead(tmp_path, monkeypatch, SHARES + "print('x' * 1_500_000)\nrank.shared(lambda: None)\n")

    assert capfdbinary.readouterr().out == b"x" * 1_500_000 + b"\n"


@pytest.mark.parametrize(
    ("last", "told"),
    [
        ("rank.leave('train', 'the disk is full', 74)", "the disk is full"),
        ("os._exit(9)", "process 1 of 2 died without a word"),
        (
            "rank._line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))\n"
            "rank._line.close()\nos._exit(0)",
            "process 1 of 2 died without a word",
        ),
    ],
    ids=["refuses", "dies", "is cut off"],
)
def test_how_a_far_process_ends_is_what_the_stage_ends_with(
    tmp_path: Path, monkeypatch, host, last: str, told: str
):
    with pytest.raises(RefusedError, match=told):
        lead(tmp_path, monkeypatch, SHARES + "time.sleep(60)\n", SHARES + last + "\n")


def test_a_process_that_dies_before_its_number_is_named_so(tmp_path: Path, monkeypatch, host):
    dies = PROCESS + "line = machines.reach()\n"
    with pytest.raises(RefusedError, match=r"^a process died without a word"):
        lead(tmp_path, monkeypatch, dies)


def test_a_process_that_does_not_come_is_missed_by_its_number(tmp_path: Path, monkeypatch, host):
    monkeypatch.setattr(lines, "ARRIVE", 1.0)
    with pytest.raises(RefusedError, match="within 1 s process 1 did not come, of 2; see to"):
        lead(tmp_path, monkeypatch, SHARES + "time.sleep(60)\n", "import time; time.sleep(60)")


@pytest.mark.parametrize("told", ["set REDISTILL_HOST there", "cannot be reached at 127.0.0.1"])
def test_why_a_process_does_not_reach_the_stage_is_shown_before_what_its_launcher_prints(
    tmp_path: Path, monkeypatch, capsys, host, told: str
):
    lost = {
        "set REDISTILL_HOST there": "del os.environ[machines.ADDRESS]\n",
        "cannot be reached at 127.0.0.1": f"os.environ[machines.ADDRESS] = 'w@{HERE}:9'\n",
    }[told]
    noise = "import atexit\natexit.register(lambda: print('noise\\n' * 50, flush=True))\n"
    with pytest.raises(RefusedError):
        lead(tmp_path, monkeypatch, PROCESS + noise + lost + "rank.join()\n")

    shown = capsys.readouterr().err
    assert told in shown
    assert "noise" not in shown


FLOOD = b"[" * 100_000


@pytest.mark.parametrize("says", [b"", b"\n", b"x", FLOOD, FLOOD + b"\n", b"\xff" * 67])
def test_who_does_not_say_the_word_is_hung_up_on_and_the_stage_goes_on(
    tmp_path: Path, monkeypatch, capfd, host, says: bytes
):
    monkeypatch.setattr(lines, "GRACE", 0.2)
    ends: list[bytes] = []

    def does(stranger: socket.socket, word: str) -> None:
        stranger.settimeout(30)
        try:
            stranger.sendall(says)
            ends.append(stranger.recv(10))
        except OSError:
            ends.append(b"")

    meddled(monkeypatch, does)
    program = SHARES + "time.sleep(0.6)\nrank.shared(lambda: print('done'))\n"
    lead(tmp_path, monkeypatch, program)

    assert capfd.readouterr().out == "done\n"
    assert ends == [b""]


def test_a_guessed_word_gives_no_say_and_the_word_does(tmp_path: Path, monkeypatch, capfd, host):
    for real in (False, True):

        def does(stranger: socket.socket, word: str, real: bool = real) -> None:
            stranger.sendall(machines._greeting(word if real else "0" * len(word), 0))
            stranger.sendall(json.dumps({"code": 9, "line": "over"}).encode() + b"\n")
            time.sleep(5)

        with monkeypatch.context() as patch:
            meddled(patch, does)
            program = SHARES + "time.sleep(1)\nrank.shared(lambda: print('done'))\n"
            if real:
                with pytest.raises(RefusedError, match="over"):
                    lead(tmp_path, patch, program)
            else:
                lead(tmp_path, patch, program)
                assert capfd.readouterr().out == "done\n"


def test_many_strangers_leave_room_for_the_processes(tmp_path: Path, monkeypatch, capfd, host):
    kept: list[socket.socket] = []

    def does(stranger: socket.socket, word: str) -> None:
        place = stranger.getpeername()
        for _ in range(150):
            kept.append(socket.create_connection(place))
            for line in kept[-70:]:
                with suppress(OSError):  # hung up on
                    line.send(b"x")

    monkeypatch.setattr(lines, "GRACE", 1.0)
    meddled(monkeypatch, does)
    lead(tmp_path, monkeypatch, SHARES + "time.sleep(1)\nrank.shared(lambda: print('done'))\n")

    assert capfd.readouterr().out == "done\n"
    for line in kept:
        line.close()


@pytest.mark.parametrize("how", ["closed", "reset", "before the options"])
def test_a_process_does_not_outlive_the_line_to_its_stage(tmp_path: Path, how: str):
    with socket.create_server((HERE, 0)) as server:
        place = f"{'w' * 64}@{HERE}:{server.getsockname()[1]}"
        env = {**os.environ, "PYTHONPATH": str(ROOT), "RANK": "1", "WORLD_SIZE": "2"}
        env |= {rank.LEADER: "/nowhere", machines.ADDRESS: place}
        program = SHARES + "print('shares', flush=True)\ntime.sleep(60)\n"
        process = subprocess.Popen(
            [sys.executable, "-c", program], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        line, _ = server.accept()
        assert line.recv(67).endswith(b" 0\n")
        assert json.loads(line.recv(1000))["number"] == 1
        if how != "before the options":
            line.sendall(b"[]\n")
            assert process.stdout is not None
            assert process.stdout.readline() == b"shares\n"
        if how == "reset":
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        line.close()
        _, told = process.communicate(timeout=10)

    assert process.returncode != 0
    assert (b"redistill: the stage has hung up" in told) == (how == "before the options")


@pytest.mark.parametrize(
    ("name", "addresses", "told"),
    [
        ("192.0.2.1", None, "is no address of this machine"),
        ("no-such-name.invalid", None, "is no address of this machine"),
        ("0.0.0.0", None, "is no address that another machine can reach"),  # noqa: S104
        ("node1", ["127.0.1.1"], "'node1' is 127.0.1.1 on this machine.*see /etc/hosts"),
    ],
)
def test_a_host_that_others_cannot_reach_is_refused(monkeypatch, name, addresses, told):
    monkeypatch.setenv(machines.HOST, name)
    if addresses:
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, 0)) for one in addresses]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    with pytest.raises(RefusedError, match=told) as refused:
        machines.door()
    assert refused.value.code == 78


def test_a_stage_listens_at_every_address_of_its_name_at_one_port(monkeypatch):
    monkeypatch.setenv(machines.HOST, "node1")
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"127.0.0.{n}", 0)) for n in (1, 2)]
    monkeypatch.setattr(machines, "_check", lambda *_: None)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    door = machines.door()
    assert door is not None
    with door:
        names = {listener.getsockname() for listener in door.listeners}
        assert {name for name, _ in names} == {"127.0.0.1", "127.0.0.2"}
        assert len({port for _, port in names}) == 1


def test_mpirun_meets_at_the_stage_where_it_names_no_place(monkeypatch):
    for name in ("WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PMI_SIZE", "2")
    monkeypatch.setenv("PMI_RANK", "1")
    monkeypatch.setenv(rank.LEADER, "/nowhere")
    monkeypatch.setenv(machines.ADDRESS, "word@node1:7")
    rank._named()
    assert (os.environ.pop("WORLD_SIZE"), os.environ["MASTER_ADDR"]) == ("2", "node1")
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        os.environ.pop(name, None)
