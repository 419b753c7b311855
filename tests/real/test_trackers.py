"""Trackio, wandb offline and MLflow, told by stages, and read back from what they left on disk."""

import importlib.util
import json
import os
import signal
import sqlite3
import struct
import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from redistill.records import jsonl
from redistill.tracking import figures
from tests.imports import ROOT
from tests.loop import training as small
from tests.settings import SHIPPED

pytestmark = [pytest.mark.slow, pytest.mark.processes]
STEPS = 80
BLOCK = 32768  # of wandb's file, which is written as LevelDB writes its log
TRACKERS = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(
            importlib.util.find_spec(name) is None,
            reason=f"{name} is not installed: pip install 'redistill[{name}]'",
        ),
    )
    for name in ("trackio", "wandb", "mlflow")
]


@dataclass
class Read:
    """What a tracker has of a run: its group, each logged loss with its step, and all figures."""

    group: str = ""
    losses: list[tuple[int, float]] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    rows: int = 0  # in which there are figures
    tables: set[str] = field(default_factory=set)
    settings: dict[str, Any] = field(default_factory=dict)


def told(folder: Path, tracker: str) -> dict[str, Read]:
    """Read what *tracker* has of the project in *folder*, by the names of the runs."""
    return {"trackio": of_trackio, "wandb": of_wandb, "mlflow": of_mlflow}[tracker](folder)


def of_trackio(folder: Path) -> dict[str, Read]:
    found: dict[str, Read] = defaultdict(Read)
    with sqlite3.connect(folder / "trackio/redistill.db") as opened:
        for name, text in opened.execute("select run_name, metrics from metrics order by id"):
            logged = json.loads(text)
            if "train/loss" in logged:
                found[name].losses.append((logged["train/global_step"], logged["train/loss"]))
                continue
            tables = {key for key, value in logged.items() if isinstance(value, dict)}
            found[name].tables |= {key.removeprefix("tables/") for key in tables}
            numbers = {
                k: v for k, v in logged.items() if k not in tables and not k.startswith("train/")
            }
            found[name].rows += bool(numbers)
            found[name].figures |= numbers
        for name, text in opened.execute("select run_name, config from configs"):
            config = json.loads(text)
            found[name].group, found[name].settings = config["_Group"], config
    return found


def of_wandb(folder: Path) -> dict[str, Read]:
    found: dict[str, Read] = defaultdict(Read)
    for file in sorted(folder.glob(".redistill/trackers/wandb/offline-run-*/*.wandb")):
        name = ""
        for record in records(file):
            kind = record.WhichOneof("record_type")
            if kind == "run" and record.run.display_name:
                name = record.run.display_name
                found[name].group = record.run.run_group
                found[name].settings |= items(record.run.config.update)
            elif kind == "history":
                row = items(record.history.item)
                if "train/loss" in row:
                    found[name].losses.append((row["train/global_step"], row["train/loss"]))
                found[name].tables |= {k.split("/")[1] for k in row if k.startswith("tables/")}
            elif kind == "summary":
                row = items(record.summary.update)
                found[name].figures |= row
                found[name].rows += 1
    return found


def items(rows: Any) -> dict[str, Any]:
    return {row.key or "/".join(row.nested_key): json.loads(row.value_json) for row in rows}


def records(file: Path) -> list[Any]:
    """The records in a file of wandb: a head of 7 bytes, then parts of records in blocks."""
    from wandb.proto import wandb_internal_pb2

    data, at, whole, found = file.read_bytes(), 7, b"", []
    while at + 7 <= len(data):
        if BLOCK - at % BLOCK < 7:
            at += BLOCK - at % BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        whole += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # the whole of a record, or its last part
            record = wandb_internal_pb2.Record()
            record.ParseFromString(whole)
            found.append(record)
            whole = b""
    return found


def of_mlflow(folder: Path) -> dict[str, Read]:
    found: dict[str, Read] = defaultdict(Read)
    place = folder / ".redistill/trackers"
    with sqlite3.connect(place / "mlflow.db") as opened:
        runs = dict(opened.execute("select run_uuid, name from runs"))
        assert len(set(runs.values())) == len(runs)
        asked = "select run_uuid, key, value, step from metrics order by timestamp, step"
        for run, key, value, step in opened.execute(asked):
            if key == "loss":
                found[runs[run]].losses.append((step, value))
            else:
                found[runs[run]].figures[key] = value
                found[runs[run]].rows += key == "training/steps"
        for run, key, value in opened.execute("select run_uuid, key, value from tags"):
            if key == "group":
                found[runs[run]].group = value
        for run, key, value in opened.execute("select run_uuid, key, value from params"):
            found[runs[run]].settings[key] = value
    for file in place.glob("mlflow/*/artifacts/tables/*.csv"):
        found[runs[file.parts[-4]]].tables.add(file.stem.replace("-", " "))
    return found


