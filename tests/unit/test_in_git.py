"""What stages make is DVC's to keep: git ignores it, and doctor says where git tracks some."""

import shlex
import subprocess
from pathlib import Path

import pytest
from dvc.utils.serialize import load_yaml

from redistill.cli import new_project, own_data
from tests.imports import ROOT
from tests.unit.test_pipeline import BLANK

STAGES = load_yaml(str(ROOT / "dvc.yaml"))["stages"].values()
OUTS = [out for stage in STAGES for out in stage.get("do", stage).get("outs", [])]
CACHED = sorted({BLANK.sub("x", out) for out in OUTS if isinstance(out, str)})


def git(root: Path, *words: str) -> list[str]:
    ran = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=False)
    return ran.stdout.split()


@pytest.mark.parametrize(
    "ignored", [(ROOT / ".gitignore").read_text(encoding="utf-8"), new_project.IGNORED]
)
def test_git_ignores_what_stages_make_whatever_dvc_has_written_of_it(ignored: str, tmp_path: Path):
    (tmp_path / ".gitignore").write_text(ignored, encoding="utf-8")
    git(tmp_path, "init", "-q")

    assert git(tmp_path, "check-ignore", *CACHED) == CACHED
    assert {path.split("/")[1] for path in CACHED} == {*own_data.MADE}


def test_a_student_that_was_committed_is_named_with_what_lets_go_of_it(tmp_path: Path):
    file = tmp_path / "data/students/base/model.safetensors"
    file.parent.mkdir(parents=True)
    file.touch()
    (tmp_path / "data/students/.gitignore").touch()
    assert own_data.in_git(tmp_path).state == "holds"  # there is no git
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "-A")

    found = own_data.in_git(tmp_path)

    assert found.state == "fails"
    assert f"git tracks a file that stages make, {file.relative_to(tmp_path)}" in found.told
    git(tmp_path, *shlex.split(found.told.partition("anew: git ")[2].split(",")[0]))
    assert file.is_file()
    assert git(tmp_path, "ls-files") == ["data/students/.gitignore"]
    assert own_data.in_git(tmp_path).state == "holds"
