"""Which dev cases are most like a problem, and how many have to be compared to find them."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz import fuzz, process

from redistill.diagnosis import nearest
from redistill.diagnosis.nearest import Likeness
from redistill.problems import stories
from redistill.records.types import Error, Problem


def likeness(questions: list[str]) -> Likeness:
    """The cases that ask *questions*, each wrongly answered; the id of a case is its place."""
    problems = {
        str(place): Problem(id=str(place), question=question, answer="1")
        for place, question in enumerate(questions)
    }
    errors = [
        Error(id=name, problem=name, split="dev", completion="2", verdict="wrong", gap="add")
        for name in problems
    ]
    return Likeness(errors, problems)


def places(cases: Likeness, question: str, most: int) -> list[int]:
    return [int(case.problem) for case in cases.nearest(question, most)]


def by_all(questions: list[str], question: str, most: int) -> list[int]:
    """The same by comparing every question."""
    found = process.extract(question, questions, scorer=fuzz.token_set_ratio, limit=most)
    return [place for _, _, place in found]


def told(count: int) -> list[str]:
    """So many questions of word problems."""
    chance = random.Random(1)
    return [stories.tell(chance, steps=2, up_to=300).question for _ in range(count)]


WORDS = st.text(st.sampled_from("abcde\u00e9\u4e2d1 2"), min_size=1, max_size=30)


@given(st.lists(WORDS, min_size=1, max_size=20), WORDS, st.integers(1, 4))
def test_the_nearest_are_those_that_comparing_all_finds_in_the_same_order(questions, one, most):
    assert places(likeness(questions), one, most) == by_all(questions, one, most)


def test_the_nearest_of_a_few_hundred_questions_are_found_by_comparing_few_of_them():
    questions = told(nearest.WHOLE + 100)
    known, asked = questions[: nearest.WHOLE], questions[nearest.WHOLE :]
    cases = likeness(known)

    assert all(places(cases, one, 2) == by_all(known, one, 2) for one in asked)
    assert cases.compared < len(asked) * len(known) / 2


def test_of_many_more_cases_no_more_are_compared_and_nearly_all_of_the_nearest_are_found():
    questions = told(2_540)
    known, asked = questions[:2_500], questions[2_500:]
    few, many = likeness(known[: nearest.WHOLE]), likeness(known)

    found = [places(many, one, 2) for one in asked]
    for one in asked:
        few.nearest(one, 2)

    assert many.compared <= few.compared
    true = [by_all(known, one, 2) for one in asked]
    shared = sum(len({*a} & {*b}) for a, b in zip(found, true, strict=True))
    assert shared / (2 * len(asked)) >= 0.98


@pytest.mark.parametrize("most", [0, 3])
def test_where_there_are_no_cases_or_none_is_wanted_none_is_found(most):
    assert places(likeness(["what is 3 plus 4"] if not most else []), "what is 3", most) == []


def test_a_problem_that_two_students_failed_at_is_one_case_with_the_first_of_their_errors():
    problem = Problem(id="d", question="what is 3 plus 4", answer="7")
    errors = [
        Error(id=text, problem="d", split="dev", completion=text, verdict="wrong", gap="add")
        for text in ("first", "second")
    ]

    (case,) = Likeness(errors, {"d": problem}).nearest("what is 3 plus 5", 2)

    assert case.completion == "first"


def test_a_letter_that_stands_in_a_question_very_often_does_not_count_beyond_a_bound():
    questions = ["a" * 70_000, "a b"]

    assert places(likeness(questions), "a" * 69_999, 1) == by_all(questions, "a" * 69_999, 1)
