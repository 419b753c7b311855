"""Questions of dev and test as digests: what is found in a rationale, and what may stand there."""

import json
from pathlib import Path

import pytest

from redistill.console.exceptions import RefusedError
from redistill.grading.grader import load_grader
from redistill.problems import held_out as questions
from redistill.problems.held_out import HeldOut, held_out
from redistill.rationales import guards
from redistill.records.types import Problem

NUMERIC = load_grader("numeric")
GUARD = guards.GuardSettings(max_growth=10.0, max_repair=10.0, min_copied=10)
ON_DEV = "A baker bakes 48 loaves and then 27 more. How many are there?"
ON_TEST = "Nine hens lay 4 eggs each on a day. How many do all lay?"
SHORT = "How many are 3 and 4 together?"
TAUGHT = "Ines has 40 figs and buys 35 more of them. How many has she?"


def problem(question: str, name: str = "p1", **more: dict[str, str]) -> Problem:
    return Problem(id=name, question=question, answer="75", **more)


HELD_OUT = held_out([problem(ON_DEV, "d1"), problem(ON_TEST, "t1"), problem(SHORT, "t2")])


def reason(text: str, question: str = TAUGHT, unquoted: HeldOut = HELD_OUT) -> str | None:
    """Why *text* may not be the first rationale of a problem that asks *question*."""
    return guards.first(problem(question), f"{text} <<40+35=75>>\n#### 75", NUMERIC, unquoted)


@pytest.mark.parametrize(
    "text",
    [
        ON_DEV,
        ON_DEV.upper(),
        f"It is as in: {ON_DEV} There it is 75.",
        ON_DEV.replace(" ", "  \n").replace(".", " --").replace("?", ""),
        ON_DEV.replace("48", "４８").replace("loaves", "«loaves»"),
    ],
)
def test_a_quoted_question_is_found_whatever_its_case_and_punctuation(text: str):
    assert HELD_OUT.quoted(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "48 and 27 are 75.",
        ON_DEV.replace("27", "28"),
        ON_DEV.removesuffix(" are there?"),
        ON_DEV.removeprefix("A "),
        " ".join(reversed(ON_DEV.split())),
    ],
)
def test_a_text_that_is_only_like_a_question_does_not_quote_it(text: str):
    assert not HELD_OUT.quoted(text)


def test_a_question_of_fewer_than_eight_words_is_a_common_phrase():
    eight = "How many are 3 and 4 put together?"

    assert not HELD_OUT.quoted(f"Well: {SHORT} 7.")
    assert not held_out([problem(SHORT)])
    assert held_out([problem(eight)]).quoted(f"Well: {eight} 7.")


def test_questions_that_begin_alike_are_told_apart():
    one, other = (f"In the morning Jonas counts {n} crayons and {n} pens." for n in (5, 6))
    longer = f"{one} How many?"

    assert not held_out([problem(one)]).quoted(other)
    assert not held_out([problem(longer)]).quoted(one)
    both = held_out([problem(longer, "a"), problem(one, "b")])
    assert both.quoted(one)
    assert not both.quoted(other)


def test_where_nothing_is_held_out_nothing_is_quoted():
    assert not HeldOut().quoted(ON_DEV)


def test_a_question_with_choices_is_found_where_they_are_not_quoted():
    found = held_out([problem(ON_DEV, choices={"A": "73", "B": "74", "C": "75"})])

    assert found.quoted(f"It is as in: {ON_DEV} There it is 75.")


def test_what_is_written_is_read_back_and_cannot_be_read_by_people(tmp_path: Path):
    file = tmp_path / "held-out.jsonl"

    questions.write(file, HELD_OUT)

    assert [*questions.read(file)] == [*HELD_OUT]
    assert questions.read(file).quoted(ON_TEST)
    assert not {"loaves", "baker", "hens", "eggs"} & {*file.read_text().lower().split()}
    assert [sorted(json.loads(line)) for line in file.read_text().splitlines()] == [
        ["start", "whole", "words"]
    ] * 2


@pytest.mark.parametrize("row", [{"start": "yes"}, {"words": "8"}, {"whole": "f" * 17}])
def test_a_file_whose_digests_are_none_is_refused(row: dict[str, str], tmp_path: Path):
    good = {"start": "0" * 16, "words": 8, "whole": "f" * 16}
    (tmp_path / "held-out.jsonl").write_text(json.dumps(good | row) + "\n")

    with pytest.raises(RefusedError, match=r"held-out\.jsonl: holds no digests .*dvc repro"):
        questions.read(tmp_path / "held-out.jsonl")


def test_the_same_questions_give_the_same_bytes_in_any_order(tmp_path: Path):
    known = [problem(ON_DEV, "d1"), problem(ON_TEST, "t1")]

    questions.write(tmp_path / "a.jsonl", held_out(known))
    questions.write(tmp_path / "b.jsonl", held_out(reversed(known)))
    questions.write(tmp_path / "none.jsonl", HeldOut())

    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()
    assert [*questions.read(tmp_path / "none.jsonl")] == []


def test_a_file_that_is_not_of_digests_is_refused_by_line(tmp_path: Path):
    (tmp_path / "held-out.jsonl").write_text('{"id": "p1"}\n')

    with pytest.raises(RefusedError, match=r"held-out\.jsonl:1: "):
        questions.read(tmp_path / "held-out.jsonl")


@pytest.mark.parametrize("question", [ON_DEV, ON_TEST])
def test_a_rationale_that_quotes_a_question_of_dev_or_of_test_is_rejected(question: str):
    assert reason(f"As in: {question.lower()}") == "quotes another split"
    assert reason("40 and 35:") is None


def test_a_rewrite_is_held_to_it_as_well():
    text = f"{ON_TEST} <<40+35=75>>\n#### 75"

    found = guards.refined(
        problem(TAUGHT), text, "#### 75", [], None, None, NUMERIC, HELD_OUT, GUARD
    )

    assert found == "quotes another split"


def test_a_question_that_the_problem_itself_contains_may_be_quoted():
    asked = f"{ON_DEV} And how many are left when 40 of them are eaten?"

    assert reason(f"First: {ON_DEV}", asked) is None
    assert reason(f"First: {ON_DEV}", TAUGHT) == "quotes another split"


def test_a_question_that_the_problem_contains_lets_no_other_one_through():
    assert reason(f"As in: {ON_TEST}", f"{ON_DEV} And how many of them are left?") == (
        "quotes another split"
    )
