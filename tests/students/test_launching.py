"""Stages that several processes share: the same rows, losses and answers, and one end for all."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from redistill.records import jsonl
from tests.imports import ROOT
from tests.loop import training as small
from tests.settings import SHIPPED

pytestmark = [pytest.mark.processes]
TORCHRUN = Path(sys.executable).with_name("torchrun")


def project(folder: Path, **train: float) -> Path:
    """A folder in which the stages of a tiny student run, trained as `small` trains it."""
    folder.mkdir()
    content = YAML(typ="safe").load(SHIPPED.read_text(encoding="utf-8"))
    content["train"].update(small.RULES.model_dump(), steps=12, batch_size=6, save_every=0)
    content["train"].update(train)
    content["evaluate"].update(max_new_tokens=40, batch_size=8, samples=1)
    with (folder / "params.yaml").open("w", encoding="utf-8") as file:
        YAML(typ="safe").dump(content, file)
    jsonl.write(folder / "problems.jsonl", list(small.PROBLEMS.values()))
    jsonl.write(folder / "rationales.jsonl", small.LESSONS[:13])  # a step of one row, too
    (folder / "sets").mkdir()
    for name in ("train", "dev", "test"):
        jsonl.write(folder / "sets" / f"{name}.jsonl", list(small.PROBLEMS.values()))
    small.base(folder / "base")
    return folder


def started(folder: Path, processes: int, stage: str, out: str, *words: str) -> subprocess.Popen:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "REDISTILL_THREADS": "1", "OMP_NUM_THREADS": "1"}
    env |= {"REDISTILL_DEVICE": "cpu"}
    if processes > 1:
        env["REDISTILL_LAUNCH"] = f"{TORCHRUN} --standalone --nproc-per-node {processes}"
    written = ["--metrics", f"{out}/m.json", "--timing", f"{out}/t.json"]
    return subprocess.Popen(
        [sys.executable, "-m", f"stages.{stage}", *words, *written],
        cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def train(folder: Path, processes: int, out: str) -> subprocess.Popen:
    return started(
        folder, processes, "train", out, "--branch", "r0", "--problems", "problems.jsonl",
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


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained by one process, `out1`."""
    folder = project(tmp_path_factory.mktemp("launching") / "p")
    assert ended(train(folder, 1, "out1"))[0] == 0
    return folder


@pytest.mark.parametrize("processes", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_processes_train_on_the_rows_of_one_to_its_losses(made: Path, processes: int):
    code, out, err = ended(train(made, processes, f"out{processes}"))

    assert code == 0, err
    assert out.count("r0: 12 steps") == 1
    one, several = figures(made, "out1"), figures(made, f"out{processes}")
    assert all(
        math.isclose(a, b, abs_tol=2e-4)
        for a, b in zip(one.pop("losses"), several.pop("losses"), strict=True)
    )
    for name in ("loss_first", "loss_last"):
        assert math.isclose(one.pop(name), several.pop(name), abs_tol=2e-4)
    assert one == several  # tokens, labels, the NLL before, rows


def test_two_processes_share_the_steps_by_tokens_of_one(tmp_path: Path):
    folder = project(tmp_path / "p", batch_tokens=60, accumulate=1, learning_rate=1e-3)
    for processes in (1, 2):
        code, _, err = ended(train(folder, processes, f"out{processes}"))
        assert code == 0, err

    one, two = figures(folder, "out1"), figures(folder, "out2")
    for name in ("losses", "loss_first", "loss_last"):
        assert one.pop(name) == pytest.approx(two.pop(name), abs=2e-4)
    assert one == two  # tokens, lessons seen, the fewest and the most tokens of a step
    assert one["lessons_seen"] == 12 // 3 * 13  # a step of one row ends each epoch


def test_a_number_that_does_not_divide_the_rows_is_refused_with_the_nearest(tmp_path: Path):
    folder = project(tmp_path / "p", batch_size=5, accumulate=1)
    code, out, err = ended(train(folder, 2, "out"))

    assert (code, out) == (78, "")
    assert err == (
        "train: REDISTILL_LAUNCH: 2 processes cannot share the 5 rows of a step (batch_size) "
        "equally; start 1\n"
    )


def test_two_processes_answer_as_one_does(made: Path):
    for processes in (1, 2):
        code, _, err = ended(
            started(made, processes, "answer", f"a{processes}", "--student", "out1/r0",
                    "--problems", "sets", "--out", f"a{processes}/answers")
        )  # fmt: skip
        assert code == 0, err

    files = sorted((made / "a1/answers").iterdir())
    assert len(files) == 3
    for file in files:
        assert file.read_bytes() == (made / "a2/answers" / file.name).read_bytes()
    assert figures(made, "a1") == figures(made, "a2")


def test_a_killed_process_ends_all_and_fewer_go_on_from_its_checkpoint(made: Path, tmp_path: Path):
    gentle = {"steps": 400, "learning_rate": 1e-3}  # a high one makes much of a rounding
    folder = project(tmp_path / "p", save_every=10, **gentle)
    process = train(folder, 2, "out")
    until(lambda: list(folder.glob(".redistill/checkpoints/r0/*/checkpoint-*/manifest.json")))
    children = sorted(set(ranks(folder)) - {process.pid})
    os.kill(children[-1], signal.SIGKILL)
    code, _, err = ended(process)

    assert code == 70
    assert "died without a word (killed, or out of memory)" in err
    assert ranks(folder) == []
    code, _, err = ended(train(folder, 1, "out"))
    assert code == 0, err
    assert "r0: goes on from the checkpoint of step " in err
    kept, whole = project(tmp_path / "w", **gentle), "out"
    assert ended(train(kept, 1, whole))[0] == 0
    pairs = zip(figures(folder, "out")["losses"], figures(kept, whole)["losses"], strict=True)
    assert all(math.isclose(a, b, abs_tol=1e-3) for a, b in pairs)
    assert figures(folder, "out")["tokens"] == figures(kept, whole)["tokens"]


def test_a_killed_stage_leaves_no_process_behind(tmp_path: Path):
    folder = project(tmp_path / "p", steps=100000, save_every=10)
    process = train(folder, 2, "out")
    until(lambda: list(folder.glob(".redistill/checkpoints/r0/*/checkpoint-*/manifest.json")))
    assert len(ranks(folder)) == 4  # the stage, the launcher, and two
    process.kill()
    process.wait()

    until(lambda: ranks(folder) == [], 15)
    assert not (folder / "out").exists() or not (folder / "out/m.json").exists()


def test_no_launcher_and_one_that_starts_nothing_are_refused(made: Path):
    for command, told in (("no-such-launcher", "there is no program"), ("true", "started no")):
        process = subprocess.run(
            [sys.executable, "-m", "stages.train", "--branch", "r0", "--problems", "x",
             "--rationales", "x", "--start", "x", "--out", "x", "--metrics", "x", "--timing", "x"],
            cwd=made, env={**os.environ, "PYTHONPATH": str(ROOT), "REDISTILL_LAUNCH": command},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert process.returncode == 78
        assert told in process.stderr
