"""One reader of numbers: tasks, steps, the locator and the grader read a text as it does."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redistill.diagnosis.locate import locate
from redistill.graders import numeric
from redistill.grading import numbers
from redistill.problems.source import Rejected
from redistill.records.types import Problem
from redistill.solutions.equations import equation
from redistill.solutions.wordings import steps
from redistill.tasks import asdiv, gsm8k, multiarith, svamp

READ = {  # text: its value as an answer, as an operand, and as a task writes it down
    "50%": (Fraction(50), Fraction(1, 2), None),
    "3/4": (Fraction(3, 4), None, None),
    "1 1/2": (Fraction(3, 2), None, None),
    "1,00,5": (None, None, None),
    "1,005": (Fraction(1005), Fraction(1005), "1005"),
    "5km": (Fraction(5), None, None),
    "$3.50": (Fraction(7, 2), Fraction(7, 2), "3.5"),
    "-5": (Fraction(-5), Fraction(-5), "-5"),
    "1e3": (Fraction(1000), None, None),
    "8.0": (Fraction(8), Fraction(8), "8"),
    "10:30": (None, None, None),
    "²": (None, None, None),
    "٣": (Fraction(3), None, None),
    "2½": (Fraction(5, 2), None, None),
    "2 h 30 min": (None, None, None),
    "": (None, None, None),
    "5 or 6": (None, None, None),
}
TEXTS = st.text(st.sampled_from("0123456789.,%$/- eEkm²٣"), max_size=12)


@pytest.mark.parametrize("text", READ)
def test_a_text_has_one_value_as_an_answer_and_one_as_an_operand(text: str):
    found = numbers.number(text), numbers.operand(text), numbers.canonical(text)

    assert found == READ[text]


def agrees(text: str) -> None:
    """Hold every user of numbers to grading/numbers for *text*."""
    value, plain = numbers.number(text), numbers.canonical(text)
    for given_, gold in ((text, "1005"), ("7", text)):
        same = numbers.number(given_) == numbers.number(gold) is not None
        assert numeric.equal(given_, gold) is (same or given_ == gold)
    share = numbers.operand(text)
    stated = equation(f"1+1={text}", 0, 1).result
    assert stated in ({value} if share != 2 else {value, share})
    assert plain is None or numbers.number(plain) == value


@pytest.mark.parametrize("text", READ)
def test_grader_and_equations_read_as_the_reader_does(text: str):
    agrees(text)


@given(TEXTS)
def test_grader_and_equations_read_any_text_as_the_reader_does(text: str):
    agrees(text.strip())


@pytest.mark.parametrize("text", READ)
def test_every_task_of_numbers_writes_an_answer_as_the_reader_does(text: str):
    rows = [
        gsm8k.problem("a", {"question": "How many?", "answer": f"Hm.\n#### {text}"}),
        svamp.problem("a", {"Body": "Two.", "Question": "How many?", "Answer": text}),
        multiarith.problem("a", {"question": "How many?", "final_ans": text}),
        asdiv.problem("a", {"body": "Two.", "question": "How many?", "answer": f"{text} (km)"}),
    ]

    written = [None if isinstance(row, Rejected) else row.answer for row in rows]

    assert written == [READ[text][2]] * 4


@pytest.mark.parametrize("text", [text for text, read in READ.items() if read[0] is not None])
def test_the_locator_holds_an_answer_that_the_grader_holds_for_reached(text: str):
    value = numbers.number(text)
    assert value is not None
    problem = Problem(id="a", question="How many?", answer=text)
    completion = f"2000-{_plain(2000 - value)}={_plain(value)}. 7*3=21."
    assert numeric.equal(_plain(value), text)

    gap, _step = locate(problem, completion, answered=True)

    assert gap == "extra_step"


def test_a_step_in_words_reads_a_share_as_an_operand():
    assert [step.value for step in steps("20% times 50 is 10.")] == [Fraction(10)]
    assert steps("1,00,5 plus 2 is 1007.") == []


def _plain(value: Fraction) -> str:
    return str(float(value)).removesuffix(".0")
