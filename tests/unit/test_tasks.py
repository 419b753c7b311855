"""The tasks: what their problems are like, and that no question is in two splits."""

import json
from pathlib import Path

import pytest

from redistill.console.exceptions import RefusedError
from redistill.graders import numeric
from redistill.problems import source, stories
from redistill.problems.splits import SPLITS, split
from redistill.records import jsonl as records_jsonl
from redistill.records.fingerprint import normalised
from redistill.records.types import Problem
from redistill.settings import sections
from redistill.solutions.equations import annotated
from redistill.students.base import curriculum
from redistill.tasks import jsonl, wordproblems
from tests.imports import ROOT

GSM8K = ROOT.parent / "shared" / "data" / "gsm8k"
SHIPPED = sections.read(ROOT / "params.yaml").section("wordproblems", wordproblems.Settings)
SMALL = SHIPPED.model_copy(update={"train": 300, "dev": 50, "test": 100})


def test_the_solution_of_every_word_problem_leads_to_its_answer():
    for _, problem in wordproblems.problems(SMALL, 1):
        steps = annotated(problem.solution)
        assert steps
        assert all(step.holds for step in steps)
        assert numeric.equal(numeric.strict(problem.solution), problem.answer)
        assert str(steps[-1].result) == problem.answer


def test_the_numbers_of_a_question_are_those_that_its_solution_starts_from():
    for _, problem in wordproblems.problems(SMALL, 2):
        known = {word.strip(".,?") for word in problem.question.split()}
        for step in annotated(problem.solution):
            assert all(str(n) in known for n in step.numbers), problem
            known.add(str(step.result))


def test_a_seed_gives_its_problems_again_and_another_gives_others():
    first, again, other = ([*wordproblems.problems(SMALL, seed)] for seed in (1, 1, 2))

    assert first == again
    assert {p.question for _, p in first} != {p.question for _, p in other}


def test_the_splits_of_the_shipped_run_share_no_question_and_test_is_large_enough():
    splits, balance = split(wordproblems.problems(SHIPPED, 1))
    questions = [{normalised(p.question) for p in splits[s]} for s in SPLITS]

    assert balance.holds
    assert len(splits["test"]) >= 500
    assert not questions[0] & questions[1]
    assert not questions[0] & questions[2]
    assert not questions[1] & questions[2]


@pytest.mark.parametrize(("up_to", "steps"), [(9, [1.0]), (99, [0.0, 1.0]), (499, [0.0, 0.0, 1.0])])
def test_the_settings_hold_the_size_of_numbers_and_the_count_of_steps(
    up_to: int, steps: list[float]
):
    sizes = [wordproblems.Size(up_to=up_to, share=1.0)]
    asked = SMALL.model_copy(update={"steps": steps, "sizes": sizes})

    for _, problem in wordproblems.problems(asked, 1):
        numbers = [int(w) for w in problem.question.replace(".", "").split() if w.isdigit()]
        assert max(numbers) <= up_to
        assert len(annotated(problem.solution)) == len(steps)


def test_too_few_different_questions_are_refused(monkeypatch: pytest.MonkeyPatch):
    only = stories.Story("How many?", "eggs", "Ines", ((1, "+", 1, 2),))
    monkeypatch.setattr(stories, "tell", lambda *_, **__: only)

    with pytest.raises(RefusedError, match="no new question in 50 tries after 1"):
        wordproblems.problems(SMALL, 1)


def test_the_base_student_reads_no_rationale_and_no_question_of_the_task():
    questions = {p.question for _, p in wordproblems.problems(SHIPPED, 1)}
    read = ["".join(g + a for g, a in lesson) for lesson in curriculum.lessons(1, 5000)]

    assert not any(text.split("\n")[0] in questions for text in read)
    assert not any("####" in text for text in read)
    marked = [step for text in read for step in annotated(text)]
    assert marked
    assert all(len(o) == 1 for o in (step.operations for step in marked))
    assert all(max(step.numbers) <= 81 and step.holds for step in marked)


