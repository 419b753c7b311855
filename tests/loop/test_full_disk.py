"""Every stage on a disk that is full, whatever it has written by then: one line and no change."""

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.imports import ROOT
from tests.loop.projects import Finished, Project

PAGE = 4096
SIZES = (0, 3000)  # of a file, at most
ROOM = (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)  # pages that are free
PIPELINE = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]
STAGES = [*PIPELINE]
FURTHER: dict[str, dict[str, dict[str, object]]] = {  # what the default leaves out, by stage
    "target": {"targets": {"wide": {"model": "embedded", "revision": None, "seed": 2}}},
    "take": {"sources": {"given": {
        "folder": "lessons", "hub": None, "revision": None, "version": "last", "max_loss": 1.0,
    }}},
    "pool": {"pools": {"two": {"of": "r0", "and": "r1"}}},
    "transfer": {"tables": {"across": {"alpha": 0.01}}},
}  # fmt: skip
# They try a student's small files out in the folder for temporary files, and say its files are odd
TRYING = {"check", "train"}
BEFOREHAND = " MB free, the student"  # what training refuses before it has written anything
WORDS = ("No space left on device", "File too large", "Read-only file system")


@dataclass
class Told:
    """How the stages ended that could not write, and which of them left half a thing."""

    stages: set[str] = field(default_factory=set)
    failed: int = 0
    refused: int = 0
    half: list[str] = field(default_factory=list)
    otherwise: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{{'stages': {len(self.stages)}, 'writes that failed': {self.failed}, 'refused "
            f"before a write': {self.refused}, 'left half a thing': {len(self.half)}, "
            f"'ended otherwise': {len(self.otherwise)}}}"
        )


def extend(project: Project) -> None:
    """Give the *project* a target, a source, a pool and a table, with the data that they read."""
    file, yaml = project.root / "params.yaml", YAML()
    content = yaml.load(file)
    for sections in FURTHER.values():
        content.update(sections)
    content["targets"]["wide"]["shape"] = dict(content["embedded"])
    yaml.dump(content, file)
    (published,) = (project.root / "data/published").glob("*/")
    shutil.copytree(published, project.root / "data/imported/lessons")


def further() -> dict[str, list[str]]:
    """The module and words of each stage that `extend` gave something to do."""
    found = {}
    for stage, sections in FURTHER.items():
        ((name, item),) = next(iter(sections.values())).items()
        command = PIPELINE[stage]["do"]["cmd"].replace("${key}", name)
        for key, value in item.items():
            command = command.replace(f"${{item.{key}}}", str(value))
        found[stage] = shlex.split(command)[3:]
    return found


def commands(project: Project) -> dict[str, list[str]]:
    """The module and words of a stage of each name that ran, and of those of `further`."""
    lock = YAML(typ="safe").load(project.root / "dvc.lock")["stages"]
    preferred = ("@r0", "@r1")
    ordered = sorted(lock, key=lambda name: name.endswith(preferred))  # the last one is taken
    ran = {name.partition("@")[0]: shlex.split(lock[name]["cmd"])[3:] for name in ordered}
    return ran | further()


def tree(root: Path) -> dict[str, bytes]:
    """All that a stage may write, byte for byte, hidden files too."""
    return {
        str(path.relative_to(root)): path.read_bytes() if path.is_file() else b""
        for top in ("data", "metrics", ".redistill")
        for path in (root / top).rglob("*")
    }


def differing(before: dict[str, bytes], after: dict[str, bytes]) -> list[str]:
    return sorted(key for key in before | after if before.get(key) != after.get(key))


def attempt(project: Project, stage: str, module: str, words: list[str], told: Told) -> bool:
    """Run a *stage* that cannot write it all, note how it ended, and say whether it went well."""
    before = tree(project.root)
    ran = project.run(module, *words)
    if ran.returncode == 0:
        return True
    told.stages.add(stage)
    last = ran.stderr.strip().split("\n")[-1]
    ours = last.startswith(f"{stage.partition('-')[0]}: ") and "Traceback" not in ran.stderr
    if ours and ran.returncode == 65 and BEFOREHAND in last:
        told.refused += 1
    elif ours and ran.returncode == 74 and any(word in last for word in WORDS):
        told.failed += 1
    else:
        told.otherwise.append(f"{stage}: {ran.returncode}: {ran.stderr[-600:]}")
    if changed := differing(before, tree(project.root)):
        told.half.append(f"{stage}: {changed}")
    return False


@pytest.fixture(scope="module")
def project(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = finished(tmp_path_factory.mktemp("limited") / "project")[0]
    made.more["PYTHONPATH"] = str(ROOT)  # where tests.limited is
    extend(made)
    return made


@pytest.fixture
def disk(finished: Finished, tmp_path: Path) -> Iterator[Project]:
    """The project on a disk of its own, but for the code, as where a package is installed."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = mount("-t", "tmpfs", "-o", "size=64m", "none", place)
    if mounted.returncode:
        pytest.skip(f"needs a right to mount a disk in memory: {mounted.stderr.strip()}")
    try:
        made = finished(place / "project")[0]
        extend(made)
        for code in ("redistill", "stages"):  # on a full disk Python leaves bytecode cut off
            shutil.move(made.root / code, tmp_path / code)
            (made.root / code).symlink_to(tmp_path / code)
        yield made
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def mount(*words: str | Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["mount", *words], capture_output=True, text=True)


@contextmanager
def full_but_for(place: Path, pages: int) -> Iterator[None]:
    """Have only so many *pages* free on the disk of *place*."""
    ballast = place / "ballast"
    free = os.statvfs(place).f_bavail * PAGE
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(free - pages * PAGE, PAGE))
    try:
        yield
    finally:
        ballast.unlink()


@pytest.mark.parametrize("stage", [name for name in STAGES if name not in TRYING])
def test_a_stage_whose_files_cannot_grow_ends_in_one_line_and_leaves_all_as_it_was(
    stage: str, project: Project
):
    module, *words = commands(project)[stage]
    told = Told()

    for size in SIZES:
        attempt(project, stage, "tests.limited", [str(size), module, *words], told)

    assert told.failed
    assert (told.half, told.otherwise) == ([], [])


@pytest.mark.slow
def test_no_stage_leaves_half_a_thing_however_little_room_the_disk_has(disk: Project):
    told = Told()

    for stage, (module, *words) in commands(disk).items():
        for pages in ROOM:
            with full_but_for(disk.root.parent, pages):
                went_well = attempt(disk, stage, module, words, told)
            if went_well:
                break

    print(f"\nD1 full disk: {told}")
    assert told.stages == {*STAGES}
    assert (told.half, told.otherwise) == ([], [])


def test_no_stage_leaves_half_a_thing_on_a_disk_that_cannot_be_written(disk: Project):
    told = Told()
    assert not mount("-o", "remount,ro", disk.root.parent).returncode

    for stage, (module, *words) in commands(disk).items():
        attempt(disk, stage, module, words, told)

    print(f"\nD1 read-only disk: {told}")
    assert told.stages == {*STAGES}
    assert (told.half, told.otherwise) == ([], [])
