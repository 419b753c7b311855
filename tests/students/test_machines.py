"""A stage that processes of several machines share: they reach it over the network."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from redistill.console import machines
from tests.imports import ROOT
from tests.students.launched import (
    PROGRAMS,
    ended,
    figures,
    mpirun,
    project,
    ranks,
    started,
    train,
    until,
)

HERE = "127.0.0.1"
AWAY = {"REDISTILL_LEADER": "/nowhere"}  # no file of the stage is there, as on another machine


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained by one process, `out1`."""
    folder = project(tmp_path_factory.mktemp("machines") / "p")
    assert ended(train(folder, "", "out1"))[0] == 0
    return folder


def test_processes_that_see_no_file_of_the_stage_train_as_one_and_speak_through_it(made: Path):
    code, out, err = ended(train(made, mpirun("python", **AWAY), "far", REDISTILL_HOST=HERE))

    assert code == 0, err
    assert out.count("r0: 12 steps") == 1
    assert " on 2 processes" in out
    one, two = (figures(made, name) for name in ("out1", "far"))
    for name in ("losses", "loss_first", "loss_last"):
        assert one.pop(name) == pytest.approx(two.pop(name), abs=2e-4)
    assert one == two


def test_a_refusal_of_a_far_process_is_the_stages_own_line(tmp_path: Path):
    folder = project(tmp_path / "p", batch_size=5, accumulate=1)
    launcher = mpirun("python", **AWAY)
    code, out, err = ended(train(folder, launcher, "out", REDISTILL_HOST=HERE))

    assert (code, out) == (78, "")
    assert err.startswith("train: REDISTILL_LAUNCH: 2 processes cannot share the 5 rows of a step")


def test_without_a_host_a_process_of_another_machine_says_which_setting_is_missing(made: Path):
    code, _, err = ended(train(made, mpirun("python", **AWAY), "refused"))

    assert code == 78
    assert "on another machine than the stage; set REDISTILL_HOST" in err
    assert not (made / "refused/r0").exists()


def test_a_host_that_is_not_this_machine_is_refused(made: Path):
    code, _, err = ended(train(made, mpirun("python"), "refused", REDISTILL_HOST="192.0.2.1"))

    assert (code, err.count("\n")) == (78, 1)
    assert "REDISTILL_HOST: '192.0.2.1' is no address of this machine" in err


def test_a_stranger_is_not_heard_and_a_killed_stage_leaves_no_far_process_behind(tmp_path: Path):
    folder = project(tmp_path / "p", steps=100000, save_every=10)
    process = train(folder, mpirun("python", **AWAY), "out", REDISTILL_HOST=HERE)
    until(lambda: list(folder.glob(".redistill/checkpoints/r0/*/checkpoint-*/manifest.json")))
    found = (variable(number, machines.PLACE) for number in ranks(folder))
    told = json.loads(next(filter(None, found)))
    with socket.create_connection((told["host"], told["port"]), 30) as line:
        line.sendall(b'{"word": "guessed", "stream": 0}\n{"code": 9, "line": "it is over"}\n')
        assert line.recv(100) == b""  # hung up on
    assert process.poll() is None
    process.kill()
    process.wait()

    until(lambda: ranks(folder) == [], 15)