def project(folder: Path) -> Path:
    """A folder in which the stage train teaches a tiny student, in a repository with a commit."""
    content = YAML(typ="safe").load(SHIPPED.read_text(encoding="utf-8"))
    gentle = {"steps": STEPS, "learning_rate": 1e-3, "save_every": 10, "batch_size": 6}
    content["train"].update(small.RULES.model_dump(), **gentle)
    content["evaluate"].update(max_new_tokens=40)
    folder.mkdir()
    with (folder / "params.yaml").open("w", encoding="utf-8") as file:
        YAML(typ="safe").dump(content, file)
    jsonl.write(folder / "problems.jsonl", list(small.PROBLEMS.values()))
    jsonl.write(folder / "rationales.jsonl", small.LESSONS)
    small.base(folder / "base")
    own = ("-c", "user.name=n", "-c", "user.email=e")
    for words in (("init", "-q"), ("add", "params.yaml"), (*own, "commit", "-qm", "m")):
        subprocess.run(["git", *words], cwd=folder, check=True)
    return folder


def environment(folder: Path, tracker: str) -> dict[str, str]:
    path = os.environ.get("PYTHONPATH", "")
    return {
        **os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{path}", "REDISTILL_DEVICE": "cpu",
        "REDISTILL_THREADS": "1", "REDISTILL_TRACKER": tracker, "REDISTILL_TRACKER_WAIT": "200",
        "TRACKIO_DIR": str(folder / "trackio"), "WANDB_MODE": "offline",
    }  # fmt: skip


def train(folder: Path, tracker: str, out: str = "out", **more: str) -> subprocess.Popen[str]:
    words = {
        "branch": "r0", "problems": "problems.jsonl", "rationales": "rationales.jsonl",
        "start": "base", "out": f"{out}/students/r0", "metrics": f"{out}/metrics/training/r0.json",
        "timing": f"{out}/metrics/timing/train/r0.json",
    }  # fmt: skip
    return subprocess.Popen(
        [sys.executable, "-m", "stages.train", *(f"--{k}={v}" for k, v in words.items())],
        cwd=folder, env=environment(folder, tracker) | more, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def ended(process: subprocess.Popen[str]) -> str:
    _, err = process.communicate(timeout=400)
    assert process.returncode == 0, err
    assert "tracker" not in err
    return err


def weights(folder: Path, out: str) -> bytes:
    return (folder / out / "students/r0/model.safetensors").read_bytes()


def equal(read: dict[str, Any], expected: dict[str, float]) -> bool:
    return {name: read.get(name) for name in expected} == expected


@pytest.mark.parametrize("tracker", TRACKERS)
def test_a_training_that_is_killed_gone_on_with_and_repeated_is_one_run_with_one_curve(
    tracker: str, tmp_path: Path
):
    folder = project(tmp_path / "p")
    ended(train(folder, "", "untold"))
    process = train(folder, tracker)
    saved = ".redistill/checkpoints/r0/*/checkpoint-[2-7]0/manifest.json"
    while not list(folder.glob(saved)):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert "goes on from the checkpoint" in ended(train(folder, tracker))
    again = ended(train(folder, tracker, "again"))

    assert "goes on" not in again
    assert weights(folder, "out") == weights(folder, "untold") == weights(folder, "again")
    (run,) = told(folder, tracker).values()
    file = folder / "out/metrics/training/r0.json"
    recorded = json.loads(file.read_text(encoding="utf-8"))
    assert [step for step, _ in run.losses] == list(range(1, STEPS + 1))
    losses = [round(loss, 4) for _, loss in run.losses[:: recorded["losses_every"]]]
    assert losses == recorded["losses"]
    (expected,) = figures.told("train", [file])
    assert equal(run.figures, expected.figures)
    assert run.group.endswith(" seed 1")
    assert str(run.settings["train.steps"]) == str(STEPS)
    if tracker == "mlflow":
        assert run.rows == 1  # its history has each figure once


@pytest.mark.parametrize("tracker", TRACKERS[:1])
def test_of_two_processes_that_share_a_training_one_tells_its_curve(tracker: str, tmp_path: Path):
    folder = project(tmp_path / "p")
    torchrun = Path(sys.executable).with_name("torchrun")
    launch = f"{torchrun} --standalone --nproc-per-node 2"

    ended(train(folder, tracker, REDISTILL_LAUNCH=launch))

    (run,) = told(folder, tracker).values()
    assert [step for step, _ in run.losses] == list(range(1, STEPS + 1))
    (expected,) = figures.told("train", [folder / "out/metrics/training/r0.json"])
    assert equal(run.figures, expected.figures)
    assert run.rows == 1


@pytest.mark.parametrize("tracker", TRACKERS)
def test_what_the_report_has_is_what_the_tracker_has(tracker: str, tmp_path: Path):
    folder = project(tmp_path / "p")
    metrics = ROOT / "metrics"
    what = {"tracker": tracker, "stage": "report", "files": [str(metrics / "summary.json")]}
    for _ in range(2):  # the second has nothing to tell
        ran = subprocess.run(
            [sys.executable, "-m", "redistill.tracking"], cwd=folder, text=True,
            input=json.dumps({**what, "limit": 300}) + "\n", env=environment(folder, tracker),
            stdout=subprocess.PIPE, check=True,
        )  # fmt: skip
        assert ran.stdout == ""

    found = {name.rpartition("-")[0]: run for name, run in told(folder, tracker).items()}
    expected = {one.branch: one for one in figures.whole(metrics)}
    assert set(found) == set(expected)
    assert len({run.group for run in found.values()}) == 1
    for name, one in expected.items():
        assert equal(found[name].figures, one.figures), name
        assert set(one.tables) <= found[name].tables
