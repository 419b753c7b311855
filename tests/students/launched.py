"""A stage of a tiny student that a launcher shares among processes, and how it went."""

import json
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from redistill.records import jsonl
from tests import forks
from tests.imports import ROOT
from tests.loop import training as small
from tests.settings import SHIPPED

PROGRAMS = Path(sys.executable).parent


def project(folder: Path, **train: Any) -> Path:
    """
    A folder in which the stages of a tiny student run, trained as `small` trains it.

    *train* are settings of that section; *lora* those of that one, *vocabulary* the words of its
    head.
    """
    folder.mkdir()
    content = YAML(typ="safe").load(SHIPPED.read_text(encoding="utf-8"))
    content["train"].update(small.RULES.model_dump(), steps=12, batch_size=6, save_every=0)
    lora, vocabulary = train.pop("lora", {}), train.pop("vocabulary", None)
    content["train"].update(train)
    content["lora"].update(lora)
    content["evaluate"].update(max_new_tokens=40, batch_size=8, samples=1)
    with (folder / "params.yaml").open("w", encoding="utf-8") as file:
        YAML(typ="safe").dump(content, file)
    jsonl.write(folder / "problems.jsonl", list(small.PROBLEMS.values()))
    jsonl.write(folder / "rationales.jsonl", small.LESSONS[:13])  # a step of one row, too
    (folder / "sets").mkdir()
    for name in ("train", "dev", "test"):
        jsonl.write(folder / "sets" / f"{name}.jsonl", list(small.PROBLEMS.values()))
    small.base(folder / "base", vocabulary)
    return folder


def torchrun(processes: int) -> str:
    """The launcher for that many; none for one."""
    here = f"{PROGRAMS / 'torchrun'} --standalone --nproc-per-node {processes}"
    return here if processes > 1 else ""


def mpirun(*program: str, **variables: str) -> str:
    """
    A launcher for two that names them as mpirun does.

    *program* is what it starts, in forks of the server that has imported torch where that is
    `python`; *variables* are what it tells both.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    told = " ".join(f"{name}={value}" for name, value in variables.items())
    names = f"{told} PMI_SIZE=2 MPI_LOCALNRANKS=2"
    both = " ".join(f'{names} PMI_RANK={n} MPI_LOCALRANKID={n} "$@" &' for n in (0, 1))
    return f"env MASTER_PORT={port} sh -c '{both} wait' sh {' '.join(program)}"


def started(
    folder: Path, launcher: str, stage: str, out: str, *words: str, **more: str
) -> forks.Process:
    """
    A stage as *launcher* shares it, its metrics in the folder *out*; it is a fork itself.

    *more* are variables of the stage.
    """
    env = {"PYTHONPATH": str(ROOT), "REDISTILL_THREADS": "1", "OMP_NUM_THREADS": "1"}
    env |= {"REDISTILL_DEVICE": "cpu", "PATH": f"{PROGRAMS}:{os.environ['PATH']}"}
    env |= {"REDISTILL_LAUNCH": launcher, **more}
    written = ["--metrics", f"{out}/m.json", "--timing", f"{out}/t.json"]
    return forks.start(f"stages.{stage}", [*words, *written], folder, **env)


def train(folder: Path, launcher: str, out: str, **more: str) -> forks.Process:
    """The training of r0 as *launcher* shares it; *more* are variables of the stage."""
    return started(
        folder, launcher, "train", out, "--branch", "r0", "--problems", "problems.jsonl",
        "--rationales", "rationales.jsonl", "--start", "base", "--out", f"{out}/r0",
        **more,
    )  # fmt: skip


def trained(folder: Path) -> Path:
    """Make *folder* such a project, in which one process has trained r0 into `out1`."""
    assert ended(train(project(folder), "", "out1"))[0] == 0
    return folder


def figures(folder: Path, out: str) -> dict:
    return json.loads((folder / out / "m.json").read_text(encoding="utf-8"))


def ended(process: forks.Process) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=240)
    return process.returncode, out, err


def ranks(folder: Path) -> list[int]:
    """The processes that run in *folder*, where there is nothing but a stage."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if (entry / "cwd").resolve() == folder.resolve():
                found.append(int(entry.name))
        except (OSError, ValueError):
            continue
    return found


def until(holds, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def same_training(one: dict, several: dict) -> None:
    """Hold what several processes trained to what one did."""
    for name in ("losses", "loss_first", "loss_last"):
        assert one.pop(name) == pytest.approx(several.pop(name), abs=2e-4)
    assert one == several  # tokens, labels, the NLL before, rows