@pytest.fixture(autouse=True)
def anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let files lie outside of data/external, which a project refuses."""
    monkeypatch.setattr(source, "INPUTS", (Path("/"),))


def write(file: Path, names: list[str], question: str = "What is") -> str:
    rows = [Problem(id=n, question=f"{question} {n}?", answer="1") for n in names]
    records_jsonl.write(file, rows)
    return str(file)


def settings(tmp_path: Path, **changes: object) -> jsonl.Settings:
    options = {
        "train": write(tmp_path / "train.jsonl", [f"t{i}" for i in range(200)]),
        "dev": None,
        "test": write(tmp_path / "test.jsonl", ["e1", "e2"]),
        "dev_share": 0.2,
        "take_train": None,
        "take_dev": None,
        "take_test": None,
    }
    return jsonl.Settings(**options | changes)


def test_a_dev_split_is_carved_out_by_hash_whatever_is_added(tmp_path: Path):
    before, _ = split(jsonl.problems(settings(tmp_path), 1))
    more = write(tmp_path / "more.jsonl", [f"t{i}" for i in range(260)])
    after, _ = split(jsonl.problems(settings(tmp_path, train=more), 7))

    assert 20 <= len(before["dev"]) <= 60
    assert {p.id for p in before["dev"]} <= {p.id for p in after["dev"]}
    assert {p.id for p in before["train"]} <= {p.id for p in after["train"]}


def test_rows_are_taken_by_seed(tmp_path: Path):
    asked = settings(tmp_path, take_train=5)

    one, two = ([p.id for s, p in jsonl.problems(asked, k) if s == "train"] for k in (1, 2))

    assert len(one) == len(two) == 5
    assert one != two


def test_a_test_question_in_train_is_refused_naming_both_rows(tmp_path: Path):
    leak = [Problem(id="leak", question="what is  E1", answer="1")]
    rows = [*jsonl.problems(settings(tmp_path), 1), ("train", leak[0])]

    with pytest.raises(RefusedError, match=r"'leak'.*'e1'"):
        split(rows)


def test_a_question_asked_twice_in_a_split_is_counted_and_an_id_used_twice_refused():
    one = Problem(id="a", question="q", answer="1")
    rows = [("train", one), ("dev", one.model_copy(update={"id": "d", "question": "r"}))]
    rows += [("test", one.model_copy(update={"id": "e", "question": "s"}))]

    _, balance = split([*rows, ("train", one.model_copy(update={"id": "b"}))])
    assert balance.rejected == {"repeated question": 1}
    with pytest.raises(RefusedError, match="stands for two problems"):
        split([*rows, ("test", one)])


def test_an_empty_split_is_refused_by_name(tmp_path: Path):
    (tmp_path / "none.jsonl").touch()

    with pytest.raises(RefusedError, match="split 'test' has 0 rows"):
        jsonl.problems(settings(tmp_path, test=str(tmp_path / "none.jsonl")), 1)
    with pytest.raises(RefusedError, match="split 'dev' has 0 rows"):
        split([("train", Problem(id="a", question="q", answer="1"))])


@pytest.mark.skipif(not GSM8K.is_dir(), reason="shared/data is not beside this checkout")
def test_gsm8k_is_read_whole_and_every_gold_answer_is_that_of_its_solution():
    asked = jsonl.Settings(
        train=str(GSM8K / "train.jsonl"),
        dev=None,
        test=str(GSM8K / "test.jsonl"),
        dev_share=0.1,
        take_train=None,
        take_dev=None,
        take_test=None,
    )

    splits, balance = split(jsonl.problems(asked, 1))

    assert (balance.rows_in, balance.rejected) == (8792, {})
    for problem in [p for found in splits.values() for p in found]:
        assert numeric.equal(numeric.strict(problem.solution), problem.answer)
        assert not numeric.equal(
            str(json.loads(problem.answer.replace(",", "")) + 1), problem.answer
        )
