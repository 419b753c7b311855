"""What two processes make of every way to train: under DDP, and under FSDP2 with weights cut up."""

import os
import signal
from functools import cache
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.students import sharded_on_cpu
from tests.students.launched import (
    PROGRAMS,
    ended,
    figures,
    mpirun,
    project,
    ranks,
    torchrun,
    train,
    until,
)

FSDP = {
    "compute_environment": "LOCAL_MACHINE",
    "distributed_type": "FSDP",
    "num_machines": 1,
    "num_processes": 2,
    "main_process_port": 0,
    "fsdp_config": {
        "fsdp_version": 2,
        "fsdp_auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
        "fsdp_state_dict_type": "FULL_STATE_DICT",
        "fsdp_reshard_after_forward": True,
    },
}
ADAPTER = {"method": "lora", "lora": {"dropout": 0.0}}
LARGE = {"vocabulary": 5000}  # of which logits are computed only where something is taught
WAYS = {
    "full": {},
    "lora": ADAPTER,
    "recomputed lora": {**ADAPTER, **LARGE, "checkpointing": True},
    "packed, of many words": {**LARGE, "packing": True},
}


def fsdp(folder: Path, processes: int = 2) -> str:
    """The launcher that trains under FSDP on so many CPU processes."""
    file = folder / "fsdp.yaml"
    content = {**FSDP, "num_processes": processes}
    with file.open("w", encoding="utf-8") as written:
        YAML(typ="safe").dump(content, written)
    return f"{PROGRAMS / 'accelerate'} launch --config_file {file} {sharded_on_cpu.__file__}"


def cut_up(**changes: str) -> str:
    """The launcher that tells forks what accelerate's tells its processes of FSDP."""
    told = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}
    told |= {"FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP"}
    told |= {"FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT", "FSDP_RESHARD_AFTER_FORWARD": "true"}
    return mpirun("python", "-m", sharded_on_cpu.__name__, **told | changes)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory):
    """The project that was trained in a way by one process, `one`."""

    @cache
    def trained(way: str) -> Path:
        folder = project(tmp_path_factory.mktemp("sharding") / "p", **WAYS[way])
        code, _, err = ended(train(folder, "", "one"))
        assert code == 0, err
        return folder

    return trained


@pytest.mark.parametrize(
    ("way", "launched"),
    [
        ("full", "cut up"),
        *(
            pytest.param(way, launched, marks=pytest.mark.slow)
            for way, launched in [
                ("full", "fsdp"),
                ("lora", "fsdp"),
                ("recomputed lora", "ddp"),
                ("recomputed lora", "fsdp"),
                ("packed, of many words", "ddp"),
                ("packed, of many words", "fsdp"),
            ]
        ),
    ],
)
def test_two_processes_train_the_student_of_one(alone, way: str, launched: str):
    from safetensors.torch import load_file  # torch, which collecting the tests does without

    folder = alone(way)
    launchers = {"fsdp": fsdp(folder), "ddp": torchrun(2), "cut up": cut_up()}
    code, _, err = ended(train(folder, launchers[launched], launched))

    assert code == 0, err
    one, two = figures(folder, "one"), figures(folder, launched)
    for name in ("loss_first", "loss_last"):
        assert two.pop(name) == pytest.approx(one.pop(name), abs=2e-4)
    assert two.pop("losses") == pytest.approx(one.pop("losses"), abs=2e-4)
    assert one == two
    students = [load_file(folder / out / "r0/model.safetensors") for out in ("one", launched)]
    assert {*students[0]} == {*students[1]}
    assert all((students[0][name] - students[1][name]).abs().max() < 1e-4 for name in students[0])


@pytest.mark.slow
@pytest.mark.parametrize("then", [2, 3])
def test_a_killed_process_under_fsdp_ends_both_and_as_many_or_more_go_on(tmp_path: Path, then: int):
    gentle = {"steps": 60, "learning_rate": 1e-3}
    folder, whole = project(tmp_path / "p", save_every=10, **gentle), project(
        tmp_path / "w", **gentle
    )  # fmt: skip
    process = train(folder, fsdp(folder), "out")
    until(lambda: list(folder.glob(".redistill/checkpoints/**/checkpoint-*/manifest.json")))
    os.kill(max({*ranks(folder)} - {process.pid}), signal.SIGKILL)
    code, _, err = ended(process)

    assert code == 70
    assert "died without a word" in err
    assert ranks(folder) == []
    code, _, err = ended(train(folder, fsdp(folder, then), "out"))
    assert (code, "r0: goes on from the checkpoint of step " in err) == (0, True), err
    assert ended(train(whole, "", "out"))[0] == 0
    assert figures(folder, "out")["losses"] == pytest.approx(
        figures(whole, "out")["losses"], abs=1e-3
    )


def test_the_first_version_of_fsdp_is_refused(alone):
    folder = alone("full")
    code, _, err = ended(train(folder, cut_up(FSDP_VERSION="1"), "first"))

    assert code == 78
    assert "students are trained under the second version of FSDP; set fsdp_version to 2" in err
