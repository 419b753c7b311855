"""One byte of anything that dvc.lock names, or of a stored answer, is wrong: it is named."""

import json
import os
import random
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from redistill.cli import verify
from redistill.cli.main import main
from redistill.console.exceptions import RefusedError
from tests import forks
from tests.paid.test_store import put

CACHE = Path(verify.CACHE)
CORRUPTIONS = 200
PIPELINE = """
stages:
  make:
    cmd: "true"
    outs:
      - data/rationales/r0.jsonl
      - data/students/r0
    metrics:
      - metrics/r0.json: {cache: false}
"""


def run(*words: str) -> str:
    if words[0] == "dvc":
        ran = forks.run("dvc", words[1:])
    else:
        ran = subprocess.run(words, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A repository with a file, a folder and a metric under DVC, all committed to its cache."""
    root = tmp_path_factory.mktemp("project")
    chance = random.Random(1)
    here = Path.cwd()
    os.chdir(root)
    run("git", "init", "-q")
    run("dvc", "init", "-q")
    run("dvc", "config", "core.analytics", "false")
    Path("dvc.yaml").write_text(PIPELINE, encoding="utf-8")
    weights = [f"data/students/r0/{n}/weights-{n}" for n in range(4)]
    for name in ["data/rationales/r0.jsonl", "metrics/r0.json", *weights]:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(chance.randbytes(chance.randint(1, 3000)))
    Path("metrics/r0.json").write_text('{"accuracy": 0.5}')
    run("dvc", "commit", "-f")
    yield root
    os.chdir(here)


def check() -> list[str]:
    return verify.verify(Path(), cache=CACHE, database=Path("none")).faults


@contextmanager
def changed(file: Path, content: bytes) -> Iterator[None]:
    """*file* with other *content* for a while, in a mode in which DVC trusts it."""
    before, mode = file.read_bytes(), file.stat().st_mode
    file.chmod(0o644)
    file.write_bytes(content)
    file.chmod(0o444)
    yield
    file.chmod(0o644)
    file.write_bytes(before)
    file.chmod(mode)


def known() -> list[Path]:
    files = [f for f in CACHE.rglob("*") if f.is_file()]
    for folder in ("data", "metrics"):
        files += [f for f in Path(folder).rglob("*") if f.is_file() and f.name != ".gitignore"]
    return sorted(files)


def test_what_is_as_it_was_written_has_no_fault(project: Path):
    report = verify.verify(Path(), cache=CACHE, database=Path("none"))

    assert report.faults == []
    assert report.hashed == {"working tree": 6, "cache": 6}  # the listing; the metric is not cached
    assert report.absent == {"working tree": 0, "cache": 1}


def test_every_one_of_two_hundred_wrong_bytes_is_named(project: Path):
    chance = random.Random(2)
    files = known()
    named = 0

    for _ in range(CORRUPTIONS):
        file = chance.choice(files)
        content = bytearray(file.read_bytes())
        content[chance.randrange(len(content))] ^= chance.randint(1, 255)
        with changed(file, bytes(content)):
            faults = check()
        named += len(faults) == 1 and f"{file} (" in faults[0] and "expected MD5" in faults[0]

    print(f"V1 {named} of {CORRUPTIONS} single-byte corruptions named")
    assert len(files) == 12
    assert named == CORRUPTIONS
    assert check() == []


def test_a_file_that_is_cut_off_or_gone_is_named(project: Path):
    for file in known():
        content = file.read_bytes()
        with changed(file, content[:-1]):
            assert [f"{file} (" in fault for fault in check()] == [True]
    lesson, held = Path("data/rationales/r0.jsonl"), Path("held")
    lesson.rename(held)
    assert check() == []  # dvc checkout brings it back
    copy = next(f for f in CACHE.rglob("*") if f.is_file() and f.read_bytes() == held.read_bytes())
    copy.rename("held-copy")
    faults = check()
    Path("held-copy").rename(copy)
    held.rename(lesson)
    assert len(faults) == 1
    assert "data/rationales/r0.jsonl: in neither the working tree nor the cache" in faults[0]


def test_a_folder_without_its_listing_is_held_against_the_hash_of_its_own(project: Path):
    listing = next(CACHE.rglob("*.dir"))
    weights = next(Path("data/students/r0").rglob("weights-1"))
    listing.rename("held")
    whole = check()
    with changed(weights, b"other"):
        broken = check()
    Path("held").rename(listing)

    assert whole == []
    assert len(broken) == 1
    assert f"data/students/r0: its listing {listing} is absent" in broken[0]


def test_links_and_files_that_were_added_to_a_folder_are_named(project: Path):
    folder = Path("data/students/r0")
    added = {
        folder / "to-file": lambda path: path.symlink_to("/etc/hostname"),
        folder / "to-folder": lambda path: path.symlink_to("/etc"),
        folder / "to-nothing": lambda path: path.symlink_to("nowhere"),
        folder / "1/file": lambda path: path.touch(),
    }
    for path, make in added.items():
        make(path)
        faults = check()
        path.unlink()
        assert len(faults) == 1
        assert faults[0].startswith(f"data/students/r0: {path}: ")
    weights, held = folder / "1/weights-1", Path("held").absolute()
    weights.rename(held)
    weights.symlink_to(held)
    faults = check()
    held.replace(weights)

    assert [str(weights) in fault and "a link to" in fault for fault in faults] == [True]
    assert check() == []


def test_an_out_that_dvc_lock_has_under_another_path_is_named(project: Path):
    lock = Path("dvc.lock")
    before = lock.read_text(encoding="utf-8")
    lock.write_text(before.replace("rationales/r0.jsonl", "rationales/r9.jsonl"), encoding="utf-8")
    bad = CliRunner().invoke(main, ["verify"])
    lock.write_text(before, encoding="utf-8")

    assert bad.exit_code == 65
    assert "dvc.lock: make: data/rationales/r9.jsonl: no out of this stage" in bad.stdout
    assert "dvc.lock: make: data/rationales/r0.jsonl: is an out in dvc.yaml" in bad.stdout


def test_what_a_stage_is_writing_is_left_out_and_told(project: Path):
    place = Path("data/rationales/r0.jsonl")
    rwlock = Path(".dvc/tmp/rwlock")
    by = {"pid": os.getpid(), "cmd": "dvc repro"}
    rwlock.parent.mkdir(exist_ok=True)
    rwlock.write_text(json.dumps({"write": {str(place.absolute()): by}, "read": {}}))
    with changed(place, b"half of"):
        beside = CliRunner().invoke(main, ["verify"])
        rwlock.write_text(rwlock.read_text().replace(str(os.getpid()), "999999999"))
        after = CliRunner().invoke(main, ["verify"])
    rwlock.unlink()

    assert beside.exit_code == 0, beside.output
    told = f"{place}: left out, pid {os.getpid()} (dvc repro) is writing it"
    assert beside.stdout.startswith(told)
    assert after.exit_code == 65


def test_the_command_prints_a_line_for_each_fault_and_ends_with_65(project: Path):
    good = CliRunner().invoke(main, ["verify"])
    with changed(Path("metrics/r0.json"), b"{}"):
        bad = CliRunner().invoke(main, ["verify"])

    assert good.exit_code == 0, good.output
    assert "6 files and 6 objects of the cache are what dvc.lock says" in good.output
    assert bad.exit_code == 65
    assert bad.stdout.count("\n") == 1
    assert bad.stdout.startswith("metrics/r0.json: metrics/r0.json (working tree): expected MD5")


def test_dvc_itself_calls_a_damaged_object_up_to_date(project: Path):
    lesson = Path("data/rationales/r0.jsonl")
    copy = next(
        f for f in CACHE.rglob("*") if f.is_file() and f.read_bytes() == lesson.read_bytes()
    )

    with changed(copy, copy.read_bytes()[::-1] + b"!"):
        status = run("dvc", "status")
        faults = check()

    assert "up to date" in status
    assert [str(copy) in fault for fault in faults] == [True]


@pytest.mark.parametrize("content", ["", "schema: '2.0'\n", "stages: {a: [", "a: 1\na: 2\n"])
def test_a_lock_file_that_a_crash_left_is_refused(content: str, tmp_path: Path):
    (tmp_path / "dvc.lock").write_text(content, encoding="utf-8")

    with pytest.raises(RefusedError, match=r"dvc.lock: damaged.*git checkout dvc.lock"):
        verify.verify(tmp_path, cache=tmp_path, database=tmp_path / "none")


def test_a_folder_with_a_manifest_is_checked_by_whoever_knows_manifests(project: Path):
    folder = Path("data/published/r0")
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text("{}", encoding="utf-8")
    found = verify.manifests(Path())

    report = verify.verify(
        Path(), cache=CACHE, database=Path("none"),
        folders={path: lambda path: [f"{path.name}.jsonl: damaged"] for path in found},
    )  # fmt: skip
    (folder / "manifest.json").unlink()

    assert found == [folder]
    assert report.faults == ["data/published/r0: r0.jsonl: damaged"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("update attempts set body = x'00' where id = 2", "attempt 2: its body is not what was"),
        ("update attempts set status = 201 where id = 1", "attempt 1: its body is not what was"),
        ("update requests set request = '{}'", "its text is not what was written"),
    ],
)
def test_a_stored_answer_that_is_not_what_was_written_is_named(
    change: str, told: str, project: Path, tmp_path: Path
):
    database = tmp_path / "store.sqlite"
    for number in range(3):
        put(database, number, f"body {number}".encode())
    whole = verify.verify(Path(), cache=CACHE, database=database).faults
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(change)

    faults = verify.verify(Path(), cache=CACHE, database=database).faults

    assert whole == []
    assert faults
    assert told in faults[0]


def test_a_store_that_is_no_store_is_a_fault(project: Path, tmp_path: Path):
    database = tmp_path / "store.sqlite"
    database.write_bytes(b"SQLite format 3\x00" + b"x" * 5000)

    faults = verify.verify(Path(), cache=CACHE, database=database).faults

    assert len(faults) == 1
    assert "damaged, or not a record store" in faults[0] or "cannot be" in faults[0]
