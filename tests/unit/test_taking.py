"""A published data set taken over: what is matched, what is rejected, what is refused."""

import json
from pathlib import Path

import pytest

from redistill.console.exceptions import RefusedError
from redistill.datasets import load
from redistill.datasets.take import take
from redistill.grading import grader
from redistill.problems.held_out import HeldOut, held_out
from redistill.problems.splits import split
from redistill.records import jsonl, manifest, types
from redistill.rounds.targets import Source
from redistill.tasks import published as task
from tests.publications import answered, first, problem, publish, refined, small, views


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return small(tmp_path / "lessons")


def known(*problems: types.Problem) -> dict[str, types.Problem]:
    return {found.id: found for found in problems}


NONE = HeldOut()
NUMERIC, CHOICE = grader.load_grader("numeric"), grader.load_grader("choice")
OURS = known(problem("p1"), problem("p2"))


def test_the_rationales_are_those_that_were_published(folder: Path):
    found = take(load.read(folder), OURS, "given", "last", NUMERIC, NONE)

    texts = {row.problem: row.text for row in found.rationales}
    assert texts == {"p1": refined("p1").text, "p2": first("p2").text}
    assert {row.round for row in found.rationales} == {"given"}  # so a branch is trained on them
    assert found.rationales[0].history == refined("p1").history
    assert found.as_dict()["teachers"] == {"tutor": 2}
    assert found.untaught == 0
    assert found.balance.holds


def test_the_first_version_is_what_the_others_replaced(folder: Path):
    found = take(load.read(folder), OURS, "given-first", "first", NUMERIC, NONE)

    assert [row.text for row in found.rationales] == ["#### 7", "#### 7"]
    assert [row.status for row in found.rationales] == ["first", "first"]
    assert found.rationales[0].history == []


def test_a_row_is_for_the_problem_that_asks_its_question_whatever_the_id(folder: Path):
    ours = known(problem("q9", question="How many is P1?!"), problem("p2"))

    found = take(load.read(folder), ours, "given", "last", NUMERIC, NONE)

    assert {row.problem for row in found.rationales} == {"q9", "p2"}


def test_wrong_questions_and_answers_are_rejected_and_counted(folder: Path):
    ours = known(problem("p1", question="Another one?"), problem("p2", answer="9"), problem("p3"))
    rows = load.read(folder)

    with pytest.raises(RefusedError, match="no row is for a train problem of this run"):
        take(rows, ours, "given", "last", NUMERIC, NONE)
    found = take(rows, known(problem("p2")), "given", "last", NUMERIC, NONE)

    assert found.balance.as_dict() == {
        "rows_in": 2, "rows_out": 1, "rejected": {"no problem asks this question": 1},
        "holds": True,
    }  # fmt: skip
    assert found.rejected == {"no problem asks this question": ["p1"]}


def test_every_reason_to_reject_is_named(folder: Path):
    rows = load.read(folder)
    again = [*rows, rows[0].model_copy(update={"id": "p1-again", "problem": "x"})]
    ours = known(problem("p1"), problem("p2", question="Another one?"))

    found = take(again, ours, "given", "last", NUMERIC, NONE)
    other = take(
        rows, known(problem("p1"), problem("p2", answer="9")), "given", "last", NUMERIC, NONE
    )

    assert found.rejected == {
        "another question of this id": ["p2"],
        "a second rationale for the problem": ["p1-again"],
    }
    assert other.rejected == {"another answer to this question": ["p2"]}


def test_what_a_teacher_would_not_get_accepted_is_not_taken(folder: Path):
    rows = load.read(folder)
    wrong = rows[0].model_copy(update={"rationale": "3+4=8\n#### 8"})
    told = rows[0].model_copy(update={"rationale": "The student forgot.\n#### 7"})

    for row, reason in ((wrong, "wrong answer"), (told, "talks about teaching")):
        found = take([row, rows[1]], OURS, "given", "last", NUMERIC, NONE)
        assert found.rejected == {reason: ["p1"]}
        assert [kept.problem for kept in found.rationales] == ["p2"]


def test_what_quotes_a_question_of_dev_or_test_is_not_taken(folder: Path):
    rows = load.read(folder)
    question = "How many eggs do the nine hens lay?"
    unquoted = held_out([problem("t1", question=question)])
    quoting = rows[0].model_copy(update={"rationale": f"{question} 3+4=7\n#### 7"})

    found = take([quoting, rows[1]], OURS, "given", "last", NUMERIC, unquoted)

    assert found.rejected == {"quotes another split": ["p1"]}


