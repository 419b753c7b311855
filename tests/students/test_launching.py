"""Stages that several processes share: the same rows, losses and answers, and one end for all."""

import math
import os
import signal
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from redistill.records import jsonl
from redistill.records.types import Completion
from tests.students.launched import (
    PROGRAMS,
    ended,
    figures,
    mpirun,
    project,
    ranks,
    same_training,
    started,
    torchrun,
    train,
    trained,
    until,
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained by one process, `out1`."""
    return trained(tmp_path_factory.mktemp("launching") / "p")


@pytest.mark.processes
@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 3])
def test_processes_train_on_the_rows_of_one_to_its_losses(made: Path, processes: int):
    code, out, err = ended(train(made, torchrun(processes), f"out{processes}"))

    assert code == 0, err
    assert out.count("r0: 12 steps") == 1
    same_training(figures(made, "out1"), figures(made, f"out{processes}"))


def test_two_processes_share_the_steps_by_tokens_of_one(tmp_path: Path):
    folder = project(tmp_path / "p", batch_tokens=60, accumulate=1, learning_rate=1e-3)
    for out, launcher in (("one", ""), ("two", mpirun("python"))):
        code, _, err = ended(train(folder, launcher, out))
        assert code == 0, err

    one = figures(folder, "one")
    same_training(one, figures(folder, "two"))
    assert one["lessons_seen"] == 12 // 3 * 13  # a step of one row ends each epoch


def test_a_number_that_does_not_divide_the_rows_is_refused_with_the_nearest(tmp_path: Path):
    folder = project(tmp_path / "p", batch_size=5, accumulate=1)
    code, out, err = ended(train(folder, mpirun("python"), "out"))

    assert (code, out) == (78, "")
    assert err == (
        "train: REDISTILL_LAUNCH: 2 processes cannot share the 5 rows of a step (batch_size) "
        "equally; start 1\n"
    )


@pytest.mark.processes
def test_a_killed_process_ends_all_and_fewer_go_on_from_its_checkpoint(made: Path, tmp_path: Path):
    gentle = {"steps": 120, "learning_rate": 1e-3}  # a high one makes much of a rounding
    folder = project(tmp_path / "p", save_every=10, **gentle)
    process = train(folder, torchrun(2), "out")
    until(lambda: list(folder.glob(".redistill/checkpoints/r0/*/checkpoint-*/manifest.json")))
    children = sorted(set(ranks(folder)) - {process.pid})
    os.kill(children[-1], signal.SIGKILL)
    code, _, err = ended(process)

    assert code == 70
    assert "died without a word (killed, or out of memory)" in err
    assert ranks(folder) == []
    code, _, err = ended(train(folder, "", "out"))
    assert code == 0, err
    assert "r0: goes on from the checkpoint of step " in err
    kept, whole = project(tmp_path / "w", **gentle), "out"
    assert ended(train(kept, "", whole))[0] == 0
    pairs = zip(figures(folder, "out")["losses"], figures(kept, whole)["losses"], strict=True)
    assert all(math.isclose(a, b, abs_tol=1e-3) for a, b in pairs)
    assert figures(folder, "out")["tokens"] == figures(kept, whole)["tokens"]


@pytest.mark.parametrize(
    ("launcher", "processes"),
    [
        (mpirun("python"), 6),  # the stage, the launcher, two, and whoever asked for their forks
        pytest.param(torchrun(2), 4, marks=[pytest.mark.slow, pytest.mark.processes]),
    ],
    ids=["mpirun", "torchrun"],
)
def test_a_killed_stage_leaves_no_process_behind(tmp_path: Path, launcher: str, processes: int):
    folder = project(tmp_path / "p", steps=100000, save_every=10)
    process = train(folder, launcher, "out")
    until(lambda: list(folder.glob(".redistill/checkpoints/r0/*/checkpoint-*/manifest.json")))
    assert len(ranks(folder)) == processes
    process.kill()
    process.wait()

    until(lambda: ranks(folder) == [], 15)
    assert not (folder / "out").exists() or not (folder / "out/m.json").exists()


def test_no_launcher_and_one_that_starts_nothing_are_refused(made: Path):
    for command, told in (("no-such-launcher", "there is no program"), ("true", "started no")):
        code, _, err = ended(train(made, command, "refused"))
        assert code == 78
        assert told in err


ACCELERATE = f"{PROGRAMS / 'accelerate'} launch"
EACH = '\'"$@" & "$@" & wait\' sh python'


@pytest.mark.processes
@pytest.mark.parametrize(
    ("launcher", "told"),
    [
        (f"{ACCELERATE} --cpu --num_processes 2", "accelerate starts one process on a CPU"),
        (f"sh -c {EACH}", "started 2 processes that do not know of each other"),
    ],
)
def test_a_launcher_whose_processes_would_each_do_the_whole_work_is_refused(
    made: Path, launcher: str, told: str
):
    code, out, err = ended(train(made, launcher, "refused"))

    assert (code, out, told in err) == (78, "", True), err


def by_config_file(folder: Path) -> str:
    file = folder / "accelerate.yaml"
    file.write_text(
        "compute_environment: LOCAL_MACHINE\ndistributed_type: MULTI_GPU\nnum_machines: 1\n"
        "num_processes: 2\nmain_process_port: 0\nmixed_precision: bf16\n"
    )
    return f"{ACCELERATE} --config_file {file}"


def as_mpirun_does(_: Path) -> str:
    return mpirun("python")


@pytest.mark.parametrize(
    "launcher",
    [
        as_mpirun_does,
        pytest.param(by_config_file, marks=[pytest.mark.slow, pytest.mark.processes]),
    ],
)
def test_what_a_launcher_starts_trains_and_answers_as_one_process(made: Path, launcher):
    name = launcher.__name__
    for out, command in (("one", ""), (name, launcher(made))):
        answer = ["answer", f"{out}-a", "--student", "out1/r0", "--problems", "sets"]
        code, _, err = ended(started(made, command, *answer, "--out", f"{out}-a/answers"))
        assert code == 0, err
    code, out, err = ended(train(made, launcher(made), name))

    assert code == 0, err
    assert out.count("r0: 12 steps") == 1
    assert out.count(" on 2 processes") == 1
    same_training(figures(made, "out1"), figures(made, name))
    files = sorted((made / "one-a/answers").iterdir())
    assert len(files) == 3
    for file in files:
        assert file.read_bytes() == (made / f"{name}-a/answers" / file.name).read_bytes()
    assert figures(made, "one-a") == figures(made, f"{name}-a")


@pytest.mark.slow
def test_two_processes_probe_by_the_engine_of_transformers_as_one_does_and_as_ours_does_greedily(
    tmp_path: Path,
):
    folder = project(tmp_path / "p", steps=6)
    file = folder / "params.yaml"
    content = YAML(typ="safe").load(file.read_text(encoding="utf-8"))
    content["mine"]["folds"] = 2
    for engine, launcher in (("local", ""), ("transformers", ""), ("transformers", torchrun(2))):
        content["evaluate"]["engine"] = engine
        with file.open("w", encoding="utf-8") as written:
            YAML(typ="safe").dump(content, written)
        out = f"{engine}{bool(launcher)}"
        rows = ["--rationales", "rationales.jsonl", "--start", "base", "--out", f"{out}/r0.jsonl"]
        words = ["--branch", "r0", "--problems", "problems.jsonl", *rows]
        code, _, err = ended(started(folder, launcher, "probe", out, *words))
        assert code == 0, err

    ours, one, two = (
        (folder / out / "r0.jsonl")
        for out in ("localFalse", "transformersFalse", "transformersTrue")
    )
    greedy = [[row.output for row in jsonl.read(file, Completion)] for file in (ours, one)]
    assert greedy[0] == greedy[1]
    assert one.read_bytes() == two.read_bytes()  # draws, too
    assert figures(folder, "transformersFalse") == figures(folder, "transformersTrue")
