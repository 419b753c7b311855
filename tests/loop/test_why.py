"""Why a round did not help: small runs of the whole loop, and what the command says of them."""

import html
import json
from pathlib import Path

import pytest

from tests.loop.projects import Finished, Project

BY_HEART = {
    "wordproblems": {"train": 16, "dev": 60, "test": 60},
    "embedded": {"hidden": 64, "layers": 2, "heads": 4, "feed_forward": 128},
    "train": {"steps": 120, "batch_size": 8, "learning_rate": 0.005},
    "evaluate": {"batch_size": 136},
}


def why(project: Project, *words: str) -> dict:
    """What `redistill why` knows of a round."""
    return json.loads(project.redistill("why", *words, "--json"))


def found(answer: dict) -> list[str]:
    """The causes of *answer* that were found, the likeliest first."""
    return [line["cause"] for line in answer["lines"] if line["state"] == "found"]


@pytest.fixture(scope="module")
def project(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Project:
    return finished(tmp_path_factory.mktemp("why"))[0]


def test_students_of_two_steps_are_under_trained(project: Project):
    answer = why(project, "--branch", "r1")

    assert not answer["helped"]
    assert found(answer)[0] == "under-trained"


def test_a_round_after_one_that_was_not_better_names_the_stop(project: Project):
    answer = why(project, "--branch", "r2")

    assert found(answer) == ["the loop had stopped"]
    assert answer["said"] == ["r2 was passed through: it has no student of its own."]


def test_the_report_has_what_the_command_prints(project: Project):
    answer = why(project)
    page = html.unescape((project.root / "data/report/index.html").read_text(encoding="utf-8"))

    for line in answer["lines"]:
        assert f">{line['told']}<" in page
    assert " ".join(answer["said"]) in page


def test_rewrites_that_a_guard_rejects_are_the_teachers_losses(finished: Finished, tmp_path: Path):
    project, _ = finished(tmp_path)
    project.change({"guard": {"max_growth": 1.0}})
    project.repro()

    answer = why(project, "--branch", "r1")

    assert found(answer)[0] == "teacher's losses"
    assert "too long" in answer["lines"][0]["told"]
    assert answer["lines"][0]["change"].startswith("guard.max_growth")


@pytest.mark.slow
def test_a_student_of_many_steps_and_few_problems_has_learnt_by_heart(tmp_path: Path):
    project = Project(tmp_path)
    project.change(BY_HEART)
    project.repro()

    answer = why(project, "--branch", "r1")

    first, second = found(answer)[:2]
    assert {first, second} == {
        "learnt by heart", "errors hidden by lessons learnt by heart",
    }  # fmt: skip
