"""One store under several names: its lock is that of the file, whatever it is called."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from redistill.console.exceptions import RefusedError
from redistill.llm import store
from tests.paid.run import Run, solving
from tests.paid.server import Script, Server
from tests.paid.test_kills import wait_for
from tests.paid.test_store import bodies, chat, put

HOLD = (
    "import sys; from pathlib import Path; from redistill.llm import store\n"
    "with store.writing(Path(sys.argv[1])): print('open', flush=True); sys.stdin.read()"
)


def file_link(real: Path, named: Path) -> Path:
    named.symlink_to(real)
    return named


def folder_link(real: Path, named: Path) -> Path:
    named.symlink_to(real.parent)
    return named / real.name


def way_round(real: Path, named: Path) -> Path:
    return real.parent / ".." / real.parent.name / real.name


def from_here(real: Path, named: Path) -> Path:
    return Path(os.path.relpath(real))


@contextmanager
def held(file: Path) -> Iterator[None]:
    """Another process that writes the store *file*."""
    words = [sys.executable, "-c", HOLD, str(file)]
    other = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == b"open\n"
        yield
    finally:
        other.communicate()


@pytest.mark.parametrize("name", [file_link, folder_link, way_round, from_here])
@pytest.mark.parametrize("made", [True, False], ids=["there", "new"])
def test_a_second_writer_under_another_name_is_refused(
    made: bool, name: Callable[[Path, Path], Path], tmp_path: Path
):
    real = tmp_path / "a/store.sqlite"
    real.parent.mkdir()
    if made:
        put(real, 1, chat("4"))
    other = name(real, tmp_path / "named")

    with held(real), pytest.raises(RefusedError, match="is being written by pid") as refusal:
        store.Writer(other)
    assert refusal.value.code == 75
    with held(other), pytest.raises(RefusedError, match="is being written by pid"):
        store.Writer(real)
    put(other, 2, chat("5"))
    assert len(bodies(real, 3)) == len(bodies(other, 3)) == 1 + made
    assert {file.name for file in real.parent.iterdir()} == {"store.sqlite", "store.sqlite.lock"}


def test_a_store_with_two_names_in_folders_is_read_and_not_written(tmp_path: Path):
    real, twin = tmp_path / "s", tmp_path / "t"
    put(real, 1, chat("4"))
    twin.hardlink_to(real)

    for file in (real, twin):
        with pytest.raises(RefusedError, match="has 2 names") as refusal:
            store.Writer(file)
        assert refusal.value.code == 65
        assert len(bodies(file, 2)) == 1
    twin.unlink()
    put(real, 2, chat("5"))


def test_two_checkouts_with_one_linked_store_stay_within_one_budget(
    serve: Callable[[Script], Server], tmp_path: Path
):
    server = serve(solving(0.3))
    budget = {"calls": 8, "tokens": None, "cost": None}
    one, two = tmp_path / "one", tmp_path / "two"
    runs = []
    for root in (one, two):
        root.mkdir()
        runs.append(Run(root, server.url, 6, spending={"budget": budget}))
    runs[1].settings["openai"]["body"]["max_tokens"] = 49  # other requests than the first one's
    runs[1].save()
    (two / "store.sqlite").symlink_to(one / "store.sqlite")
    process = runs[0].start("generate", REDISTILL_CONCURRENCY="1")
    wait_for(lambda: len(server.calls) >= 1, process)

    said = runs[1].stage("generate", code=75)
    process.communicate(timeout=20)
    over = runs[1].stage("generate", code=3)

    assert f"pid {process.pid}" in said
    assert "the budget is reached" in over
    assert len(server.calls) == 8
