"""An edited grader costs no generation: the stored completions are graded again, and DVC agrees."""

from pathlib import Path

import pytest

from tests.loop.projects import Finished, Project

EDIT = """

def strict(completion: str) -> str | None:
    return "1"


def equal(answer: str | None, gold: str) -> bool:
    return answer is not None
"""


@pytest.fixture(scope="module")
def project(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Project:
    return finished(tmp_path_factory.mktemp("project"))[0]


def test_after_grading_again_dvc_goes_on_with_mining(project: Project):
    grader = project.root / "redistill/graders/numeric.py"
    grader.write_text(grader.read_text(encoding="utf-8") + EDIT, encoding="utf-8")
    stale = {name.split("@")[0] for name in project.stale()}
    students = {name: h for name, h in project.hashes().items() if name.startswith("data/students")}

    said = project.redistill("grade", "--write")
    line = next(line for line in said.split("\n") if "dvc commit" in line)
    commit, _, then = line.strip().partition(" && ")
    project.dvc(*commit.split()[1:])

    assert "evaluate" in stale
    assert then == "dvc repro"
    assert not [name for name in project.stale() if name.startswith(("evaluate", "train"))]
    ran = project.repro()
    assert "mine@r0" in ran
    assert "report" in ran
    assert not [name for name in ran if name.startswith(("evaluate", "base"))]
    assert not {"train@r0", "train@one-shot-matched"} & set(ran)  # r1 may be taught other lessons
    assert project.repro() == []
    after = project.hashes()
    assert {name: after[name] for name in students} == students


def test_predictions_of_a_student_that_changed_are_not_accepted(project: Project):
    note = next(Path(project.root, "data/students/r0").glob("*.json"))
    before = note.read_text(encoding="utf-8")
    note.chmod(0o644)
    note.write_text(before + "\n", encoding="utf-8")

    with pytest.raises(AssertionError, match="data/students/r0 changed since its answers"):
        project.redistill("grade", "--write")
    note.write_text(before, encoding="utf-8")
