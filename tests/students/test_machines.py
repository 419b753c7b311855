"""A stage that processes of several machines share: they reach it over the network."""

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.imports import ROOT
from tests.students.launched import (
    ended,
    figures,
    mpirun,
    project,
    ranks,
    same_training,
    started,
    train,
    trained,
    until,
)
from tests.students.network import Network, hosts

CPU = {"PYTHONPATH": str(ROOT), "REDISTILL_DEVICE": "cpu", "REDISTILL_THREADS": "1"}
HERE = "127.0.0.1"
AWAY = {"REDISTILL_LEADER": "/nowhere"}  # no file of the stage is there, as on another machine


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained by one process, `out1`."""
    return trained(tmp_path_factory.mktemp("machines") / "p")


def test_processes_that_see_no_file_of_the_stage_train_as_one_and_speak_through_it(made: Path):
    code, out, err = ended(train(made, mpirun("python", **AWAY), "far", REDISTILL_HOST=HERE))

    assert code == 0, err
    assert out.count("r0: 12 steps") == 1
    assert " on 2 processes" in out
    same_training(figures(made, "out1"), figures(made, "far"))


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


def test_a_killed_stage_leaves_no_far_process_behind(tmp_path: Path):
    folder = project(tmp_path / "p", steps=100000, save_every=10)
    process = train(folder, mpirun("python", **AWAY), "out", REDISTILL_HOST=HERE)
    until(lambda: list(folder.glob(".redistill/checkpoints/r0/*/checkpoint-*/manifest.json")))
    process.kill()
    process.wait()

    until(lambda: ranks(folder) == [], 15)


def variable(process: int, name: str) -> str:
    """What the variable *name* was when *process* began; empty where there was none."""
    variables = Path(f"/proc/{process}/environ").read_bytes().decode().split("\0")
    return next((v.partition("=")[2] for v in variables if v.startswith(f"{name}=")), "")


MEETINGS = {  # how processes of two machines find each other
    "the first here": "--node-rank $SLURM_NODEID --master-addr here --master-port 29500",
    "the first there": "--node-rank $((1-SLURM_NODEID)) --master-addr there --master-port 29500",
    "by a rendezvous": "--rdzv-backend c10d --rdzv-endpoint here:29500 --rdzv-id run",
}


@pytest.fixture
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    with hosts(tmp_path_factory.mktemp("network")) as made:
        yield made


def launcher(meeting: str) -> str:
    """A process on each of two machines."""
    return f"srun sh -c 'exec torchrun --nnodes 2 --nproc-per-node 1 {meeting} \"$@\"' sh"


def words(stage: str, out: str) -> list[str]:
    """The options of *stage*, whose metrics and outs are in the folder *out*."""
    if stage == "train":
        rows = ["--problems", "problems.jsonl", "--rationales", "rationales.jsonl"]
        return ["--branch", "r0", *rows, "--start", "base", "--out", f"{out}/r0"]
    return ["--student", "out1/r0", "--problems", "sets", "--out", f"{out}/answers"]


def on_both(
    network: Network, folder: Path, meeting: str, stage: str, out: str
) -> subprocess.Popen[str]:
    """A stage on the machine `here`, shared with `there`."""
    written = ["--metrics", f"{out}/m.json", "--timing", f"{out}/t.json"]
    command = [sys.executable, "-m", f"stages.{stage}", *words(stage, out), *written]
    told = {"REDISTILL_LAUNCH": launcher(MEETINGS[meeting]), "REDISTILL_HOST": "here"}
    return network.start(folder, *command, **CPU, **told)


@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.parametrize("meeting", MEETINGS)
def test_two_machines_train_and_answer_as_one_process(made: Path, network: Network, meeting: str):
    out = meeting.replace(" ", "-")
    code, said, err = ended(on_both(network, made, meeting, "train", out))

    assert code == 0, err
    assert said.count("r0: 12 steps") == 1
    assert " on 2 processes" in said
    same_training(figures(made, "out1"), figures(made, out))
    alone = ended(started(made, "", "answer", "alone", *words("answer", "alone")))
    both = ended(on_both(network, made, meeting, "answer", out))
    assert [code for code, _, _ in (alone, both)] == [0, 0], both
    for file in sorted((made / "alone/answers").iterdir()):
        assert file.read_bytes() == (made / out / "answers" / file.name).read_bytes()


@pytest.mark.slow
@pytest.mark.processes
def test_a_process_killed_on_the_other_machine_ends_the_stage(network: Network, tmp_path: Path):
    folder = project(tmp_path / "p", steps=100000, save_every=10)
    process = on_both(network, folder, "the first here", "train", "out")
    until(lambda: list(folder.glob(".redistill/checkpoints/r0/*/checkpoint-*/manifest.json")))
    os.kill(next(n for n in ranks(folder) if variable(n, "RANK") == "1"), signal.SIGKILL)
    code, _, err = ended(process)

    assert code == 70
    assert "process 1 of 2 died without a word" in err
    until(lambda: ranks(folder) == [], 30)


@pytest.mark.slow
@pytest.mark.processes
def test_the_script_for_slurm_runs_a_stage_on_the_two_machines_of_its_job(
    made: Path, network: Network
):
    out = "slurm"
    command = ["-m", "stages.train", *words("train", out), "--metrics", f"{out}/m.json"]
    train = shlex.join([sys.executable, *command, "--timing", f"{out}/t.json"])
    for name, does in (("dvc", f"exec {train}"), ("redistill", 'echo "$@"')):  # of the loop, train
        (network.folder / name).write_text(f"#!/bin/sh\n{does}\n")
        (network.folder / name).chmod(0o755)
    job = {"SLURM_NNODES": "2", "SLURM_GPUS_ON_NODE": "1", "SLURM_JOB_ID": "7"}
    script = ROOT / "examples/slurm-machines.sh"
    code, said, err = ended(network.start(made, "bash", str(script), **CPU, **job))

    assert code == 0, err
    assert " on 2 processes" in said
    assert said.endswith("rounds\n")
    same_training(figures(made, "out1"), figures(made, out))