@pytest.mark.parametrize(
    "hello",
    [
        b'{"word": "guessed", "stream": 0}\n',
        b'{"stream": 0}\n',
        b"[1]\n",
        b"\xff\n",
        b'{"word": null, "stream": 1}\n',
        b"x" * 5000,
    ],
)
def test_who_does_not_know_the_word_is_not_heard(hello: bytes, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(machines.HOST, HERE)
    door = machines.door()
    assert door is not None
    with door.listener:
        assert door.lets_in(hello) is None
        told = json.loads(door.variables()[machines.PLACE])
        right = json.dumps({"word": told["word"], "stream": 2}).encode()
        assert door.lets_in(right) == 2
        wrong = json.dumps({"word": told["word"], "stream": 7}).encode()
        assert door.lets_in(wrong) is None


def variable(process: int, name: str) -> str:
    """What the variable *name* was when *process* began; empty where there was none."""
    variables = Path(f"/proc/{process}/environ").read_bytes().decode().split("\0")
    return next((v.partition("=")[2] for v in variables if v.startswith(f"{name}=")), "")


NAMES = {"here": "10.213.77.1", "there": "10.213.77.2"}
MEETINGS = {  # of the processes: as told, or as they find each other
    "static": "--node-rank $number --master-addr {} --master-port 29500",
    "c10d": "--rdzv-backend c10d --rdzv-endpoint {}:29500 --rdzv-id run",
}
# as srun: the command on each of two machines, which have no file of /tmp in common
SRUN = """\
trap 'kill $(jobs -p) 2> /dev/null' TERM INT
node() {{
    machine=$1 number=$2
    shift 2
    ip netns exec $machine-{id} unshare --uts --mount sh -c '
        hostname "$0"; mount --bind {hosts} /etc/hosts
        test "$0" = here || mount -t tmpfs none "$TMPDIR"; exec "$@"' $machine \
        env GLOO_SOCKET_IFNAME=$machine-{id} {torchrun} --nnodes 2 --nproc-per-node 1 \
        {meeting} "$@" &
}}
node {first} 0 "$@"
node {second} 1 "$@"
wait
"""


@pytest.fixture
def network() -> Iterator[str]:
    """Two hosts of a network of their own (network namespaces); yields what their names end in."""
    ip = shutil.which("ip")
    if os.geteuid() or ip is None or not shutil.which("unshare"):
        pytest.skip("hosts of a network need root, ip (iproute2) and unshare")
    end = str(os.getpid())
    try:
        for name in NAMES:
            subprocess.run([ip, "netns", "add", f"{name}-{end}"], check=True)
    except subprocess.CalledProcessError:
        pytest.skip("no network namespace can be made here")
    try:
        here, there = (f"{name}-{end}" for name in NAMES)
        subprocess.run(
            f"{ip} link add {here} netns {here} type veth peer name {there} netns {there}".split(),
            check=True,
        )
        for name, address in NAMES.items():
            inside = [ip, "-n", f"{name}-{end}"]
            subprocess.run(
                [*inside, "addr", "add", f"{address}/30", "dev", f"{name}-{end}"], check=True
            )
            for device in (f"{name}-{end}", "lo"):
                subprocess.run([*inside, "link", "set", device, "up"], check=True)
        yield end
    finally:
        for name in NAMES:
            subprocess.run([ip, "netns", "del", f"{name}-{end}"], check=False)


def words(stage: str, out: str) -> list[str]:
    """*stage*, the folder of its metrics, and its options."""
    if stage == "train":
        rows = ["--problems", "problems.jsonl", "--rationales", "rationales.jsonl"]
        return [stage, out, "--branch", "r0", *rows, "--start", "base", "--out", f"{out}/r0"]
    asked = ["--student", "out1/r0", "--problems", "sets"]
    return [stage, out, *asked, "--out", f"{out}/answers"]


def on_both(
    folder: Path,
    end: str,
    scratch: Path,
    meeting: str,
    first: str,
    stage: str,
    out: str,
    *told: str,
) -> subprocess.Popen:
    """A stage on the machine `here`, whose processes meet on the machine *first* by *meeting*."""
    second = next(name for name in NAMES if name != first)
    script, hosts = folder / "srun.sh", folder / "hosts"
    hosts.write_text("127.0.0.1 localhost\n" + "".join(f"{NAMES[n]} {n}\n" for n in NAMES))
    script.write_text(
        SRUN.format(
            id=end, hosts=hosts, torchrun=PROGRAMS / "torchrun", first=first, second=second,
            meeting=meeting.format(first),
        )
    )  # fmt: skip
    env = {**os.environ, "PYTHONPATH": str(ROOT), "REDISTILL_THREADS": "1", "OMP_NUM_THREADS": "1"}
    env |= {"REDISTILL_DEVICE": "cpu", "REDISTILL_HOST": NAMES["here"], "TMPDIR": str(scratch)}
    env |= {"REDISTILL_LAUNCH": f"sh {script}", "PATH": f"{PROGRAMS}:{os.environ['PATH']}"}
    command = ["ip", "netns", "exec", f"here-{end}", sys.executable, "-m", f"stages.{stage}"]
    return subprocess.Popen(
        [*command, *told, "--metrics", f"{out}/m.json", "--timing", f"{out}/t.json"],
        cwd=folder, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.parametrize(
    ("meeting", "first"), [("static", "here"), ("static", "there"), ("c10d", "here")]
)
def test_two_machines_train_and_answer_as_one_process(
    made: Path, network: str, meeting: str, first: str, tmp_path: Path
):
    name, way = f"{meeting}-{first}", (network, tmp_path, MEETINGS[meeting], first)
    code, out, err = ended(on_both(made, *way, *words("train", name)))

    assert code == 0, err
    assert out.count("r0: 12 steps") == 1
    assert " on 2 processes" in out
    one, two = figures(made, "out1"), figures(made, name)
    for name in ("losses", "loss_first", "loss_last"):
        assert one.pop(name) == pytest.approx(two.pop(name), abs=2e-4)
    assert one == two
    alone = ended(started(made, "", *words("answer", "alone")))
    both = ended(on_both(made, *way, *words("answer", name)))
    assert [code for code, _, _ in (alone, both)] == [0, 0], both
    for file in sorted((made / "alone/answers").iterdir()):
        assert file.read_bytes() == (made / name / "answers" / file.name).read_bytes()


@pytest.mark.slow
@pytest.mark.processes
def test_a_process_killed_on_the_other_machine_ends_the_stage(
    network: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
):
    folder = project(tmp_path_factory.mktemp("killed") / "p", steps=100000, save_every=10)
    way = (network, tmp_path, MEETINGS["static"], "here")
    process = on_both(folder, *way, *words("train", "out"))
    until(lambda: list(folder.glob(".redistill/checkpoints/r0/*/checkpoint-*/manifest.json")))
    os.kill(next(n for n in ranks(folder) if variable(n, "RANK") == "1"), signal.SIGKILL)
    code, _, err = ended(process)

    assert code == 70
    assert "process 1 of 2 died without a word" in err
    until(lambda: ranks(folder) == [], 30)
