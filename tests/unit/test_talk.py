"""What of a text is talk about the exchange, and what its problem makes right."""

import pytest

from benchmarks import talk as measuring
from redistill.rationales import talk
from redistill.records.types import Problem

PENS = Problem(
    id="p", question="A teacher buys 5 packs of 3 pens. How many are there?", answer="15"
)
QUIZ = Problem(
    id="p", question="Ben answered 12 of 20 questions right. How many were wrong?", answer="8"
)
CAR = Problem(
    id="p", question="Where is a car dry?", choices={"A": "garage", "B": "garden"}, answer="A"
)


def test_texts_that_talk_are_found():
    for name, texts in measuring.planted("planted").items():
        missed = [text for asked, text in texts if not talk.talks(asked, text)]
        assert len(missed) <= len(texts) / 10, (name, missed)
    first = [*measuring.planted("planted")["first"], *measuring.planted("planted")["held back"]]
    assert sum(talk.talks(asked, text) for asked, text in first) >= 0.95 * len(first)


def test_right_texts_of_problems_that_speak_of_teachers_students_and_attempts_are_let_through():
    assert [text for a, text in measuring.planted("right")["right"] if talk.talks(a, text)] == []


@pytest.mark.skipif(not measuring.DATA.is_dir(), reason="shared/data is not beside this checkout")
@pytest.mark.slow
def test_of_the_rationales_of_language_models_at_most_two_in_a_thousand_are_rejected():
    written = dict(measuring.written())
    texts = [row for name, arm in measuring.SHORT for row in written[f"{name}/{arm}"]]

    assert len(texts) == 2800
    assert sum(talk.talks(asked, text) for asked, text in texts) <= 0.002 * len(texts)


@pytest.mark.parametrize(
    ("problem", "text", "talks"),
    [
        (PENS, "The teacher buys 15 pens.", False),
        (PENS, "The teachers have 15 pens.", False),
        (PENS, "The teacher\N{RIGHT SINGLE QUOTATION MARK}s pens are 15.", False),
        (PENS, "The teacher of this student forgot to multiply.", True),
        (PENS, "Let me multiply 5 by 3.", True),
        (QUIZ, "He gave 8 wrong answers.", False),
        (QUIZ, "His 8 mistakes are the rest.", False),
        (QUIZ, "Your answer was 12.", True),
        (QUIZ, "The earlier attempt had 12.", True),
        (CAR, "A garden is the wrong place.", False),
        (CAR, "The wrong answer is the garden.", True),
        (CAR, "You chose B, but a garden has no roof.", True),
    ],
)
def test_a_text_may_use_the_words_of_its_problem_and_talk_is_found_all_the_same(
    problem: Problem, text: str, talks: bool
):
    assert talk.talks(problem, text) == talks


def test_whose_work_is_spoken_of_may_be_the_problems_own():
    asked = Problem(
        id="p", question="A printer prompts its users 3 times for each of 4 outputs. How often?",
        answer="12",
    )  # fmt: skip
    text = "The user is prompted 3 times for an output, and 3 * 4 = 12 times in all."

    assert not talk.talks(asked, text)
    assert talk.talks(PENS, "The output said 8. 5 * 3 = 15.")
    assert talk.talks(PENS, "The user wants a number. 5 * 3 = 15.")
