"""What a kill leaves of DVC's files: what is read of them, what is said, what is mended."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from redistill.cli import dvc_locks, own_data, repair
from redistill.cli.main import main
from redistill.console.exceptions import RefusedError
from tests.imports import ROOT

WHOLE = (ROOT / "dvc.lock").read_text(encoding="utf-8")
SHORT = WHOLE[: WHOLE.index("\n  generate:\n") + 1]  # two entries: the rest is the same again
KNOWN = dvc_locks.parse(SHORT).whole
NOBODY = 2**22 + 7  # no process has this number


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what DVC has in one of its repositories, as far as these checks look."""
    (tmp_path / ".dvc/tmp").mkdir(parents=True)
    (tmp_path / ".dvc/config").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def hold(root: Path, pid: int) -> Path:
    info = {"pid": pid, "cmd": "dvc repro"}
    file = root / ".dvc/tmp/rwlock"
    file.write_text(json.dumps({"write": {"/a": info}, "read": {"/b": [info]}}))
    return file


def states(root: Path) -> dict[str, str]:
    return {found.check: found.state for found in repair.findings(root)}


def test_a_whole_lock_file_has_every_entry_and_no_fault():
    assert dvc_locks.parse(WHOLE).fault is None
    assert list(KNOWN) == ["prepare", "base"]


@settings(deadline=None, max_examples=40)
@given(st.integers(0, len(SHORT) - 1))
def test_whatever_is_cut_off_no_entry_is_taken_for_another(length: int):
    found = dvc_locks.parse(SHORT[:length])

    kept = {name: entry for name, entry in found.whole.items() if KNOWN[name] == entry}
    assert found.fault is None or found.whole == kept
    # without a fault it was cut at the end of a line: DVC reads it, and what lacks outs is stale
    assert found.fault is not None or SHORT[length - 1] == "\n"


@pytest.mark.parametrize(
    "text",
    ["", "\n", "sche", "\0" * 64, SHORT.replace("md5: ", "md5: \0", 1),
     SHORT + "  generate:\n    cmd", "<<<<<<< HEAD\n" + SHORT,
     SHORT.replace("schema: '2.0'", "schema: '3.0'"), "- a\n", "{}\n"],
)  # fmt: skip
def test_a_lock_file_that_dvc_cannot_read_is_found(text: str, root: Path):
    (root / "dvc.lock").write_text(text)

    assert states(root)["dvc.lock"] == "fails"


@pytest.mark.parametrize("name", ["cut-by-kill", "cut-k1-0", "cut-k2-17"])
def test_the_lock_files_that_kills_left_are_found_and_what_is_whole_of_them(name: str):
    file = ROOT.parent / f"shared/cases/dvc.lock.{name}"
    if not file.is_file():
        pytest.skip("the cases are not in this checkout")
    found = dvc_locks.read_lock(file)

    assert found.fault
    assert len(found.whole) == (0 if name == "cut-k2-17" else 8)


@pytest.mark.parametrize(
    "text", ["", '{"write": {"/a', "[]", '{"write": [], "read": {}}', '{"a": 1}']
)
def test_locks_that_dvc_cannot_read_are_found_and_mended(text: str, root: Path):
    (root / ".dvc/tmp/rwlock").write_text(text)

    assert states(root)["DVC's locks"] == "fails"
    assert [*repair.repair(root)]
    assert states(root)["DVC's locks"] == "holds"
    assert json.loads((root / ".dvc/tmp/rwlock").read_text()) == {"write": {}, "read": {}}


def test_locks_of_processes_that_ended_are_cleared_and_those_of_others_stay(root: Path):
    hold(root, os.getpid())
    assert states(root)["DVC's locks"] == "note"
    assert [*repair.repair(root)] == []
    hold(root, NOBODY)
    assert states(root)["DVC's locks"] == "note"  # DVC clears up after it
    assert len([*repair.repair(root)]) == 1
    assert states(root)["DVC's locks"] == "holds"


