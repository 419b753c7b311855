"""Other students taught what was refined for one, through DVC: in one project and in another."""

import json
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.loop.projects import ANSWERED, TINY, Project
from tests.settings import PLAIN

SMALL = {"hidden": 16, "layers": 1, "heads": 2, "feed_forward": 32}
KEPT = ("neox-r0", "neox-matched", "neox-refined", "neox-self", "neox-joint")
ASKING = {"generate", "refine"}


def settings(project: Project, name: str) -> dict:
    """The settings with the overlay *name*, and students and data of a size for seconds."""
    project.compose(name)
    project.change(TINY)
    return YAML(typ="safe").load(project.root / "params.yaml")


def save(project: Project, content: dict) -> None:
    for target in content["targets"].values():
        target["shape"] |= TINY["embedded"] | SMALL
    YAML(typ="safe").dump(content, project.root / "params.yaml")


def one_target(project: Project) -> dict:
    """One round, one target of another architecture, and every version for it."""
    content = settings(project, "embedded-transfer")
    content["targets"] = {"neox": content["targets"]["neox"]}
    content["branches"] = {name: content["branches"][name] for name in ("r0", "r1", *KEPT)}
    content["branches"]["r1"] |= PLAIN
    content["pools"] = {"all": {"of": "r0", "and": "neox-r0"}}
    content["rewrites"] = {n: content["rewrites"][n] for n in ("r1", "for-neox", "for-all")}
    content["report"]["control"] = "r0"
    return content


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = Project(tmp_path_factory.mktemp("first"))
    save(made, one_target(made))
    ran = made.repro()
    assert {"target@neox", "pool@all", "refine@for-neox", "refine@for-all"} <= set(ran)
    assert ran[-1] == "transfer@transfer"
    return made


def table(project: Project) -> dict:
    return json.loads((project.root / "metrics/transfer.json").read_text(encoding="utf-8"))


def test_every_version_of_a_target_of_another_architecture_is_trained_and_stands_in_the_table(
    project: Project,
):
    config = json.loads((project.root / "data/students/neox-refined/config.json").read_text())
    found = table(project)

    assert config["model_type"] == "gpt_neox"
    assert [(row["version"], row["against"]) for row in found["rows"]] == [
        ("joint", "neox-r0"),
        ("joint", "neox-matched"),
        ("joint", "neox-refined"),
        ("matched", "neox-r0"),
        ("refined", "neox-r0"),
        ("refined", "neox-matched"),
        ("refined", "neox-self"),
        ("self", "neox-r0"),
        ("self", "neox-matched"),
    ]
    assert {cell["n"] for cell in found["cells"].values()} == {12}
    assert found["source"]["chosen"] in ("r0", "r1")
    written = project.root / "metrics/transfer"
    assert "neox: refined over first" in (written / "transfer.csv").read_text()
    assert (written / "transfer.svg").read_text().startswith("<?xml")
    assert "Refined rationales are better" in project.redistill("transfer")


def test_the_cells_are_no_rounds_and_no_controls_of_the_loop(project: Project):
    ladder = json.loads((project.root / "metrics/ladder.json").read_text(encoding="utf-8"))
    summary = json.loads((project.root / "metrics/summary.json").read_text(encoding="utf-8"))

    assert {row["against"] for rows in ladder["rounds"].values() for row in rows} <= {"r0"}
    assert summary["order"] == ["r0", "r1"]
    assert "neox" not in project.redistill("rounds").split("Time on this machine")[0]


def test_the_errors_of_both_students_are_what_the_teacher_of_the_joint_set_is_shown(
    project: Project,
):
    pooled = (project.root / "data/errors/all.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in pooled]
    balance = json.loads((project.root / "metrics/gaps/all.json").read_text())["balance"]
    written = (project.root / "data/rationales/for-all.jsonl").read_text(encoding="utf-8")

    assert {row["id"].split("@")[1] for row in rows} == {"r0", "neox-r0"}
    assert balance["holds"]
    assert balance["rows_out"] == len(rows)
    assert '"round": "for-all"' in written


def test_doctor_and_plan_know_of_targets(project: Project):
    checked, planned = project.redistill("doctor"), project.redistill("plan")

    assert "9 students" in checked  # seven of the branches, and two bases
    assert "refine@for-all" in planned


FOLLOWING = {"report", "publish", "transfer@transfer"}


@pytest.mark.parametrize("runs", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_adding_a_target_reruns_nothing_that_was_there(runs: bool, project: Project):
    before = (project.root / "params.yaml").read_text(encoding="utf-8")
    content = YAML(typ="safe").load(before)
    content["targets"]["wide"] = content["targets"]["neox"] | {"seed": 9}
    cell = {**content["branches"]["neox-r0"], "target": "wide", "from": "wide-r0", "start": "wide"}
    content["branches"]["wide-r0"] = cell
    save(project, content)

    stale, ran = project.stale(), project.repro() if runs else None
    (project.root / "params.yaml").write_text(before, encoding="utf-8")
    if runs:
        project.repro()

    own = {"target@wide", *(f"{stage}@wide-r0" for stage in ("train", *ANSWERED, "mine"))}
    assert own <= stale <= own | FOLLOWING
    assert ran is None or set(ran) == own | FOLLOWING


@pytest.fixture(scope="module")
def second(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project of somebody else, who imported what the first one published, and has only that."""
    place = tmp_path_factory.mktemp("remote")
    project.dvc("remote", "add", "-q", "-d", "kept", str(place))
    project.dvc("push", "-q", "publish")
    project.commit("published")
    made = Project(tmp_path_factory.mktemp("second"))
    content = settings(made, "taken-over")
    content["targets"].pop("wide")
    content["branches"] = {
        name: cell for name, cell in content["branches"].items() if cell["target"] == "neox"
    }
    save(made, content)
    published = "data/published/wordproblems-refined"
    made.dvc("import", str(project.root), published, "-o", "data/imported/lessons")
    return made


def test_a_second_project_teaches_an_imported_data_set_and_asks_no_teacher(second: Project):
    ran = second.dvc("repro", "transfer")

    stages = {line.split("'")[1] for line in ran.split("\n") if line.startswith("Running stage")}
    found = table(second)
    taken = json.loads((second.root / "metrics/rationales/given.json").read_text(encoding="utf-8"))
    assert not {name.split("@")[0] for name in stages} & ASKING
    assert {"take@given", "take@given-first", "train@neox-refined"} <= stages
    assert not (second.root / ".redistill").exists()
    assert not (second.root / "data/rationales/r0.jsonl").exists()
    assert taken["balance"] == {"rows_in": 24, "rows_out": 24, "rejected": {}, "holds": True}
    assert taken["provenance"]["name"] == "wordproblems-refined"
    assert found["source"] is None
    assert [(r["version"], r["against_version"]) for r in found["rows"]] == [
        ("matched", "first"),
        ("refined", "first"),
        ("refined", "matched"),
    ]
    assert "Refined rationales are better" in second.redistill("transfer")
    assert "Running stage" not in second.dvc("repro", "transfer")


def test_an_imported_data_set_that_is_damaged_is_refused(second: Project):
    file: Path = second.root / "data/imported/lessons/records.jsonl"
    before = file.read_bytes()
    file.chmod(0o644)
    file.write_bytes(before.replace(b"#### ", b"####  ", 1))

    said = second.dvc("repro", "--single-item", "take@given", fails=True)
    file.write_bytes(before)

    assert "is not what was published" in said
    assert "records.jsonl" in said
