"""What is refused in params.yaml, and that our view of it is DVC's."""

from pathlib import Path

import pytest
from dvc.utils.serialize import load_yaml

from redistill.checks import check_params
from redistill.console.exceptions import RefusedError
from redistill.diagnosis.mine import MineSettings
from redistill.rounds import branches as branching
from redistill.rounds import targets
from redistill.settings import sections
from tests.imports import ROOT
from tests.settings import added, changed, of, shipped, text

R4 = "  r4: {from: r3, rationales: r4, start: base, times: 1, lessons: latest, probe: true}\n"
OF_R4 = "  r4: {from: r3, of: r3, like: r3, start: base}\n"


def test_the_shipped_settings_are_well_formed():
    assert check_params.check(shipped()) > 10


def test_the_settings_of_the_ladder_are_the_shipped_ones_and_arms():
    ours, ladder = (dict(shipped(*names).content) for names in ((), ("embedded-ladder",)))
    own = {name: ours.pop(name) for name in ("branches", "rewrites")}
    more = {name: ladder.pop(name) for name in own}
    arms = {name: line for name, line in more["rewrites"].items() if name not in own["rewrites"]}

    for name, lines in own.items():
        assert {key: line for key, line in more[name].items() if key not in arms} == lines
    assert ladder.pop("lora") is None  # nothing there reads it
    assert ours.pop("lora")
    assert ladder == ours
    assert {arm["like"] for arm in arms.values()} == {"r1", "r2"}
    assert {arm["feedback"] for arm in arms.values()} == {"none", "verdict", "shuffled", "error"}


def test_our_reading_is_that_of_dvc():
    assert shipped().content == load_yaml(str(ROOT / "params.yaml"))


def test_a_misspelt_key_is_refused_with_the_nearest_name():
    params = changed("alpha: 0.1", "alhpa: 0.1")

    with pytest.raises(RefusedError, match=r"mine.alhpa: unknown key; did you mean 'alpha'") as it:
        params.section("mine", MineSettings)
    assert it.value.code == 78


def test_a_misspelt_section_is_refused_with_the_nearest_name():
    params = changed("\nmine:", "\nmien:")

    with pytest.raises(
        RefusedError, match="no section 'mine', and this run reads it; did you mean 'mien'"
    ):
        params.section("mine", MineSettings)
    with pytest.raises(RefusedError, match=r"mien: nothing .*; did you mean 'mine'"):
        check_params.check(params)


@pytest.mark.parametrize("name", ["lora", "guard", "generate", "publish"])
def test_a_section_that_is_missing_is_not_said_to_be_meant_by_another(name: str):
    params = of(**{k: v for k, v in shipped().content.items() if k != name})

    with pytest.raises(RefusedError, match=f"no section '{name}', and this run reads it; docs/"):
        params.section(name, MineSettings)


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
        ("one-shot-matched: {from: r0", "one-shot-matched: {from: r9", "there is no branch 'r9'"),
        ("rationales: r2", "rationales: r1", "a round is taught its own rationales"),
        ("of: r1, like: r1", "of: r0, like: r0", "what is rewritten is what r1 was taught: r1"),
        ("of: r1, like: r1", "of: r1, like: r0", "like: of a round it is what stands in of"),
        ("of: r1, like: r1", "of: r1", "rewrites.r2.like: missing"),
        (
            "like: r1, start: base",
            "like: r1, start: r1",
            "rewrites.r2: start: is r1, and base in br",
        ),
        ("r3: {from: r2, of", "r3: {from: r1, of", "r3: from: is r1, and r2 in branches.r3"),
        ("r3: {from: r2, of: r2", "r4: {from: r2, of: r2", "branches.r3: rationales: names itself"),
        ("r3: {from: r2, rat", "r4: {from: r2, rat", "branches.r4.rationales: there is no 'r3'"),
        (
            "rewrites:\n",
            "rewrites:\n  r9: {from: r3, of: r3, like: r3, start: r3}\n",
            "rewrites.r9: no branch is taught it",
        ),
        ("rewrites:\n", "rounds: {r1: {times: 2}}\nrewrites:\n", "rounds: each of its entries"),
        ("\nrewrites:", "\nrewirtes:", "no section 'rewrites'"),
    ],
)
def test_a_wrong_value_is_refused_by_name(old: str, new: str, fault: str):
    with pytest.raises(RefusedError, match=fault):
        check_params.check(changed(old, new))


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("seed: 1\nseed: 2\n", "duplicate key"),
        ("- seed\n", "expected sections, got list"),
        ("seed: [\n", "not readable as YAML 1.2"),
        ("", "expected sections, got NoneType"),
    ],
)
def test_a_file_that_is_no_settings_is_refused_by_its_name(
    content: str, fault: str, tmp_path: Path
):
    file = tmp_path / "params.yaml"
    file.write_text(content, encoding="utf-8")

    with pytest.raises(RefusedError, match=rf"params\.yaml: .*{fault}"):
        sections.read(file)


@pytest.mark.parametrize("name", check_params.ABSENT)
def test_a_list_that_the_run_does_not_use_may_be_absent(name: str):
    content = {k: v for k, v in shipped("pretrained").content.items() if k != name}

    assert check_params.check(of(**content)) == len(content)


@pytest.mark.parametrize("name", check_params.OPTIONAL)
def test_a_section_that_dvc_tracks_and_the_run_does_not_read_is_null_and_not_absent(name: str):
    content = {**shipped("pretrained").content, name: None}

    assert check_params.check(of(**content)) == len(content)
    del content[name]
    with pytest.raises(RefusedError, match=f"{name} is absent, and DVC tracks it: write {name}:"):
        check_params.check(of(**content))


@pytest.mark.parametrize("name", check_params.ABSENT)
def test_a_list_that_is_null_is_refused_as_dvc_does(name: str):
    with pytest.raises(RefusedError, match=f"{name}: is null, which DVC refuses"):
        check_params.check(of(**{**shipped("pretrained").content, name: None}))


def test_a_section_that_the_run_reads_may_not_be_absent():
    lora = changed("method: full", "method: lora").content

    assert check_params.check(of(**lora)) == len(lora)
    for name, content in (("lora", lora), ("embedded", shipped().content)):
        with pytest.raises(
            RefusedError, match=f"{name}: is null, and this run reads it"
        ) as refused:
            check_params.check(of(**content | {name: None}))
        assert "copy the section from the default params.yaml" in str(refused.value)


def test_the_rounds_come_in_order_and_controls_after_them():
    line = R4.replace("r4", "r10")
    params = added(line, OF_R4.replace("r4", "r10"))

    assert branching.rounds(params) == ["r0", "r1", "r2", "r3", "r10"]
    assert list(branching.branches(params))[-1] == "one-shot-matched"


def test_a_further_round_is_a_line_in_each_section_as_the_settings_say():
    params = added(R4, OF_R4)

    assert f"#   {R4.strip()}\n" in text()
    assert f"#   {OF_R4.strip()}\n" in text()
    assert branching.rounds(params)[-1] == "r4"
    assert list(targets.rewrites(params))[-1] == "r4"
    assert check_params.check(params) == check_params.check(shipped())


def test_the_settings_are_read_once_and_cannot_be_changed():
    params = shipped()

    with pytest.raises(AttributeError):
        params.content = {}