def test_a_number_that_another_process_has_now_is_no_reason_to_wait(root: Path):
    file = hold(root, os.getpid())
    os.utime(file, (10**9, 10**9))  # long before this process began

    assert states(root)["DVC's locks"] == "fails"
    assert [*repair.repair(root)]
    assert states(root)["DVC's locks"] == "holds"


def test_a_half_written_file_is_to_know_and_goes(root: Path):
    draft = root / "data/predictions/r0/.HUbaUlnQrrXFwAtQ6s2cnA.tmp"
    draft.parent.mkdir(parents=True)
    draft.write_text("half")

    assert states(root)["drafts"] == "note"
    assert [*repair.repair(root)]
    assert not draft.exists()


def test_commands_name_the_fault_and_what_mends_it_in_one_line(root: Path):
    (root / "dvc.lock").touch()
    (root / "params.yaml").write_text((ROOT / "params.yaml").read_text(encoding="utf-8"))

    refused = CliRunner().invoke(main, ["params"])
    warned = CliRunner().invoke(main, ["ledger"])

    assert refused.exit_code == 65
    assert refused.stderr.count("\n") == 1
    assert "redistill doctor --repair" in refused.stderr
    assert "redistill doctor --repair" in warned.stderr
    (root / "dvc.lock").write_text(WHOLE)
    assert CliRunner().invoke(main, ["params"]).exit_code == 0


def test_while_dvc_runs_nothing_is_damaged_and_nothing_mended(root: Path):
    (root / "dvc.lock").touch()
    place = root / "bin/dvc"
    place.parent.mkdir()
    place.write_text("import time\ntime.sleep(60)\n")
    process = subprocess.Popen([sys.executable, str(place)], cwd=root)
    try:
        assert dvc_locks.damage(root) is None
        with pytest.raises(RefusedError, match=f"pid {process.pid}"):
            [*repair.repair(root)]
    finally:
        process.kill()
        process.wait()
    assert dvc_locks.damage(root)


def test_data_that_neither_git_nor_dvc_keeps_are_named_and_copied(root: Path):
    for name in ("external/README.md", "external/mine/train.jsonl", "external/kept.jsonl"):
        file = root / "data" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    (root / ".gitignore").write_text((ROOT / ".gitignore").read_text(encoding="utf-8"))
    (root / "data/external/kept.jsonl.dvc").touch()
    for words in (["init", "-q"], ["add", "-A"]):
        subprocess.run(["git", *words], cwd=root, check=True)

    assert own_data.untracked(root) == own_data.to_copy(root) == ["data/external/mine"]
    assert "dvc add data/external/mine" in own_data.finding(root).told
    listed = subprocess.run(["git", "ls-files"], cwd=root, capture_output=True, text=True)
    assert "data/external/kept.jsonl.dvc" in listed.stdout.split()
    assert "data/external/kept.jsonl" not in listed.stdout.split()


@pytest.mark.parametrize("path", [None, "/nowhere"])
def test_where_git_knows_no_repository_it_is_not_said_to_track_anything(
    path: str | None, root: Path, monkeypatch: pytest.MonkeyPatch
):
    file = root / "data/external/mine.jsonl"
    file.parent.mkdir(parents=True)
    file.touch()
    if path:  # where no git is installed
        monkeypatch.setenv("PATH", path)

    found = own_data.finding(root)

    assert (found.state, found.told.rpartition(": ")[2]) == ("note", "git init")
    assert own_data.untracked(root) == own_data.to_copy(root) == []


def test_an_entry_of_a_stage_without_outs_is_whole():
    assert dvc_locks.whole({"cmd": "echo done"})
    assert not dvc_locks.whole({"cmd": "x", "outs": [{"path": "a", "hash": "md5", "md5": "1"}]})


def test_drafts_are_removed_be_they_files_or_folders(tmp_path: Path):
    draft = tmp_path / "data/students/.base.tmp"
    draft.mkdir(parents=True)
    (draft / "weights").write_bytes(b"x" * 10)
    (tmp_path / "data/.a.jsonl.tmp").touch()
    (found,) = repair.drafts(tmp_path)
    assert found.fault.startswith("2 drafts")
    found.mend()
    assert [*repair.drafts(tmp_path)] == []
    assert (tmp_path / "data/students").is_dir()
