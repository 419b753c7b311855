"""What is refused in params.yaml, and that our view of it is DVC's."""

from pathlib import Path

import pytest
from dvc.utils.serialize import load_yaml

from redistill.console.exceptions import RefusedError
from redistill.diagnosis.mine import MineSettings
from redistill.rounds import branches as branching
from redistill.settings import sections
from tests.imports import ROOT


def changed(tmp_path: Path, old: str, new: str) -> Path:
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    assert old in text
    file = tmp_path / "params.yaml"
    file.write_text(text.replace(old, new, 1), encoding="utf-8")
    return file


def test_the_shipped_settings_are_well_formed():
    assert check_params.check(ROOT / "params.yaml") > 10


@pytest.mark.parametrize("file", sorted((ROOT / "params").glob("*.yaml")), ids=lambda f: f.name)
def test_the_settings_of_larger_runs_are_well_formed(file: Path):
    assert check_params.check(file) > 10


def test_the_settings_of_the_ladder_are_the_shipped_ones_and_arms():
    shipped, ladder = (
        sections.read(ROOT / name) for name in ("params.yaml", "params/embedded-ladder.yaml")
    )
    arms = ladder.pop("arms")
    branches = ladder.pop("branches")

    assert shipped.pop("arms") == {}
    assert branches == {**shipped.pop("branches"), **arms}
    assert ladder == shipped
    assert {arm["like"] for arm in arms.values()} == {"r1", "r2"}
    assert {arm["feedback"] for arm in arms.values()} == {"none", "verdict", "shuffled", "error"}


def test_our_reading_is_that_of_dvc():
    assert sections.read(ROOT / "params.yaml") == load_yaml(str(ROOT / "params.yaml"))


def test_a_misspelt_key_is_refused_with_the_nearest_name(tmp_path: Path):
    file = changed(tmp_path, "alpha: 0.1", "alhpa: 0.1")

    with pytest.raises(RefusedError, match=r"mine.alhpa: unknown key; did you mean 'alpha'") as it:
        file.section("mine", MineSettings)
    assert it.value.code == 78


def test_a_misspelt_section_is_refused_with_the_nearest_name(tmp_path: Path):
    file = changed(tmp_path, "\nmine:", "\nmien:")

    with pytest.raises(RefusedError, match="no section 'mine'; did you mean 'mien'"):
        file.section("mine", MineSettings)
    with pytest.raises(RefusedError, match="mien: nothing reads this section; did you mean 'mine'"):
        check_params.check(file)


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("alpha: 0.1", "alpha: yes please", "mine.alpha"),
        ("seed: 1", "seed: -1", "seed: expected a whole number"),
        ("task: wordproblems", "task: ../../etc", "is not the name of a task"),
        ("task: wordproblems", "task: sudoku", "no redistill/tasks/sudoku.py"),
        ("teacher: tutor", "teacher: oracle", "no redistill/teachers/oracle.py"),
        ("grader: numeric", "grader: mood", "no redistill/graders/mood.py"),
        ("control: one-shot-matched", "control: none-such", "no branch 'none-such'"),
        ("r1: {from: r0", '"r1; touch x": {from: r0', "is not a name such as r1"),
        ("r1: {from: r0", "r1: {from: r9", "there is no branch 'r9'"),
        ("rationales: r2", "rationales: r1", "a round is taught its own rationales"),
        ("seed: 1", "seed: 1\nseed: 2", "duplicate key"),
    ],
)
def test_a_wrong_value_is_refused_by_name(old: str, new: str, fault: str, tmp_path: Path):
    with pytest.raises(RefusedError, match=fault):
        check_params.check(changed(tmp_path, old, new))


def test_the_rounds_come_in_order_and_controls_after_them(tmp_path: Path):
    file = changed(
        tmp_path,
        "  r1: {from: r0",
        "  r10: {from: r3, rationales: r10, start: base, times: 1}\n  r1: {from: r0",
    )

    assert branching.rounds(sections.read(file)) == ["r0", "r1", "r2", "r3", "r10"]
    assert list(branching.branches(sections.read(file)))[-1] == "one-shot-matched"
