"""When two questions are the same, and when they only look so to a reader of letters and digits."""

import re
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from redistill.console.exceptions import RefusedError
from redistill.problems import sought
from redistill.problems.overlap import question
from redistill.problems.sought import standing
from redistill.problems.splits import split
from redistill.records.fingerprint import normalised, undressed, worded
from redistill.records.types import Problem

DIFFERENT = [
    ("Is x < 3 for all x?", "Is x > 3 for all x?"),
    ("Is 2 even?", "Is -2 even?"),
    ("What is 50%?", "What is $50?"),
    ("What is 5²?", "What is 52?"),
    ("What is 2½?", "What is 21/2?"),
    ("What is 5!?", "What is 5?"),
    ("What is 3.5?", "What is 35?"),
    ("What is (2+3)*4?", "What is 2+3*4?"),
    ("What is f'(x)?", "What is f(x)?"),
    ("What is 0.333... as a fraction?", "What is 0.333 as a fraction?"),
    ("What does 😀 mean?", "What does 😃 mean?"),
    ("กี่คน", "กุ่คน"),
    ("की", "कु"),
    ("A ∪ B?", "A ∩ B?"),
    ("How long is 5'?", 'How long is 5"?'),
    ("3:2", "32"),
]
SAME = [
    ("What is  3 + 4?", "what is 3+4"),
    ("How many ?", "HOW MANY?"),
    ("Ann, who has 3 eggs, is here.", "Ann who has 3 eggs is here"),
    ("Hi there!", "hi there"),
    ("Is −2 even?", "Is -2 even?"),
    ("caf\u00e9", "cafe\u0301"),
    ("Ｗｈａｔ ｉｓ ２？", "What is 2?"),
    ("zero\u200bwidth", "zerowidth"),
    ("Straße", "STRASSE"),
]


def rows(*questions: str) -> list[tuple[str, Problem]]:
    names = ("train", "dev", "test")
    return [
        (names[min(i, 2)], Problem(id=f"p{i}", question=q, answer="1"))
        for i, q in enumerate(questions)
    ]


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_questions_that_differ_in_a_sign_or_a_mark_are_two(one: str, other: str):
    found, balance = split(rows(one, other, "Third?"))

    assert balance.rejected == {}
    assert [len(problems) for problems in found.values()] == [1, 1, 1]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_case_spaces_unicode_form_and_the_end_of_a_sentence_do_not_tell_questions_apart(
    one: str, other: str
):
    with pytest.raises(RefusedError, match="asks the same question"):
        split(rows(one, other, "Third?"))


@given(st.text(max_size=60))
@example(". 0")
def test_a_normal_form_is_its_own_normal_form_in_every_unicode_form(text: str):
    for form in ("NFC", "NFD"):
        assert normalised(unicodedata.normalize(form, text)) == normalised(text)
    assert normalised(f"  {text} ".replace(" ", "  ")) == normalised(text)
    assert worded(worded(text)) == worded(text)


@given(st.integers(1, 10**6), st.sampled_from("<>=+*/^%$€-"))
def test_a_sign_more_or_less_is_another_question(number: int, sign: str):
    assert normalised(f"Is it {sign}{number} eggs?") != normalised(f"Is it {number} eggs?")


def test_ids_are_compared_in_one_unicode_form_over_all_splits():
    found = rows("One?", "Two?", "Three?")
    found[0] = ("train", found[0][1].model_copy(update={"id": "caf\u00e9"}))
    found[2] = ("test", found[2][1].model_copy(update={"id": "cafe\u0301"}))

    with pytest.raises(RefusedError, match="another Unicode form, stands for two problems"):
        split(found)


def test_what_is_published_may_hold_a_question_that_differs_in_a_sign_alone():
    text = "For which of the whole numbers is x < 3 in this list of ours?"
    held = [Problem(id="held", question=text.replace("<", ">"), answer="1")]

    assert standing([text], held) == []
    assert standing([f"**Look:** {text.replace('<', '>').upper()} Well."], held) == ["held"]


def test_marks_of_prose_hide_no_question_and_signs_are_none():
    assert undressed('**Ann** said "yes" -- at once') == undressed("Ann said yes at once")
    assert undressed("x - 3") != undressed("x 3")


LONG = [
    "A train goes 60 km in 2 hours; how far does it go in 5 hours?",
    "I have 3 eggs and buy 4 more eggs; how many eggs have I?",
    "12 birds sit on a tree and 5 of them fly off; how many stay?",
]
QUOTED = [
    'The question is: "{}" We add.', "Q: {}", "- {}", "({})", "**Question:** {}\nAnswer: 5",
]  # fmt: skip


@pytest.mark.parametrize("quoted", QUOTED)
@pytest.mark.parametrize("question", LONG)
def test_a_question_that_is_quoted_in_any_marks_is_found(question: str, quoted: str):
    held = [Problem(id="held", question=question, answer="1")]
    assert standing([quoted.format(question)], held) == ["held"]


@pytest.mark.parametrize("three", [r"\(3\)", "$3$", "*3*", "_3_"])
def test_a_number_in_the_marks_of_markdown_or_a_formula_hides_no_question(three: str):
    asked = "Ann has 3 eggs and buys 4 more eggs. How many eggs has she now?"
    held = [Problem(id="held", question=asked, answer="7")]
    assert standing([asked.replace("3", three)], held) == ["held"]


def test_a_sign_that_stands_alone_closes_no_sentence():
    assert normalised("Calculate 12 : 3") != normalised("Calculate 12 . 3")


def by_every_text(texts: list[str], problems: list[Problem]) -> list[str]:
    """The questions that stand in *texts*, by looking for each in all of them."""
    known = {undressed(text) for text in texts}
    likely = {identity for identity, _ in sought.overlapping(texts, problems)}
    joined = "\n".join(f" {text} " for text in known)
    return [
        one.id
        for one in problems
        if (asked := undressed(question(one))) in known
        or (one.id in likely and re.search(rf"(?<!\w){re.escape(asked)}(?!\w)", joined))
    ]


FEW = st.lists(st.sampled_from(["a", "b", "c", "3+4", "(d", "e,", "-"]), min_size=1, max_size=14)


@given(st.lists(FEW, min_size=1, max_size=6), st.lists(FEW, min_size=1, max_size=4), st.data())
def test_questions_are_found_text_by_text_as_by_looking_for_each_in_all_of_them(asks, texts, data):
    problems = [
        Problem(id=str(n), question=" ".join(ask), answer="1") for n, ask in enumerate(asks)
    ]
    told = [" ".join(text) for text in texts]
    for _ in range(data.draw(st.integers(0, 3))):
        quoted = data.draw(st.sampled_from(problems)).question
        told.append(
            data.draw(st.sampled_from(["{}", "so {}!", "(b{}", "a {}c", "c c {} a"])).format(quoted)
        )

    assert standing(told, problems) == by_every_text(told, problems)


def test_what_a_text_is_compared_with_does_not_grow_with_the_number_of_questions(monkeypatch):
    compared = []
    monkeypatch.setattr(sought.re, "search", lambda *found: compared.append(found))
    many = [
        Problem(id=str(n), question=f"which of the following is true of the number {n}", answer="1")
        for n in range(500)
    ]

    standing([f"Well: {many[7].question} indeed", "which of the following is true of me"], many)

    assert len(compared) == 1
