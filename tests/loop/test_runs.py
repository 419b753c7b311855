"""Whole runs of their own: twice alike, in a clone, with other seeds, settings and problems."""

import json
import shutil
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from redistill.checks import check_params
from tests.loop.projects import Finished, Project


@pytest.mark.slow
def test_another_seed_is_an_experiment_of_dvc(tmp_path: Path):
    made = Project(tmp_path)
    made.repro()
    first = made.hashes()

    made.dvc("exp", "run", "-S", "seed=2")

    assert made.hashes()["data/problems/test.jsonl"] != first["data/problems/test.jsonl"]


@pytest.mark.slow
def test_a_sweep_runs_each_seed_once_and_gathers_them(tmp_path: Path):
    made = Project(tmp_path)

    first = made.redistill("sweep", "--seeds", "1", "2", "--set", "train.steps=1")
    again = made.redistill("sweep", "--seeds", "2", "1", "--set", "train.steps=1")

    found = json.loads((tmp_path / "metrics/sweep.json").read_text())
    best = [json.loads((tmp_path / f"metrics/seeds/seed{n}.json").read_text()) for n in (1, 2)]
    assert first.count("Running stage 'report'") == 2
    assert "Running stage" not in again
    assert found["seeds"] == [1, 2]
    assert found["commands"]["2"] == "dvc exp run --set-param=seed=2 --set-param=train.steps=1"
    assert found["comparisons"]["chosen"]["one-shot, step-matched"]["n"] == 24
    assert [file["best"]["control_steps"] for file in best] == [4, 4]
    assert [file["ladder"]["chosen"] for file in best] == [*found["chosen"].values()]


@pytest.fixture(scope="module")
def twice(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, Project]:
    """A run, all of it committed, and a clone of it that has run a second time, from nothing."""
    first, ran = finished(tmp_path_factory.mktemp("first"))
    first.commit("run")
    second = Project.at(tmp_path_factory.mktemp("second"))
    first.git("clone", "-q", ".", str(second.root))
    (second.root / "dvc.lock").unlink()
    assert set(second.repro()) == set(ran)
    return first, second


def test_two_clean_runs_give_the_same_hashes_and_the_same_lock(twice: tuple[Project, Project]):
    first, second = twice

    assert second.hashes() == first.hashes()
    assert len(second.hashes()) > 20
    assert (second.root / "dvc.lock").read_bytes() == (first.root / "dvc.lock").read_bytes()


def test_a_second_run_leaves_nothing_to_commit(twice: tuple[Project, Project]):
    _, second = twice

    assert second.git("status", "--porcelain", "-uall") == ""
    assert (second.root / "metrics/timing/train/r0.json").is_file()


@pytest.mark.processes
@pytest.mark.parametrize(
    ("last", "made"),
    [
        ("prepare", {"data/problems/train.jsonl", "data/problems/held-out.jsonl"}),
        pytest.param(
            "mine@r0",
            {"data/students/r0", "data/completions/r0", "data/errors/r0.jsonl"},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_what_is_run_in_processes_of_its_own_is_what_forks_make(
    last: str, made: set[str], finished: Finished, tmp_path: Path
):
    own = Project(tmp_path / "own", REDISTILL_TEST_FORKS="0")
    there, _ = finished(tmp_path / "forked")

    own.dvc("repro", last)

    hashes = own.hashes()
    assert made <= hashes.keys()
    assert hashes == {path: md5 for path, md5 in there.hashes().items() if path in hashes}


def test_a_clone_pulls_the_run_and_has_nothing_to_do(finished: Finished, tmp_path: Path):
    project, _ = finished(tmp_path / "project")
    project.dvc("remote", "add", "-q", "-d", "kept", str(tmp_path / "remote"))
    project.dvc("push", "-q")
    project.commit("run")
    project.git("clone", "-q", ".", str(tmp_path / "clone"))
    clone = Project.at(tmp_path / "clone")

    assert clone.stale(), "nothing of the data is in git"
    clone.dvc("pull", "-q")

    assert clone.repro() == []
    assert clone.hashes() == project.hashes()
    assert clone.git("status", "--short") == ""
    shutil.rmtree(project.root / "metrics/timing")  # times stay where the run was
    assert clone.redistill("rounds") == project.redistill("rounds")


def test_sections_that_a_run_does_not_read_may_be_left_out_and_nothing_becomes_stale(
    finished: Finished, tmp_path: Path
):
    made, _ = finished(tmp_path)
    file = tmp_path / "params.yaml"
    content = YAML(typ="safe").load(file)
    assert not any(content.get(name) for name in check_params.ABSENT)
    kept = {name: value for name, value in content.items() if name not in check_params.ABSENT}
    YAML(typ="safe").dump(kept, file)

    assert made.stale() == set()
    assert made.repro() == []
    assert "well-formed" in made.redistill("params")


@pytest.mark.parametrize("again", [["train@r0"], pytest.param([], marks=pytest.mark.slow)])
def test_a_lora_that_is_null_trains_what_one_that_is_not_read_does(
    again: list[str], finished: Finished, tmp_path: Path
):
    made, _ = finished(tmp_path)
    before = made.hashes()
    content = YAML(typ="safe").load(tmp_path / "params.yaml")
    YAML(typ="safe").dump(content | {"lora": None}, tmp_path / "params.yaml")

    stale = made.stale()
    ran = made.repro(*again)

    assert {name.split("@")[0] for name in stale} == {"train", "probe"}
    assert set(ran) == set(again or stale)
    assert made.hashes() == before
    assert made.stale() == stale - set(ran)


def test_a_task_with_your_own_file_runs_and_a_test_row_in_train_is_refused(tmp_path: Path):
    made = Project(tmp_path)
    made.dvc("repro", "prepare")
    for split in ("train", "test"):
        shutil.copy(tmp_path / f"data/problems/{split}.jsonl", tmp_path / "data/external")
    own = {"train": "data/external/train.jsonl", "dev": None, "dev_share": 0.3}
    own |= {"test": "data/external/test.jsonl"}
    own |= {"take_train": 10, "take_dev": 4, "take_test": None}
    yaml = YAML()
    content = yaml.load(tmp_path / "params.yaml")
    content["prepare"]["task"] = "jsonl"
    content["jsonl"] = own
    del content["wordproblems"]  # which nothing reads any more
    yaml.dump(content, tmp_path / "params.yaml")

    made.dvc("repro", "prepare")
    sizes = json.loads((tmp_path / "metrics/problems/all.json").read_text())["sizes"]
    assert sizes["train"] == 10
    assert sizes["test"] == 12
    assert 1 <= sizes["dev"] <= 4

    leaked = (
        (tmp_path / "data/external/test.jsonl")
        .read_text()
        .split("\n")[0]
        .replace("wp-test", "leak")
    )
    with (tmp_path / "data/external/train.jsonl").open("a") as file:
        file.write(leaked + "\n")
    content["jsonl"] |= {"take_train": None, "take_dev": None}
    yaml.dump(content, tmp_path / "params.yaml")
    said = made.dvc("repro", "prepare", fails=True)
    assert "asks the same question as" in said
