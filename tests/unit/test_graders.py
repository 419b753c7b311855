"""What graders read as an answer, and what they do not."""

import doctest
import importlib
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redistill import grading
from tests.imports import ROOT

NAMES = sorted(f.stem for f in (ROOT / "redistill/graders").glob("[a-z]*.py"))
DATA = ROOT.parent / "shared" / "data"
GOLD = {"numeric": ["18", "-5", "1005", "0.5", "3/4"], "choice": list("ABCDE"),
        "yes_no": ["yes", "no"]}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_every_gold_answer_is_itself_and_no_neighbour(name: str):
    grader = grading.grader(name)

    for gold in GOLD[name]:
        assert grader.equal(grader.strict(f"Because.\n#### {gold}"), gold)
        assert grader.equal(grader.lenient(f"So the answer is {gold}."), gold)
        for other in GOLD[name]:
            assert grader.equal(other, gold) == (other == gold)
    assert grader.strict("no marker") is None
    assert grader.strict("####") is None
    assert grader.lenient("") is None
    assert not grader.equal(None, GOLD[name][0])


@pytest.mark.parametrize("name", NAMES)
@given(text=st.text(max_size=200))
def test_no_text_is_an_error(name: str, text: str):
    grader = grading.grader(name)

    for read in (grader.strict, grader.lenient):
        found = read(text)
        assert found is None or grader.equal(found, found)
        assert grader.equal(read(f"#### {text}"), "yes") in (True, False)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "piece", ["#### ", "9" * 10, "<<1+1=", "((((", "A ", "no ", "-$", ",", " "]
)
def test_a_long_text_takes_no_longer_than_its_end(name: str, piece: str):
    grader = grading.grader(name)

    started = time.perf_counter()
    for _ in range(3):
        grader.strict(piece * 100_000)
        grader.lenient(piece * 100_000)

    assert time.perf_counter() - started < 0.5


@pytest.mark.parametrize("name", NAMES)
def test_the_examples_of_the_docstrings_hold(name: str):
    module = importlib.import_module(f"redistill.graders.{name}")

    result = doctest.testmod(module)

    assert result.attempted >= 3
    assert result.failed == 0


@pytest.mark.parametrize(
    ("text", "strict", "lenient"),
    [
        ("A dog barks.\n#### B", "B", "B"),
        ("The answer is (C) because A is wrong", None, "C"),
        ("A bird in the hand", None, None),
        ("Answer: A", None, "A"),
        ("#### D) Paris", "D", "D"),
        ("#### K", None, None),
    ],
)
def test_reads_letters_of_choices(text: str, strict: str | None, lenient: str | None):
    grader = grading.grader("choice")

    assert (grader.strict(text), grader.lenient(text)) == (strict, lenient)


@pytest.mark.parametrize(
    ("task", "name"), [("commonsense_qa/dev", "choice"), ("aqua/test", "choice"),
                       ("strategy_qa/dev", "yes_no"), ("svamp/test", "numeric"),
                       ("multiarith/test", "numeric")],
)  # fmt: skip
def test_the_gold_answers_of_real_tasks_are_read(task: str, name: str):
    file = DATA / f"{task}.jsonl"
    if not file.is_file():
        pytest.skip("needs shared/data, which lies beside the project where it is developed")
    grader = grading.grader(name)

    answers = [json.loads(line)["answer"] for line in file.read_text().split("\n") if line]

    assert len(answers) > 200
    for answer in answers:
        assert grader.equal(grader.strict(f"Thinking.\n#### {answer}"), answer)
