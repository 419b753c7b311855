"""Files and folders are there whole or not at all, and a command ends in one line."""

import errno
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import pytest

from redistill.cli.main import main
from redistill.console import disk, drafts, timing
from redistill.console.exceptions import IO, RefusedError
from redistill.llm import line_file
from redistill.problems import held_out, sets
from redistill.problems.held_out import HeldOut
from redistill.records import json_file, jsonl
from redistill.records.types import Problem
from tests.imports import ROOT

PROBLEMS = [Problem(id=f"p{n:03}", question="q" * 200, answer="1") for n in range(40)]
FILES: dict[str, Callable[[Path], object]] = {
    "jsonl": lambda path: jsonl.write(path, PROBLEMS),
    "json": lambda path: json_file.write_json(path, {"a": "x" * 9000}),
    "text": lambda path: json_file.write_text(path, "x" * 9000),
    "lines": lambda path: line_file.write(path, [b"x" * 9000]),
    "held out": lambda path: held_out.write(path, HeldOut()),
    "timing": lambda path: timing.write(path, timing.Timing(1.0, 2)),
}
FOLDERS: dict[str, Callable[[Path], object]] = {
    "sets": lambda path: jsonl.write_all(path, {"a": PROBLEMS, "b": PROBLEMS}),
    "tests": lambda path: sets.write_tests(path, {"a": sets.ProblemSet(PROBLEMS)}),
}


@contextmanager
def full_after(size: int) -> Iterator[None]:
    """Let no file of this process grow over *size* bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def refused(write: Callable[[Path], object], place: Path, size: int) -> RefusedError | None:
    try:
        with full_after(size):
            write(place)
    except RefusedError as refusal:
        return refusal
    return None


def tree(folder: Path) -> dict[str, bytes | None]:
    return {
        str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None
        for p in folder.rglob("*")
    }


@pytest.mark.parametrize("name", [*FILES, *FOLDERS])
@pytest.mark.parametrize("size", [0, 10, 1000, 8000])
def test_what_cannot_be_written_whole_leaves_nothing(name: str, size: int, tmp_path: Path):
    write = (FILES | FOLDERS)[name]
    write(tmp_path / "old")
    before = tree(tmp_path)
    for place in (tmp_path / "old", tmp_path / "new/deep/file"):
        refusal = refused(write, place, size)
        if refusal is None:
            assert name in ("held out", "timing")
            shutil.rmtree(tmp_path / "new", ignore_errors=True)
            continue
        assert refusal.code == IO
        assert "File too large" in str(refusal)
        assert str(place) in str(refusal)
        assert tree(tmp_path) == before


@pytest.mark.parametrize("name", [*FILES])
def test_no_writer_takes_a_device_a_pipe_a_socket_a_folder_or_a_link_to_one(
    name: str, tmp_path: Path
):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("/dev/null")
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(tmp_path / "socket"))
    before = sorted(os.listdir(tmp_path))
    places = [tmp_path / one for one in before]

    for place in (
        *places,
        Path("/dev/null"),
        Path("/dev/stdout"),
        Path("/dev/new"),
        Path("/proc/x"),
    ):
        with pytest.raises(RefusedError, match=r"name a file|name another") as it:
            FILES[name](place)
        assert it.value.code == IO
    assert sorted(os.listdir(tmp_path)) == before
    assert Path("/dev/null").is_char_device()


def test_what_is_written_together_takes_its_names_at_the_end_or_none(tmp_path: Path):
    json_file.write_text(tmp_path / "a", "old")
    with pytest.raises(RefusedError), full_after(100), drafts.together():  # noqa: PT012
        json_file.write_text(tmp_path / "a", "new")
        jsonl.write_all(tmp_path / "folder", {"x": []})
        json_file.write_text(tmp_path / "b", "x" * 1000)
    assert tree(tmp_path) == {"a": b"old"}

    with drafts.together():
        json_file.write_text(tmp_path / "a", "new")
        jsonl.write_all(tmp_path / "folder", {"x": []})
        assert (tmp_path / "a").read_text() == "old"
    assert tree(tmp_path) == {"a": b"new", "folder": None, "folder/x.jsonl": b"\n"}


def test_where_one_of_several_cannot_take_its_name_those_before_it_have_and_no_draft_is_left(
    tmp_path: Path,
):
    for name in "abc":
        json_file.write_text(tmp_path / name, "old")
    with pytest.raises(RefusedError, match=r"/b: Is a directory") as it, drafts.together():  # noqa: PT012
        for name in "abc":
            json_file.write_text(tmp_path / name, "new")
        (tmp_path / "b").unlink()
        (tmp_path / "b").mkdir()

    assert it.value.code == IO
    assert tree(tmp_path) == {"a": b"new", "b": None, "c": b"old"}


def test_a_folder_that_is_there_keeps_what_the_draft_lacks_unless_it_is_whole(tmp_path: Path):
    for name, content in (("a", "old"), ("manifest.json", "{}")):
        json_file.write_text(tmp_path / "f" / name, content)
    with drafts.folder(tmp_path / "f") as draft:
        (draft / "b").touch()
    assert sorted(os.listdir(tmp_path / "f")) == ["a", "b"]  # an old manifest lists other files
    with drafts.folder(tmp_path / "f", whole=True) as draft:
        (draft / "c").touch()
    assert tree(tmp_path) == {"f": None, "f/c": b""}


@pytest.mark.parametrize(
    "problem",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        Exception("Error while serializing: I/O error: No space left on device (os error 28)"),
        RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed"),
    ],
)
def test_a_full_disk_is_known_in_the_words_of_each_library(problem: Exception):
    refused = disk.refusal(problem, Path("here"))

    assert refused is not None
    assert refused.code == IO
    assert str(refused).startswith("here: ")
    assert "\n" not in str(refused)
    assert disk.refusal(ValueError("28")) is None
    assert disk.refusal(ConnectionRefusedError(errno.ECONNREFUSED, "refused")) is None


def run(*words: str, **more: object) -> "subprocess.CompletedProcess[str]":
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", *words]
    settled = {"stdout": subprocess.PIPE, "cwd": ROOT} | more
    return subprocess.run(command, env=env, stderr=subprocess.PIPE, text=True, **settled)


def test_a_full_or_closed_output_ends_in_one_line_and_74_and_a_reader_that_left_in_none():
    with open("/dev/full", "w") as full:
        ended = run("redistill.cli", "--help", stdout=full)
    assert (ended.returncode, ended.stderr.count("\n")) == (74, 1), ended.stderr
    shell = {"stdout": subprocess.DEVNULL, "preexec_fn": lambda: os.close(1)}
    ended = run("redistill.cli", "params", **shell)
    assert (ended.returncode, ended.stderr.count("\n")) == (74, 1), ended.stderr
    read, write = os.pipe()
    os.close(read)
    ended = run("redistill.cli", "params", stdout=write)
    os.close(write)
    assert (ended.returncode, ended.stderr) == (141, "")


STAGE = """
import sys, time, click
from pathlib import Path
from stages import Stage
from redistill.console import drafts
from redistill.records.json_file import write_text
@click.command(cls=Stage, name="toy")
def main():
    with drafts.together():
        write_text(Path(sys.argv[1] + "/a"), "x")
        Path(sys.argv[1] + "/up").touch()
        time.sleep(float(sys.argv[2]))
    click.echo("done")
