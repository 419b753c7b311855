"""The loop with errors that are held out and lessons that accumulate, through DVC."""

import json

import pytest

from tests.loop.projects import Finished, Project

PROBED = {"probe@r0", "probe@r1"}


@pytest.fixture(scope="module")
def ran(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, list[str]]:
    """The small project with two folds, in which r1 is taught all texts so far."""
    project, _ = finished(tmp_path_factory.mktemp("folds"))
    project.change({"mine": {"folds": 2}})
    file = project.root / "params.yaml"
    text = file.read_text(encoding="utf-8")
    assert text.count("lessons: latest") > 3
    file.write_text(text.replace("lessons: latest", "lessons: all"), encoding="utf-8")
    return project, project.repro()


def read(project: Project, name: str) -> dict:
    return json.loads((project.root / name).read_text(encoding="utf-8"))


def rows(project: Project, name: str) -> list[dict]:
    text = (project.root / name).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_folds_ask_no_teacher_anew_for_the_first_rationales_and_pre_train_nothing(
    ran: tuple[Project, list[str]],
):
    _, stages = ran

    assert set(stages) >= PROBED
    assert not {"prepare", "base", "generate"} & set(stages)


def test_errors_on_train_are_those_of_students_that_were_not_taught_the_problem(
    ran: tuple[Project, list[str]],
):
    project, _ = ran

    held = {p["problem"]: p for p in rows(project, "data/predictions/r0/held-out.jsonl")}
    errors = [e for e in rows(project, "data/errors/r0.jsonl") if e["split"] == "train"]

    assert len(held) == 24
    assert errors
    assert all(e["held_out"] for e in errors)
    assert all(e["completion"] == held[e["problem"]]["completion"] for e in errors)
    assert read(project, "metrics/probes/one-shot-matched.json")["because"].startswith("probe is")
    assert read(project, "metrics/rounds/r0.json")["scores"]["held-out"]["n"] == 24


def test_a_round_whose_lessons_accumulate_is_taught_old_and_new_texts_in_the_same_steps(
    ran: tuple[Project, list[str]],
):
    project, _ = ran
    training = read(project, "metrics/training/r1.json")
    written = rows(project, "data/rationales/r1.jsonl")

    texts = sum(1 + len(row["history"]) for row in written)
    assert texts > len(written)
    assert training["labels"]["rows"] == training["labels"]["rows_ended_by_eos"] == texts
    assert training["labels"]["prompt_tokens_in_loss"] == 0
    assert training["balance"]["rows_in"] == texts
    assert training["steps"] == read(project, "metrics/training/r0.json")["steps"]


def test_rounds_doctor_and_plan_know_where_errors_come_from(ran: tuple[Project, list[str]]):
    project, _ = ran

    assert "held out" in project.redistill("rounds")
    assert "held out: 2 students, each taught all lessons but" in project.redistill("doctor")
    assert "mine.folds: 2) train 6 more students" in project.redistill("plan")
    assert "held out, not taught this problem" in project.redistill("show", "wp-train-00000")


def test_nothing_reruns_and_a_probe_that_is_forced_gives_the_same_bytes(
    ran: tuple[Project, list[str]],
):
    project, _ = ran

    assert project.repro() == []
    before = project.hashes()
    project.dvc("repro", "--force", "--single-item", "probe@r0")
    assert project.hashes() == before
