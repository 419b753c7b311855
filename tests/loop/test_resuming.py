"""Trainings that are killed, and what becomes of them; each scene runs in a process of its own."""

import json
from pathlib import Path

import pytest

from tests import forks
from tests.imports import ROOT


def scene(name: str, folder: Path) -> dict:
    ran = forks.run(
        "tests.loop.training",
        [name, str(folder)],
        folder,
        PYTHONPATH=str(ROOT),
        REDISTILL_THREADS="1",
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


@pytest.mark.parametrize(
    ("name", "resumed"),
    [
        ("killed", 4),
        ("killed with dropout", 1),
        ("killed by tokens", 2),
        ("killed in save", 4),
        pytest.param("killed in any save", 8, marks=pytest.mark.slow),
    ],
)
def test_a_killed_training_goes_on_to_the_same_losses_and_the_same_weights(
    name: str, resumed: int, tmp_path: Path
):
    found = scene(name, tmp_path)

    for moment, result in found.items():
        assert result["died"] == -9, moment
        assert result["code"] == 0, moment
        assert result["same"], moment
        assert result["same_losses"], moment
        assert result["same_figures"], moment
        assert result["left"] == [], moment
    told = [result["told"] for result in found.values()]
    assert sum("goes on from the checkpoint" in words for words in told) == resumed
    if name.endswith("save"):  # half-written ones are skipped, and named
        assert all("skipped checkpoint-9: " in words for words in told)
        assert all("from the checkpoint of step 6" in words for words in told)


def test_a_damaged_checkpoint_is_skipped_with_the_file_and_both_hashes(tmp_path: Path):
    for name, result in scene("corrupted", tmp_path).items():
        assert result["code"] == 0, name
        assert result["same"], name
        assert all(part in result["told"] for part in result["expected"]), name
        assert "goes on from the checkpoint of step 6" in result["told"], name


def test_a_training_that_runs_out_of_memory_says_what_to_lower(tmp_path: Path):
    found = scene("exhausted", tmp_path)

    assert found["code"] == 70
    assert "64 rows at a time" in found["answer"]
    assert "the longest of 45" in found["answer"]
    assert "train.accumulate" in found["answer"]
    assert "train.checkpointing" in found["answer"]
