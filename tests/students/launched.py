"""A stage of a tiny student that a launcher shares among processes, and how it went."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from redistill.records import jsonl
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


def started(folder: Path, launcher: str, stage: str, out: str, *words: str) -> subprocess.Popen:
    """A stage as *launcher* shares it, its metrics in the folder *out*."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "REDISTILL_THREADS": "1", "OMP_NUM_THREADS": "1"}
    env |= {"REDISTILL_DEVICE": "cpu"}
    env |= {"REDISTILL_LAUNCH": launcher}
    written = ["--metrics", f"{out}/m.json", "--timing", f"{out}/t.json"]
    return subprocess.Popen(
        [sys.executable, "-m", f"stages.{stage}", *words, *written],
        cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def train(folder: Path, launcher: str, out: str) -> subprocess.Popen:
    """The training of r0 as *launcher* shares it."""
    return started(
        folder, launcher, "train", out, "--branch", "r0", "--problems", "problems.jsonl",
        "--rationales", "rationales.jsonl", "--start", "base", "--out", f"{out}/r0",
    )  # fmt: skip


def figures(folder: Path, out: str) -> dict:
    return json.loads((folder / out / "m.json").read_text(encoding="utf-8"))


def ended(process: subprocess.Popen) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=240)
    return process.returncode, out, err


def ranks(folder: Path) -> list[int]:
    """The processes that run a stage in *folder*."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes()
            if b"stages.train" in words and (entry / "cwd").resolve() == folder.resolve():
                found.append(int(entry.name))
        except (OSError, ValueError):
            continue
    return found


def until(holds, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.1)
