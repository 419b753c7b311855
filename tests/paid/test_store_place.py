"""Where the store is looked for: one place for a repository, whichever checkout asks."""

import subprocess
from pathlib import Path

import pytest

from redistill.console.exceptions import RefusedError
from redistill.llm import store_place

STORE = ".redistill/store.sqlite"


@pytest.fixture(autouse=True)
def nothing_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REDISTILL_STORE", raising=False)


def git(folder: Path, *words: str) -> None:
    who = [
        "-c",
        "user.name=n",
        "-c",
        "user.email=n@example.org",
        "-c",
        "protocol.file.allow=always",
    ]
    subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True)


def repository(folder: Path, below: str = ".") -> Path:
    """A repository in *folder* with a project in *below*; returns the project's folder."""
    project = folder / below
    project.mkdir(parents=True)
    (project / "params.yaml").write_text("seed: 1\n")
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "project")
    return project


def found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The full name of the store that a run in *folder* has."""
    monkeypatch.chdir(folder)
    return Path.cwd() / store_place.path()


def test_a_main_checkout_has_its_store_in_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    project = repository(tmp_path / "main")

    assert found(project, monkeypatch) == project / STORE
    assert str(store_place.path()) == STORE


@pytest.mark.parametrize("below", [".", "runs/one"])
def test_a_worktree_has_the_store_of_the_main_checkout(
    below: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    project = repository(tmp_path / "main", below)
    git(tmp_path / "main", "worktree", "add", "-q", "../tree", "-b", "other")

    assert found(tmp_path / "tree" / below, monkeypatch) == project / STORE


@pytest.mark.parametrize("place", ["tmpabc", "standalone/tmpabc"])
@pytest.mark.parametrize(
    ("below", "dvc"), [(".", "."), ("runs/one", "runs/one"), ("runs/one", ".")]
)
def test_a_copy_that_dvc_makes_has_the_store_of_what_it_was_copied_from(
    place: str, below: str, dvc: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    project = repository(tmp_path / "main", below)
    git(tmp_path / "main", "worktree", "add", "-q", "../tree", "-b", "other")
    for checkout in ("main", "tree"):
        copy = tmp_path / checkout / dvc / ".dvc/tmp/exps" / place
        git(tmp_path, "clone", "-q", "main", str(copy))

        assert found(copy / below, monkeypatch) == project / STORE


def test_a_clone_is_a_repository_with_a_store_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    project = repository(tmp_path / "main")
    git(tmp_path, "clone", "-q", str(project), "clone")

    assert found(tmp_path / "clone", monkeypatch) == tmp_path / "clone" / STORE


def test_a_submodule_is_a_repository_of_its_own_and_its_worktrees_have_its_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    project = repository(tmp_path / "main")
    outer = repository(tmp_path / "outer")
    git(outer, "submodule", "--quiet", "add", str(project), "sub")
    git(outer / "sub", "worktree", "add", "-q", str(tmp_path / "tree"), "-b", "other")

    assert found(outer / "sub", monkeypatch) == outer / "sub" / STORE
    assert found(tmp_path / "tree", monkeypatch) == outer / "sub" / STORE


def test_worktrees_of_a_bare_repository_share_a_store_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    repository(tmp_path / "main")
    git(tmp_path, "clone", "-q", "--bare", "main", "bare")
    for name in ("one", "two"):
        git(tmp_path / "bare", "worktree", "add", "-q", f"../{name}", "-b", name)

    stores = {found(tmp_path / name, monkeypatch) for name in ("one", "two")}

    assert stores == {tmp_path / "bare/redistill" / STORE}


def test_a_worktree_whose_main_checkout_nobody_knows_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    project = repository(tmp_path / "main")
    git(project, "init", "-q", "--separate-git-dir", str(tmp_path / "apart"))
    git(project, "worktree", "add", "-q", "../tree", "-b", "other")

    assert found(project, monkeypatch) == project / STORE
    with pytest.raises(RefusedError, match="full path in REDISTILL_STORE") as refusal:
        found(tmp_path / "tree", monkeypatch)
    assert refusal.value.code == 78
    (tmp_path / "tree/.git").write_text("gitdir: /nowhere\n")
    with pytest.raises(RefusedError, match="/nowhere, which is not there"):
        found(tmp_path / "tree", monkeypatch)


def test_a_worktree_with_a_store_of_its_own_from_before_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    project = repository(tmp_path / "main")
    git(project, "worktree", "add", "-q", "../tree", "-b", "other")
    own = tmp_path / "tree" / STORE
    own.parent.mkdir()
    own.touch()

    with pytest.raises(RefusedError, match="bring them together") as refusal:
        found(tmp_path / "tree", monkeypatch)
    assert refusal.value.code == 78
    monkeypatch.setenv("REDISTILL_STORE", str(own))
    assert found(tmp_path / "tree", monkeypatch) == own


def test_a_folder_below_a_project_has_the_store_of_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    project = repository(tmp_path / "main", "runs/one")
    (project / "data/problems").mkdir(parents=True)

    assert found(project / "data/problems", monkeypatch) == project / STORE
    assert found(tmp_path / "main", monkeypatch) == tmp_path / "main" / STORE


def test_without_git_the_store_is_where_the_run_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "params.yaml").touch()
    (tmp_path / "below").mkdir()

    assert found(tmp_path / "below", monkeypatch) == tmp_path / "below" / STORE


def test_a_relative_name_is_relative_to_the_project_of_the_main_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    project = repository(tmp_path / "main", "runs/one")
    git(tmp_path / "main", "worktree", "add", "-q", "../tree", "-b", "other")
    monkeypatch.setenv("REDISTILL_STORE", "paid/answers.sqlite")

    assert found(tmp_path / "tree/runs/one", monkeypatch) == project / "paid/answers.sqlite"
    monkeypatch.setenv("REDISTILL_STORE", "/elsewhere/answers.sqlite")
    assert found(tmp_path / "tree/runs/one", monkeypatch) == Path("/elsewhere/answers.sqlite")