place = sys.argv
main([])
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_stage_in_one_line_and_leaves_no_draft(
    number: signal.Signals, tmp_path: Path
):
    process = subprocess.Popen(
        [sys.executable, "-c", STAGE, str(tmp_path), "60"], cwd=ROOT, stderr=subprocess.PIPE,
        text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    while not (tmp_path / "up").exists():
        time.sleep(0.02)
    process.send_signal(number)
    _, said = process.communicate(timeout=20)

    assert process.returncode == 128 + number
    assert said == f"toy: stopped by {number.name}; nothing is written; dvc repro runs it again\n"
    assert os.listdir(tmp_path) == ["up"]


FREED = """
import os, signal, sys, time
from redistill.console import endings
class Held:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.001)
def work():
    Held()
    time.sleep(30)
    print("went on")
endings.run("toy", work, stopped="nothing is written")
"""


def test_a_signal_that_comes_while_an_object_is_freed_ends_the_stage_all_the_same():
    ended = subprocess.run(
        [sys.executable, "-c", FREED], cwd=ROOT, capture_output=True, text=True, timeout=20,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    told = "toy: stopped by SIGTERM; nothing is written\n"
    assert (ended.returncode, ended.stdout, ended.stderr) == (128 + signal.SIGTERM, "", told)


def test_a_stage_goes_on_without_a_reader(tmp_path: Path):
    read, write = os.pipe()
    os.close(read)
    ended = subprocess.run(
        [sys.executable, "-c", STAGE, str(tmp_path), "0"], cwd=ROOT, stdout=write,
        stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    os.close(write)

    assert (ended.returncode, ended.stderr) == (0, b"")
    assert (tmp_path / "a").read_text() == "x"


def commands(group: click.Command, *before: str) -> Iterator[tuple[str, ...]]:
    for name, command in getattr(group, "commands", {}).items():
        yield from commands(command, *before, name) or ()
        yield (*before, name)


@pytest.mark.parametrize("words", [*commands(main)], ids=" ".join)
def test_every_command_refuses_a_full_output(words: tuple[str, ...]):
    child = os.fork()
    if not child:
        full = os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, 1)
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
        try:
            main([*words, "--help"])
        except SystemExit as done:
            os._exit(int(done.code or 0))
        os._exit(99)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 74
