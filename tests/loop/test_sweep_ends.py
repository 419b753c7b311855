"""A sweep leaves params.yaml as it found it, however it ends; DVC is a script of a few lines."""

import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from redistill.analysis import experiments, sweep
from tests import forks
from tests.imports import ROOT

DVC = """
import json, os, pathlib, signal, sys, time
signal.signal(signal.SIGINT, signal.SIG_DFL)
file = pathlib.Path("params.yaml")
seed = next(w for w in sys.argv if "seed=" in w).rpartition("=")[2]
file.write_text(file.read_text().replace("seed: 1 ", f"seed: {seed} "))
if pathlib.Path("edit").exists():  # by a user, meanwhile
    file.write_text(file.read_text().replace(*json.loads(pathlib.Path("edit").read_text())))
pathlib.Path(f"ran-{seed}").write_text(str(os.getpid()))
if seed == "8":
    sys.exit(1)
if seed == "9":
    time.sleep(60)
pathlib.Path("metrics").mkdir(exist_ok=True)
rows = [{"against": "a", "rung": "resample", "n": 100, "fixed": 9, "broken": 5}]
ladder = {"chosen": "r1", "rounds": {"r1": rows}}
pathlib.Path("metrics/ladder.json").write_text(json.dumps(ladder))
pathlib.Path("metrics/best.json").write_text(json.dumps({"round": "r1"}))
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    (tmp_path / "dvc.py").write_text(DVC)
    return tmp_path


def start(project: Path, *words: str) -> forks.Process:
    return forks.start("redistill.cli", words, project, PYTHONPATH=f"{project}:{ROOT}")


def ended(process: forks.Process, code: int) -> str:
    _, said = process.communicate(timeout=60)
    assert process.returncode == code, said
    assert "Traceback" not in said
    return said


def at_work(project: Path, *words: str) -> forks.Process:
    """A sweep in the middle of its seed 9."""
    process = start(project, *words)
    while not (project / "ran-9").exists() or not (project / "ran-9").read_text():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    return process


def test_params_is_the_same_byte_for_byte_after_seeds_that_ran_and_one_that_failed(project: Path):
    before = (project / "params.yaml").read_bytes()

    ended(start(project, "sweep", "--seeds", "2", "3"), 0)
    after = (project / "params.yaml").read_bytes()
    said = ended(start(project, "sweep", "--seeds", "2", "8"), 70)

    assert after == (project / "params.yaml").read_bytes() == before
    assert said.splitlines()[-1].startswith("redistill: seed 8: dvc exp run --set-param=seed=8")
    assert not (project / experiments.KEPT).exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_sweep_in_one_line_and_keeps_the_seeds_before(
    number: signal.Signals, project: Path
):
    before = (project / "params.yaml").read_bytes()
    process = at_work(project, "sweep", "--seeds", "2", "9")

    process.send_signal(number)
    said = ended(process, 128 + number)

    assert said.splitlines()[-1] == (
        f"redistill: seed 9: stopped by {number.name}; the seeds before it are kept, params.yaml "
        "is as it was, and the same command goes on from here"
    )
    assert (project / "params.yaml").read_bytes() == before
    assert (project / "metrics/seeds/seed2.json").is_file()


def test_after_a_kill_every_command_says_so_and_the_next_sweep_puts_params_back(project: Path):
    before = (project / "params.yaml").read_bytes()
    process = at_work(project, "sweep", "--seeds", "9")
    process.kill()
    process.wait()
    busy = ended(start(project, "sweep", "--seeds", "2"), 75)  # DVC itself goes on
    os.kill(int((project / "ran-9").read_text()), signal.SIGKILL)
    time.sleep(0.2)

    assert (project / "params.yaml").read_bytes() != before
    told = ended(start(project, "params"), 0)
    mended = ended(start(project, "sweep", "--seeds", "2"), 0)

    assert "another sweep is at work" in busy
    assert "params.yaml has the settings of a sweep that was killed" in told
    assert f"{experiments.PARAMS} is again what it was before" in mended
    assert (project / "params.yaml").read_bytes() == before


def test_a_params_that_was_edited_after_a_kill_is_not_overwritten(project: Path):
    file, kept = project / "params.yaml", project / experiments.KEPT
    kept.parent.mkdir()
    kept.write_bytes(file.read_bytes())
    edited = file.read_text().replace("alpha: 0.1 ", "alpha: 0.2 ")
    file.write_text(edited)

    said = ended(start(project, "sweep", "--seeds", "2"), 78)

    assert "brings yours back" in said
    assert file.read_text() == edited


@pytest.mark.parametrize(
    ("edit", "code"),
    [
        (["alpha: 0.1 ", "alpha: 0.2 "], 75),
        (["seed: 2 ", "seed: 5 "], 75),
        (["alpha: 0.1 ", "alpha: ["], 75),
        (["alpha: 0.1 ", "alpha: 0.1  # mine: "], 0),
    ],
)
def test_what_a_user_writes_into_params_meanwhile_is_kept_aside_and_said(
    edit: list[str], code: int, project: Path
):
    before = (project / "params.yaml").read_text()
    (project / "edit").write_text(json.dumps(edit))

    said = ended(start(project, "sweep", "--seeds", "2"), code).splitlines()
    again = ended(start(project, "sweep", "--seeds", "2", "--force"), code)

    assert said[0] == (
        "params.yaml was edited while the sweep ran: it is again what it was before, and what was "
        "found in it is in .redistill/params-edited-1.yaml"
    )
    assert "params-edited-2.yaml" in again  # none is overwritten
    assert (project / "params.yaml").read_text() == before
    kept = (project / ".redistill/params-edited-1.yaml").read_text()
    assert kept == before.replace("seed: 1 ", "seed: 2 ").replace(*edit)
    if code:
        assert said[-1].startswith("redistill: params.yaml was edited while DVC ran")
        assert not (project / "metrics/seeds/seed2.json").exists()


def test_a_params_that_is_a_link_stays_one_and_its_file_keeps_its_rights(project: Path):
    file = project / "settings/mine.yaml"
    file.parent.mkdir()
    (project / "params.yaml").rename(file)
    (project / "params.yaml").symlink_to("settings/mine.yaml")
    file.chmod(0o600)
    before = file.read_bytes()

    ended(start(project, "sweep", "--seeds", "2"), 0)

    assert os.readlink(project / "params.yaml") == "settings/mine.yaml"
    assert (file.read_bytes(), file.stat().st_mode & 0o777) == (before, 0o600)


def test_what_dvc_itself_writes_into_params_counts_as_no_edit(project: Path):
    (project / "dvc.py").unlink()
    from dvc.utils.hydra import apply_overrides

    file, pairs = project / "params.yaml", ["train.steps=9", "wordproblems.steps=[0.5,0.5]"]
    plan = sweep.plan(project, project / "metrics/seeds", pairs)
    before = file.read_bytes()
    with experiments.unchanged(project, plan.rest(7)):
        apply_overrides(file, ["seed=7", *pairs])
        assert file.read_bytes() != before

    assert file.read_bytes() == before
    assert not list(project.glob(".redistill/*"))
