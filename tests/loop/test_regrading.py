"""What an edited grader costs: verdicts and what follows from them, and not one answer anew."""

from pathlib import Path

import pytest

from redistill.records import jsonl
from redistill.records.types import Prediction
from tests.loop.projects import Finished, Project

BRANCHES = ("r0", "r1", "r2", "one-shot-matched")
GRADED = {f"{stage}@{name}" for stage in ("grade", "grade-outside") for name in BRANCHES}
EDIT = """

def strict(completion: str) -> str | None:
    return "1"


def equal(answer: str | None, gold: str) -> bool:
    return answer is not None
"""


@pytest.fixture
def project(finished: Finished, tmp_path: Path) -> Project:
    return finished(tmp_path)[0]


def edit(project: Project, addition: str) -> None:
    """Add to the grader of the run."""
    grader = project.root / "redistill/graders/numeric.py"
    grader.write_text(grader.read_text(encoding="utf-8") + addition, encoding="utf-8")


def stages(names: set[str]) -> set[str]:
    return {name.split("@")[0] for name in names}


def written(project: Project) -> dict[str, str]:
    """The hashes of what students are and of what they wrote."""
    kinds = ("data/students", "data/completions")
    return {name: md5 for name, md5 in project.hashes().items() if name.startswith(kinds)}


def test_an_edit_that_changes_no_verdict_is_graded_again_and_nothing_follows(project: Project):
    before = project.hashes()
    edit(project, "\n# a remark\n")

    stale = project.stale()
    ran = set(project.repro())

    assert GRADED <= stale == ran
    assert stages(ran) == {"prepare", "generate", "refine", "grade", "grade-outside"}
    assert project.hashes() == before


@pytest.mark.slow
def test_what_follows_from_other_verdicts_is_made_anew_and_nothing_is_answered(project: Project):
    before = written(project)
    answers = {name: answered(project, name) for name in BRANCHES}
    edit(project, EDIT)

    ran = set(project.repro())

    assert {*GRADED, "mine@r0", "report"} <= ran
    assert not stages(ran) & {"base", "answer", "answer-outside"}
    assert not {"train@r0", "train@one-shot-matched"} & ran  # r1 may be taught other lessons
    assert written(project) == before
    assert any(answered(project, name) != answers[name] for name in BRANCHES)
    assert {p.answer for p in answered(project, "r0")} == {"1"}
    assert project.repro() == []


def answered(project: Project, name: str) -> list[Prediction]:
    return jsonl.read(project.root / f"data/predictions/{name}/dev.jsonl", Prediction)


def test_another_grader_makes_what_it_judges_stale_and_no_answer(project: Project):
    before = written(project)
    project.change({"grade": {"grader": "yes_no"}})

    stale = project.stale()
    project.dvc("repro", "--single-item", "grade@r0")

    assert stale >= GRADED
    assert stages(stale) == {"prepare", "generate", "refine", "grade", "grade-outside"}
    assert "grade@r0" not in project.stale()
    assert written(project) == before
    assert {p.answer for p in answered(project, "r0")} <= {"yes", "no", None}


def test_another_prompt_of_the_student_makes_answers_stale(project: Project):
    project.change({"student": {"prompt": "Q: [[question]]\n"}})

    stale = project.stale()

    assert {f"{stage}@{n}" for stage in ("answer", "answer-outside") for n in BRANCHES} <= stale
    assert stages(stale) == {
        "generate", "refine", "train", "answer", "answer-outside", "probe",
    }  # fmt: skip


def test_a_student_that_changed_makes_its_own_answers_stale_and_no_others(project: Project):
    note = next((project.root / "data/students/r0").glob("*.json"))
    note.chmod(0o644)
    note.write_text(note.read_text(encoding="utf-8") + "\n", encoding="utf-8")

    assert project.stale() == {"train@r0", "answer@r0", "answer-outside@r0"}
