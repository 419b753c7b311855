"""Versions of the rationales out of git revisions, through DVC, with nothing checked out."""

import os
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from redistill.cli.main import main
from redistill.records import jsonl
from redistill.records.types import Rationale
from tests import forks
from tests.loop.projects import COMMITTER

PIPELINE = """
stages:
  generate:
    cmd: cp draft.jsonl data/rationales/r0.jsonl
    outs:
      - data/rationales/r0.jsonl
"""
FILE = Path("data/rationales/r0.jsonl")


def run(*words: str) -> None:
    if words[0] == "dvc":
        assert forks.run("dvc", words[1:], **COMMITTER).returncode == 0
    else:
        subprocess.run(words, check=True, capture_output=True, env={**os.environ, **COMMITTER})


def write(file: Path, text: str) -> None:
    row = Rationale(id="p", problem="p", text=text, round="r0", teacher="t", status="first")
    jsonl.write(file, [row])


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two commits of a round under DVC, and a file that is in git itself."""
    root = tmp_path_factory.mktemp("history")
    here = Path.cwd()
    os.chdir(root)
    try:
        run("git", "init", "-q", "-b", "main")
        run("dvc", "init", "-q")
        run("dvc", "config", "core.analytics", "false")
        Path("dvc.yaml").write_text(PIPELINE, encoding="utf-8")
        FILE.parent.mkdir(parents=True)
        for text in ("the first text", "the second text"):
            write(FILE, text)
            run("dvc", "commit", "-q", "-f")
            write(Path("plain.jsonl"), text)
            run("git", "add", "-A")
            run("git", "commit", "-qm", text)
    finally:
        os.chdir(here)
    return root


@pytest.fixture
def project(history: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that repository, in which a test can do damage."""
    root = tmp_path / "project"
    subprocess.run(["cp", "-a", str(history), str(root)], check=True)
    monkeypatch.chdir(root)
    monkeypatch.setenv("COLUMNS", "120")
    return root


def diff(*words: str) -> Result:
    return CliRunner().invoke(main, ["diff", *words])


def cached() -> Path:
    """The cache's object for the first commit's rationales, the one that is not checked out."""
    files = [f for f in Path(".dvc/cache/files").rglob("*") if f.is_file()]
    return next(f for f in files if b"first text" in f.read_bytes())


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("HEAD~1:r0", "r0"),
        ("HEAD~1:r0", "HEAD:r0"),
        ("main~1:data/rationales/r0.jsonl", "data/rationales/r0.jsonl"),
        ("HEAD~1:plain.jsonl", "plain.jsonl"),
    ],
)
def test_a_round_of_an_earlier_commit_is_read_without_a_checkout(
    before: str, after: str, project: Path
):
    now = FILE.read_bytes()

    ran = diff(before, after)

    assert ran.exit_code == 0, ran.output
    assert f"{before} -> {after}: 1 problem, 1 changed" in ran.output
    assert "the [-first-]{+second+} text" in ran.output
    assert FILE.read_bytes() == now
    status = subprocess.run(["git", "status", "--porcelain"], capture_output=True, check=True)
    assert status.stdout == b""


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("nowhere:r0", "nowhere:data/rationales/r0.jsonl: unknown Git revision 'nowhere'"),
        ("HEAD:r7", "HEAD:data/rationales/r7.jsonl: there is no such file in that revision"),
        ("HEAD:data/rationales", "HEAD:data/rationales: is a folder"),
    ],
)
def test_what_a_revision_does_not_have_is_told(name: str, told: str, project: Path):
    ran = diff(name, "r0")

    assert (ran.exit_code, told in ran.output) == (65, True), ran.output


def test_content_that_is_nowhere_is_told_with_revision_and_file(project: Path):
    cached().unlink()

    ran = diff("HEAD~1:r0", "r0")

    assert ran.exit_code == 65
    assert "HEAD~1:data/rationales/r0.jsonl: neither the DVC cache nor a remote has" in ran.output


def test_content_that_only_a_remote_has_is_fetched_from_it(project: Path, tmp_path: Path):
    run("dvc", "remote", "add", "-d", "shelf", "../shelf")  # after the commit that is asked for
    (tmp_path / "shelf" / "files").parent.mkdir()
    subprocess.run(["cp", "-a", ".dvc/cache/files", str(tmp_path / "shelf")], check=True)
    cached().unlink()

    ran = diff("HEAD~1:r0", "r0")

    assert "the [-first-]{+second+} text" in ran.output, ran.output


def test_a_damaged_object_of_the_cache_is_refused(project: Path):
    file = cached()
    content = file.read_bytes()
    file.chmod(0o644)
    file.write_bytes(content.replace(b"first", b"wrong"))
    file.chmod(0o444)

    ran = diff("HEAD~1:r0", "r0")

    assert ran.exit_code == 65
    assert "HEAD~1:data/rationales/r0.jsonl: the content in the DVC cache" in ran.output


def test_outside_of_a_repository_a_revision_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)

    ran = diff("HEAD:r0", "HEAD:r1")

    assert ran.exit_code == 65
    assert "is not a git repository" in ran.output
