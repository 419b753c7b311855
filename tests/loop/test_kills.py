"""DVC killed anywhere in the loop: what `redistill doctor --repair` brings back, what reruns."""

import random
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from ruamel.yaml import YAML

from redistill.cli import dvc_locks, repair
from tests import forks
from tests.imports import ROOT
from tests.loop.projects import Finished, Project

SPANS = {"*": 400, "dvc.lock": 6, "rwlock": 40}  # a kill comes within as many changes of the file
SECONDS = 0.8  # into a stage, at most
WARMED = re.compile(r"Running stage '(train@[^']+)'")
TRAINING = re.compile(r"stages\.train --branch (\S+)")


@dataclass
class Figures:
    """What a number of kills came to."""

    kills: int = 0
    loops: int = 0
    repairs: Counter = field(default_factory=Counter)
    again: list[str] = field(default_factory=list)
    differing: list[str] = field(default_factory=list)


def entries(root: Path) -> dict:
    return YAML(typ="safe").load((root / "dvc.lock").read_text(encoding="utf-8"))["stages"]


def finished_trainings(root: Path) -> set[str]:
    """The trainings that DVC's run cache knows, with the student in the cache."""
    found = set()
    for file in (root / ".dvc/cache/runs").glob("*/*/*"):
        entry = YAML(typ="safe").load(file.read_text(encoding="utf-8"))
        if isinstance(entry, dict) and (named := TRAINING.search(str(entry.get("cmd", "")))):
            places = [root / ".dvc/cache/files/md5" / o["md5"][:2] / o["md5"][2:]
                      for o in entry["outs"]]  # fmt: skip
            if all(place.is_file() for place in places):
                found.add(f"train@{named[1]}")
    return found


def killed(project: Project, number: int, share: float, file: str) -> tuple[bool, str]:
    """Whether `dvc repro` was killed at its *number*th change of *file*, and what it said."""
    words = [str(number), str(share), file, "repro"]
    env = {**project.env, "PYTHONPATH": str(ROOT)}
    ran = forks.run("tests.loop.killing", words, project.root, **env)
    for process in psutil.process_iter():  # the stage, which ends with DVC where it is no fork
        try:
            if Path(process.cwd()).is_relative_to(project.root):
                process.kill()
                process.wait(10)
        except (psutil.Error, OSError):
            continue
    assert ran.returncode in (0, -9), ran.stdout + ran.stderr
    return ran.returncode == -9, ran.stdout


def kill_at_random(root: Path, kills: int, reference: dict) -> Figures:
    """Kill loop after loop at random moments, mend what that leaves, and count what is lost."""
    chance, figures = random.Random(kills), Figures()
    while figures.kills < kills or figures.loops == 0:
        project = Project(root / f"loop{figures.loops}")
        while True:
            known = finished_trainings(project.root)
            dies = figures.kills < kills
            file = chance.choice([*SPANS])
            number = chance.randint(1, SPANS[file]) if dies else -1
            was_killed, said = killed(project, number, chance.uniform(0, SECONDS), file)
            figures.again += sorted(known & set(WARMED.findall(said)))
            if not was_killed:
                break
            figures.kills += 1
            for found in repair.faults(project.root):
                figures.repairs[found.check] += found.state == "fails" or found.check == "drafts"
            for _ in repair.repair(project.root):
                pass
            assert repair.faults(project.root) == []
            assert dvc_locks.damage(project.root) is None
        figures.loops += 1
        now = entries(project.root)
        figures.differing += [name for name in reference if now.get(name) != reference[name]]
    return figures


def told(figures: Figures) -> str:
    mended = dict(sorted(figures.repairs.items()))
    return (
        f"K9 dvc repro: {{'kills': {figures.kills}, 'loops': {figures.loops}, 'mended': {mended}, "
        f"'finished trainings run again': {len(figures.again)}, "
        f"'outs that differ': {len(figures.differing)}}}"
    )


@pytest.mark.parametrize("kills", [3, pytest.param(10, marks=pytest.mark.slow)])
def test_kills_anywhere_in_the_loop_lose_no_training_and_end_in_the_same_hashes(
    kills: int, finished: Finished, tmp_path: Path
):
    reference = entries(finished(tmp_path / "whole")[0].root)

    figures = kill_at_random(tmp_path, kills, reference)

    print(f"\n{told(figures)}")
    assert (figures.again, figures.differing) == ([], [])


@pytest.mark.slow
def test_a_hundred_kills(finished: Finished, tmp_path: Path):
    reference = entries(finished(tmp_path / "whole")[0].root)

    figures = kill_at_random(tmp_path, 100, reference)

    print(f"\n{told(figures)}")
    assert figures.kills == 100
    assert (figures.again, figures.differing) == ([], [])
