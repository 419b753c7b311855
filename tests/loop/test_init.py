"""A project of one's own is laid out whole or not at all, in git and DVC as they are around it."""

import subprocess
import sys
from pathlib import Path

import pytest

from redistill.cli import new_project
from redistill.console.exceptions import IO
from tests.unit.test_drafts import refused, tree

pytestmark = pytest.mark.processes


@pytest.mark.parametrize(("size", "there"), [(100, False), (100, True), (30_000, True)])
def test_a_project_is_laid_out_whole_or_not_at_all(size: int, there: bool, tmp_path: Path):
    folder = tmp_path / "project"
    if there:
        (folder / "data/external").mkdir(parents=True)
        (folder / "data/external/mine.jsonl").write_text("{}\n")
        (folder / ".gitignore").write_text("/mine\n")
    before = tree(tmp_path)
    params = new_project.settings([], None, None, None)

    refusal = refused(lambda place: new_project.lay_out(place, params), folder, size)

    assert refusal is not None
    assert refusal.code == IO
    assert tree(tmp_path) == before
    assert new_project.lay_out(folder, params)
    assert (folder / "dvc.yaml").is_file()


def test_a_project_under_a_top_level_that_dvc_has_already_uses_that_one(tmp_path: Path):
    def ran(*words: str, cwd: Path = tmp_path) -> str:
        return subprocess.run(words, cwd=cwd, check=True, capture_output=True, text=True).stdout

    dvc = (sys.executable, "-m", "dvc")
    ran("git", "init", "-q")
    ran(*dvc, "init", "-q")
    folder = tmp_path / "work/project"

    said = new_project.lay_out(folder, new_project.settings([], None, None, None))

    assert not [line for line in said if "git repository" in line or "set up for DVC" in line]
    assert not [name for name in (".git", ".dvc") if (folder / name).exists()]
    assert Path(ran(*dvc, "root", cwd=folder).strip()) == Path("../..")
    assert "prepare" in ran(*dvc, "stage", "list", "--name-only", cwd=folder).split()
