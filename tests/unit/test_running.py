"""What commands say and refuse beside a stage that is being run."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from redistill.cli import running
from redistill.cli.main import main
from redistill.llm import store
from tests.imports import ROOT

PUBLISHED = "data/published/wordproblems-refined"


@pytest.fixture(params=[".", "below/project"])
def project(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A project with DVC of its own, and one below the top level of a repository."""
    (tmp_path / ".dvc/tmp").mkdir(parents=True)
    (tmp_path / ".dvc/config").write_text("")
    root = tmp_path / request.param
    root.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "params.yaml", root)
    monkeypatch.chdir(root)
    return root


def hold(top: Path, path: Path, pid: int) -> None:
    """Have the process *pid* be writing *path*, as DVC notes it."""
    by = {"pid": pid, "cmd": "dvc repro"}
    (top / ".dvc/tmp/rwlock").write_text(json.dumps({"write": {str(path): by}, "read": {}}))


def run(*words: str) -> Result:
    return CliRunner().invoke(main, [*words])


def test_what_a_stage_is_writing_is_neither_shown_nor_sent_as_published(
    project: Path, tmp_path: Path
):
    for path in ("data/published", PUBLISHED, f"{PUBLISHED}/README.md"):
        hold(tmp_path, project / path, os.getpid())

        said = run("publish")

        assert said.exit_code == 75
        assert f"pid {os.getpid()} (dvc repro) is writing it; publish it when" in said.output
    hold(tmp_path, project / "data/published-too", os.getpid())
    assert "is writing it" not in run("publish").output


def test_a_project_is_not_upgraded_while_stages_run_by_it(project: Path, tmp_path: Path):
    hold(tmp_path, project / "data/students/r1", os.getpid())

    said = run("upgrade")

    assert said.exit_code == 75
    assert f"dvc.yaml: pid {os.getpid()} (dvc repro) runs by it; upgrade when" in said.output


def test_settings_are_written_beside_a_stage_and_said_to_be_later_than_it(
    project: Path, tmp_path: Path
):
    told = f"pid {os.getpid()} (dvc repro) is at work with the settings of before"
    words = ("params", "--with", "embedded-ladder", "--out", "mine.yaml")

    hold(tmp_path, project / "data/students/r1", os.getpid())
    assert told in run(*words).stderr
    hold(tmp_path, tmp_path / "another/out", os.getpid())
    assert (told in run(*words).stderr) == (project == tmp_path)


def test_a_process_that_has_ended_writes_nothing(project: Path, tmp_path: Path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    hold(tmp_path, project / "data/students/r1", ended.pid)

    assert running.writing(project) == {}


def test_an_export_of_a_store_that_is_being_written_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    file = tmp_path / "calls.sqlite"
    monkeypatch.setenv("REDISTILL_STORE", str(file))
    with store.writing(file):
        beside = run("store", "export", str(tmp_path / "beside.jsonl"))
    after = run("store", "export", str(tmp_path / "after.jsonl"))

    assert (beside.exit_code, after.exit_code) == (0, 0)
    assert "is writing the store: 0 calls without an answer" in beside.stderr
    assert str(os.getpid()) in beside.stderr
    assert after.stderr == ""
