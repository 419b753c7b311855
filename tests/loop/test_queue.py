"""A sweep whose seeds DVC runs side by side, in copies of a project whose loop is one script."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from redistill.records.json_file import read_json
from tests.imports import ROOT
from tests.loop.projects import COMMITTER

LOOP = """
import json, pathlib, sys
from ruamel.yaml import YAML
seed = YAML(typ="safe").load(open("params.yaml"))["seed"]
print("this is seed", seed)
if seed == 8:
    sys.exit(1)
rows = [{"against": "a", "rung": "resample", "n": 100, "fixed": 9 + seed, "broken": 5}]
ladder = {"chosen": "r1", "rounds": {"r1": rows}}
pathlib.Path("metrics/ladder.json").write_text(json.dumps(ladder))
pathlib.Path("metrics/best.json").write_text(json.dumps({"round": "r1"}))
"""


def sh(root: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    env = {**os.environ, **COMMITTER, "PYTHONPATH": str(ROOT)}
    return subprocess.run(words, cwd=root, env=env, capture_output=True, text=True)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    (tmp_path / "loop.py").write_text(LOOP)
    metrics = [{f"metrics/{name}.json": {"cache": False}} for name in ("best", "ladder")]
    stage = {"cmd": f"{sys.executable} loop.py", "params": ["seed"], "metrics": metrics}
    YAML().dump({"stages": {"report": stage}}, tmp_path / "dvc.yaml")
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics/.gitignore").write_text("/seeds/\n/sweep.*\n")
    (tmp_path / ".gitignore").write_text("/.redistill/\n")
    dvc = [sys.executable, "-m", "dvc"]
    for words in (
        ["git", "init", "-q"], [*dvc, "init", "-q"], [*dvc, "repro", "-q"], ["git", "add", "-A"],
        ["git", "commit", "-qm", "start"],
    ):  # fmt: skip
        assert sh(tmp_path, *words).returncode == 0
    return tmp_path


@pytest.mark.slow
@pytest.mark.processes
def test_jobs_of_dvc_bring_results_and_the_failed_one_is_named_with_its_log(project: Path):
    before = (project / "params.yaml").read_bytes()
    sweep = [sys.executable, "-m", "redistill.cli", "sweep", "--jobs", "2", "--seeds"]

    failed = sh(project, *sweep, "2", "3", "8")
    again = sh(project, *sweep, "2", "3")

    assert failed.returncode == 70, failed.stdout + failed.stderr
    told = failed.stderr.splitlines()[-1]
    assert "1 of the experiments left no results (seed 8: dvc queue logs " in told
    number = told.partition("dvc queue logs ")[2].partition(")")[0]
    assert (
        "this is seed 8" in sh(project, sys.executable, "-m", "dvc", "queue", "logs", number).stdout
    )
    assert again.returncode == 0, again.stderr
    assert "at a time" not in again.stdout  # they have results
    over = read_json(project / "metrics/sweep.json")["comparisons"]["chosen"]["resample"]
    assert over["by_seed"] == {"2": 6.0, "3": 7.0}
    assert (project / "params.yaml").read_bytes() == before
    assert sh(project, "git", "status", "--short").stdout == ""