def test_choices_are_part_of_the_question(tmp_path: Path):
    offered = problem("p1").model_copy(update={"choices": {"A": "one", "B": "two"}, "answer": "A"})
    made = publish(tmp_path / "lessons", views([offered], [first("p1", "#### A")], answered("p1")))
    turned = offered.model_copy(update={"choices": {"A": "two", "B": "one"}})

    rows = load.read(made)

    assert rows[0].asks() == offered
    assert take(rows, known(offered), "given", "last", CHOICE, NONE).balance.rows_out == 1
    with pytest.raises(RefusedError, match="another question of this id"):
        take(rows, known(turned), "given", "last", CHOICE, NONE)


@pytest.mark.parametrize("name", ["records.jsonl", "sft.jsonl", "README.md"])
def test_a_data_set_with_a_changed_file_is_refused(name: str, folder: Path):
    file = folder / name
    file.write_bytes(file.read_bytes()[:-1] + b" ")

    with pytest.raises(RefusedError, match=rf"is not what was published.*{name}"):
        load.read(folder)


def test_a_data_set_without_its_manifest_or_without_rows_is_refused(folder: Path):
    (folder / manifest.NAME).unlink()
    with pytest.raises(RefusedError, match="incomplete"):
        load.read(folder)
    with pytest.raises(RefusedError, match="there is no such data set"):
        load.read(folder / "none")
    (folder / "records.jsonl").write_bytes(b"")
    manifest.write(folder)
    with pytest.raises(RefusedError, match="0 rows"):
        load.read(folder)


def test_a_copy_from_the_hub_may_have_files_of_the_hub(folder: Path):
    (folder / ".gitattributes").write_text("*.parquet filter=lfs\n")

    assert len(load.read(folder, hub=True)) == 2
    with pytest.raises(RefusedError, match="not in the manifest"):
        load.read(folder)
    (folder / "records.jsonl").write_bytes(b"{}\n")
    with pytest.raises(RefusedError, match="is not what was published"):
        load.read(folder, hub=True)


def test_what_a_data_set_says_of_itself_is_kept_beside_the_table(folder: Path):
    found = load.provenance(folder)

    assert found["name"] == "small"
    assert found["teachers"] == {"tutor": 2}
    (folder / "provenance.json").write_text("[]")
    with pytest.raises(RefusedError, match="not the provenance of a data set"):
        load.provenance(folder)


def test_its_problems_are_train_and_dev_where_their_task_is_not_at_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    names = [f"p{n}" for n in range(40)]
    made = views([problem(n) for n in names], [first(n) for n in names])
    publish(tmp_path / "data/imported/lessons", made)
    jsonl.write(tmp_path / "data/external/test.jsonl", [problem("t1")])
    rules = task.Settings(
        folder="lessons", dev=None, test="data/external/test.jsonl", dev_share=0.25,
        take_train=None, take_dev=None, take_test=None,
    )  # fmt: skip

    splits, balance = split(task.problems(rules, 1))

    assert balance.holds
    assert len(splits["train"]) + len(splits["dev"]) == 40
    assert 4 <= len(splits["dev"]) <= 16
    assert [found.id for found in splits["test"]] == ["t1"]
    assert splits["train"][0].source == "here"
    assert json.dumps(splits["train"][0].solution) == "null"


def source(**change: str | None) -> Source:
    told = {"folder": None, "hub": "org/name", "revision": "c0ffee", "version": "last"}
    return Source.model_validate({**told, "max_loss": 0.0, **change})


def test_a_data_set_of_the_hub_is_fetched_at_its_revision(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    asked = []

    def fetched(name: str, *, repo_type: str, revision: str, **_: object) -> str:
        asked.append((name, repo_type, revision))
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetched)

    assert load.folder(source(), tmp_path) == folder
    assert asked == [("org/name", "dataset", "c0ffee")]
    assert load.folder(source(folder="x", hub=None, revision=None), tmp_path) == tmp_path / "x"


def test_a_hub_that_cannot_be_reached_is_told_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def unreachable(*_: object, **__: object) -> str:
        raise OSError("no route\nto the hub")

    monkeypatch.setattr("huggingface_hub.snapshot_download", unreachable)

    with pytest.raises(RefusedError, match=r"org/name at c0ffee: .*no route to the hub") as refusal:
        load.folder(source(), tmp_path)
    assert refusal.value.code == 75
