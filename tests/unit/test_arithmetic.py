"""Equations in text, and operations worked digit by digit."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redistill.grading.numbers import operand
from redistill.solutions.arithmetic import small_steps
from redistill.solutions.equations import annotated, work
from redistill.solutions.wordings import bare, steps

WHOLE = st.integers(0, 99_999)


def value(expression: str) -> Fraction | None:
    operations = work(expression)
    return operations[-1].value if operations else operand(expression)


@pytest.mark.parametrize("sign", ["", "-"])
def test_values_have_18_digits_at_most_whatever_their_sign(sign: str):
    most, one = f"{sign}{'9' * 17}", "+" if not sign else "-"

    assert value(f"{most}{one}9{'0' * 17}") == int(f"{sign}{'9' * 18}")
    assert work(f"{sign}{'9' * 18}{one}1") is None


@given(operator=st.sampled_from("+-*/"), left=WHOLE, right=WHOLE, finer=st.booleans())
def test_every_small_step_holds(operator: str, left: int, right: int, finer: bool):
    for line in small_steps(operator, Fraction(left), Fraction(right), finer=finer):
        sides = [value(side) for side in line.split("=")]
        assert sides[0] == sides[1], line


@given(left=WHOLE, right=WHOLE)
def test_the_columns_of_a_sum_and_a_difference_end_in_the_digits_of_the_result(
    left: int, right: int
):
    left, right = max(left, right), min(left, right)
    for operator, result in (("+", left + right), ("-", left - right)):
        lines = small_steps(operator, Fraction(left), Fraction(right))
        digits = "".join(line[-1] for line in reversed(lines))
        first = lines[-1].split("=")[1][:-1] if lines else ""
        assert not lines or int(first + digits) == result


@given(operator=st.sampled_from("+-*/"), left=st.integers(10, 999), right=st.integers(2, 9))
def test_in_finer_steps_no_step_does_two_things_at_once(operator: str, left: int, right: int):
    left *= right if operator == "/" else 1
    plain = small_steps(operator, Fraction(left), Fraction(right))
    finer = small_steps(operator, Fraction(left), Fraction(right), finer=True)

    twice = [
        line for line in plain if len(work("".join(line.split("=")[operator == "/"])) or []) > 1
    ]
    assert len(finer) == len(plain) + len(twice)
    for line in finer:
        assert all(len(work(side) or []) <= 1 for side in line.split("=")), line


@given(operator=st.sampled_from("+-*"), left=st.integers(0, 9), right=st.integers(0, 9))
def test_a_digit_fact_needs_no_small_steps(operator: str, left: int, right: int):
    if left >= right:
        assert small_steps(operator, Fraction(left), Fraction(right)) == []


def test_decimals_are_worked_as_whole_numbers():
    lines = small_steps("*", operand("12.5"), operand("0.4"))

    assert lines[-1] == "500/100=5"
    assert all(value(a) == value(b) for a, b in (line.split("=") for line in lines))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("48/2 = <<48/2=24>>24 clips", ["48/2=24"]),
        ("<<2+2=4>>4 and <<4*3=12>>", ["2+2=4", "4*3=12"]),
        ("broken <<1+1=2 and <<3+3=6>>", ["3+3=6"]),
        ("nothing << here >>", []),
        ("<<5%*80=4>>", ["5%*80=4"]),
    ],
)
def test_finds_marked_equations(text: str, expected: list[str]):
    assert [str(equation) for equation in annotated(text)] == expected


def test_finds_bare_equations_where_none_are_marked():
    text = "She has 3 + 4 = 7 apples, and 7 x 2 is 14. So 2*(3+4) = $14."

    assert [str(e) for e in bare(text)] == ["3+4=7", "2*(3+4)=14"]
    assert steps(text) == bare(text)


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("2+3*4", 14),
        ("(2+3)*4", 20),
        ("100-50-30-15", 5),
        ("-3+5", 2),
        ("1,000*2", 2000),
        ("20%*50", 10),
        ("7/2", Fraction(7, 2)),
    ],
)
def test_computes_expressions_exactly(expression: str, result: Fraction):
    assert value(expression) == result


@pytest.mark.parametrize(
    "expression",
    ["1/0", "2+", "(2", "2)", "9" * 30, "__import__('os')", "2**9**9", "1e9*2", "٣+1", "2 3", ""],
)
def test_what_is_no_expression_has_no_value(expression: str):
    assert not work(expression)
