"""What graders read as an answer, and what they do not."""

import doctest
import importlib
import json
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from redistill.grading import numbers, units
from redistill.grading.grader import Bench, Decider, load_grader
from tests.imports import ROOT
from tests.settings import shipped

NAMES = sorted(f.stem for f in (ROOT / "redistill/graders").glob("[a-z]*.py"))
DECIDING = ("judge", "tests")  # by a model, or by running code: they read, and do not compare
READING = [name for name in NAMES if name not in DECIDING]
BENCH = Bench.reading(shipped("own-answers"))
BENCH.params.content["grade"]["tests"] = shipped("own-code").content["grade"]["tests"]
DATA = ROOT.parent / "shared" / "data"
GOLD = {"numeric": ["18", "-5", "1005", "0.5", "3/4"], "choice": list("ABCDE"),
        "yes_no": ["yes", "no"],
        "math": ["18", "-5", "3/4", r"2\sqrt{3}", "[0, 1)", "x^2+1"]}  # fmt: skip


def test_those_that_decide_are_those_with_settings():
    assert [name for name in NAMES if isinstance(BENCH(name), Decider)] == [*DECIDING]


@pytest.mark.parametrize("name", READING)
def test_every_gold_answer_is_itself_and_no_neighbour(name: str):
    grader = load_grader(name)

    for gold in GOLD[name]:
        assert grader.equal(grader.strict(f"Because.\n#### {gold}"), gold)
        shown = f"${gold}$" if name == "math" else gold
        assert grader.equal(grader.lenient(f"So the answer is {shown}."), gold)
        for other in GOLD[name]:
            assert grader.equal(other, gold) == (other == gold)
    assert grader.strict("no marker") is None
    assert grader.strict("####") is None
    assert grader.lenient("") is None
    assert not grader.equal(None, GOLD[name][0])


@pytest.mark.parametrize("name", NAMES)
@given(text=st.text(max_size=200))
def test_no_text_is_an_error(name: str, text: str):
    grader = BENCH(name)

    for read in (grader.strict, grader.lenient):
        found = read(text)
        assert found is None or grader.equal(found, found)
        if name != "math":  # there, most of these go to another process
            assert grader.equal(read(f"#### {text}"), "yes") in (True, False)


@pytest.mark.timed
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "piece", ["#### ", "9" * 10, "<<1+1=", "((((", "A ", "no ", "-$", ",", " "]
)
def test_a_long_text_takes_no_longer_than_its_end(name: str, piece: str):
    grader = BENCH(name)

    started = time.perf_counter()
    for _ in range(3):
        grader.strict(piece * 100_000)
        grader.lenient(piece * 100_000)

    assert time.perf_counter() - started < 0.5


@pytest.mark.parametrize("name", READING)
def test_the_examples_of_the_docstrings_hold(name: str):
    module = importlib.import_module(f"redistill.graders.{name}")

    result = doctest.testmod(module)

    assert result.attempted >= 3
    assert result.failed == 0


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("12 apples", "12"), ("3 km", "3 km"), ("5km", "5 km"), ("$5", "$5"), ("5 €", "€5"),
        ("£1,005.50", "£1005.50"), (r"\$18", "$18"), ("-$5", "-$5"), ("$-5", "-$5"), ("- 5", "-5"),
        ("−5", "-5"), ("+5", "5"), ("50%", "50%"), (r"50\%", "50%"), ("1,005", "1005"),
        ("1 000 000", "1000000"), (".5", ".5"), ("5.", "5"), ("3/4", "3/4"), ("3 / 4", "3/4"),
        ("1 1/2", "1 1/2"), ("-1 1/2", "-1 1/2"), (r"1\frac{1}{2}", "1 1/2"), ("1e5", "1e5"),
        ("1E-3", "1e-3"), ("2.5 million", "2500000"), ("80k", "80000"), ("**18**", "18"),
        ("$18$", "18"), (r"\boxed{18}", "18"), ("(18)", "18"), ("14{,}916", "14916"),
        ("18 dollars a day", "$18/day"), ("9" * 64, "9" * 64), ("18!", "18"),
        ("**18!** Great.", "18"),
        ("٣", "3"), ("５", "5"), ("५", "5"), ("٣٫٥", "3.5"), ("5½", "5 1/2"), ("½", "1/2"),
        ("−½", "-1/2"),
        ("\u200b7", "7"), ("US$5", "$5"), ("₹5", "₹5"), ("Rs. 5", "₹5"), ("1 lakh", "100000"),
        ("3 bn", "3000000000"), ("2 dozen eggs", "24"), ("2 hundred thousand", "200000"),
        ("5M", "5000000"), ("7, not 3", "7"), ("18 apples, because 3 > 2", "18"),
        ("12 m^2", "12 m^2"), ("12 cm3", "12 cm^3"), ("60 km/h", "60 km/h"), ("5 °C", "5 °C"),
        ("18. She has 3 dogs", "18"),
    ],
)  # fmt: skip
def test_reads_numbers_as_people_write_them(text: str, answer: str):
    assert load_grader("numeric").strict(f"Thinking.\n#### {text}") == answer


@pytest.mark.parametrize(
    "text",
    [
        "1,00,5", "12,34", "1,000,00", "0,500", "1.2.3", "--5", "±3", "+-3", "11 7/6", "1-1/2",
        "3/0", "1e31", "1e100000000", "9" * 65, "5²", "①", "m2", "A4", "5x", "2nd",
        "7:32", "5 + 3 = 8", "5-6", "5 - 6", "5, 6", "5 or 6", "2 3", "2^3", "2**3", r"\sqrt{5}",
        r"5\sqrt{3}", r"5\pi", "5(3)", "1/2/2020", "1_000", "1'000", "0x10", "infinity", "nan",
        "about 5", "x = 5", "2 hours 30 minutes", "5 feet 3 inches", "3 lb 4 oz",
        "5 ft. 3 in.", "7 R 2",
        "7 remainder 2", "7 R2", "7R2", "7 r. two", "7. Remainder 2", "7 apples and 3 pears",
        "3 pm",
        "3:45 pm", "3:2", "3 : 2", "3-5", "3 to 5", "5 May", "2020-01-05", "5 May 2020",
        "3 zillion",
        "3 Millionen", "2 and a half", "3 lb four oz", "2 thirds", "5 squared", "5 π", "5 x",
        "5 or more",
        "5 below zero", "5‰", "3 万", "3万", "1 लाख", "18 dollars for 3 days", "5+", "2 score",
        "0,5", "5! ways", "5! - 1", "3 * 5!", "5!/3!",
        "1.234,56", "3 hundredths", "101 binary", "5 \\pi",
    ],
)  # fmt: skip
def test_reads_no_number_where_there_is_not_exactly_one(text: str):
    assert load_grader("numeric").strict(f"Thinking.\n#### {text}") is None


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("The answer is 18. She has 3 dogs.", "18"),
        ("The answer is 10 - 5 = 5 because 3 > 2", "5"),
        (r"So \boxed{1,005} after 3 days, not 7.", "1005"),
        ("**Step 1**: 2 + 3\nIt makes **5 apples** for 2 days.", "5"),
        ("**Answer:** $3.50", "$3.50"),
        ("- 3 pears\n- 5 apples", "5"),
        ("<<16-3=13>>13 eggs, 13 * 2 = $<<13*2=26>>26\nA: 26", "26"),
        ("2 + 3, so it is ±3", None),
        ("so 3 * 4", None),
        ("covid-19", None),
        ("He bought a size A4 sheet", None),
    ],
)
def test_reads_the_number_that_a_text_states_last(text: str, answer: str | None):
    assert load_grader("numeric").lenient(text) == answer


@pytest.mark.parametrize(
    ("answer", "gold", "same"),
    [
        ("-5", "5", False), ("3/4", "34", False), ("1 1/2", "1", False), ("1 1/2", "3/2", True),
        ("1.5", "1 1/2", True), ("50%", "50", True), ("50%", "0.5", False), ("50", "50%", True),
        ("1e3", "1000", True), ("0.1", "1/10", True), ("18.00", "18", True), ("$5", "5", True),
        ("-0", "0", True), ("0.3333", "1/3", False), ("007", "7", True), ("5!", "5!", True),
        ("5", "5!", False), ("120", "5!", False), ("5", "5²", False), ("5", "5 m!", True),
        ("5 km", "5 m", False), ("5 kilometres", "5 km", True), ("5 km", "5", True),
        ("5", "5 km", True), ("5 apples", "5", True), ("5 pears", "5 km", True),
        ("5 dollars", "$5", True), ("5 cents", "$5", False), ("€5", "$5", False),
        ("5 USD", "$5", True), ("5 USD", "5 CAD", False), ("$5 an hour", "$5", True),
        ("$5 an hour", "$5 a day", False), ("5 hours", "5 minutes", False), ("5 h", "5 hrs", True),
        ("60 km", "60 km/h", False), ("60 miles per hour", "60 mph", True), ("5 m", "5 m^2", False),
        ("5 square metres", "5 m²", True), ("5 pounds", "£5", True), ("5 pounds", "5 lb", True),
        ("5 lb", "£5", False), ("50%", "50 dollars", False), ("50 per cent", "50%", True),
        ("5 °C", "5 °F", False), ("5 degrees", "5 °C", True), (r"5\text{ cm}", "5 mm", False),
        ("2.5 million km", "2500000 m", False), ("3/4 litre", "0.75 l", True),
    ],
)  # fmt: skip
def test_numbers_are_equal_exactly_or_not_at_all(answer: str, gold: str, same: bool):
    grader = load_grader("numeric")

    assert grader.equal(answer, gold) == same
    written = grader.strict(f"#### {answer}")
    assert written is None or "!" in answer or grader.equal(written, gold) == same


def test_every_spelling_of_a_unit_is_that_unit_and_no_other():
    numeric = load_grader("numeric")
    written = {word: f"5 {word}" for word in units.NAMES}

    for word, text in written.items():
        assert numeric.equal(text, "5")
        for other, name in units.NAMES.items():
            meant = [units.MEANINGS.get(n, {n}) for n in (units.NAMES[word], name)]
            assert numeric.equal(text, written[other]) == bool(meant[0] & meant[1]), (word, other)


@pytest.mark.parametrize("name", ["numeric", "math"])
@pytest.mark.parametrize(
    ("gold", "other"), [("5 km", "5 m"), ("$5", "5 cents"), (r"5\text{ h}", r"5\text{ min}")]
)
def test_an_amount_in_another_unit_is_another_answer(name: str, gold: str, other: str):
    grader = load_grader(name)

    assert grader.equal(grader.strict(f"#### {gold}"), gold)
    assert not grader.equal(grader.strict(f"#### {other}"), gold)
    if name == "numeric":  # of math it is the number alone
        assert not grader.equal(grader.lenient(f"So the answer is {other}."), gold)


def test_of_several_markers_the_last_one_counts():
    assert load_grader("numeric").strict("#### 4\nNo, wait.\n#### 5") == "5"
    assert load_grader("choice").strict("#### A\n#### B") == "B"
    assert load_grader("yes_no").strict("#### yes\n#### no") == "no"
    assert load_grader("math").strict("#### 4\n#### $x$") == "x"


@pytest.mark.parametrize(
    ("text", "strict", "lenient"),
    [
        ("A dog barks.\n#### B", "B", "B"),
        ("The answer is (C) because A is wrong", None, "C"),
        ("A bird in the hand", None, None),
        ("Answer: A", None, "A"),
        ("#### D) Paris", "D", "D"),
        ("#### K", None, None),
        ("#### option B", "B", "B"),
        ("#### **B**", "B", "B"),
        ("#### B.", "B", "B"),
        ("#### A - Paris", "A", "A"),
        ("#### A cat", None, None),
        ("#### I think", None, None),
        ("#### A and B", None, "B"),
        ("#### B or C", None, "C"),
        (r"Hence $\boxed{\text{(D)}}$, not (A).", None, "D"),
        ("The answer is B. Eliminated: A, C, D.", None, "B"),
        ("The answer is by process of elimination, (A).", None, "A"),
        ("The correct option is clearly C and not (B)", None, "C"),
        ("First I think (A). But wait: (B) is correct.", None, "B"),
        ("Because I said so", None, None),
    ],
)
def test_reads_letters_of_choices(text: str, strict: str | None, lenient: str | None):
    grader = load_grader("choice")

    assert (grader.strict(text), grader.lenient(text)) == (strict, lenient)


@pytest.mark.parametrize(
    ("text", "strict", "lenient"),
    [
        ("#### Yes.", "yes", "yes"),
        ("#### **No**", "no", "no"),
        ("#### No, because it is not", "no", "no"),
        ("#### False", "no", "no"),
        ("#### yes and no", None, "no"),
        ("#### not yes", None, None),
        ("#### no one knows", None, None),
        ("Nobody knows the north", None, None),
        ("He has no money. So the answer is yes.", None, "yes"),
        ("There is no doubt about it", None, None),
        ("That is not true.", None, None),
        ("It isn't false, it is true.", None, "yes"),
        ("No, they do not.\nHe knows no rest there", None, "no"),
        (r"\boxed{\text{No}}", None, "no"),
    ],
)
def test_reads_yes_and_no_where_they_are_answers(
    text: str, strict: str | None, lenient: str | None
):
    grader = load_grader("yes_no")

    assert (grader.strict(text), grader.lenient(text)) == (strict, lenient)


PIECES = st.sampled_from(
    [*"0123456789,.+-/$%^_=(){}k ", "\\", "12", "1/2", " 345", " and ", " or ", " million", "A4 ",
     "\\boxed{", "\\frac{1}{2}", "±", "√", " words" * 20, " " * 300]
)  # fmt: skip


@given(text=st.lists(PIECES, max_size=40).map("".join))
@example(text=f"0{' ' * 300}+ 3450")
def test_the_ends_of_a_line_are_read_as_the_whole_line_is(text: str):
    found = numbers.scan(text)
    ends = numbers.leading(text), numbers.trailing(text)

    assert [end and (end.value, end.text) for end in ends] == (
        [(found[place].value, found[place].text) for place in (0, -1)] if found else [None, None]
    )


@pytest.mark.parametrize(
    ("line", "first", "last"),
    [
        (f"5 km{' and so on' * 60}, then 34 1/2", "5", "34 1/2"),
        (f"5 km{' and so on' * 60}, the paper is A4", "5", "5"),
        (f"A4{' and so on' * 60} is 1,005", "1005", "1005"),
        (f"A4{' and so on' * 60}", None, None),
    ],
)
def test_numbers_far_from_the_ends_are_found(line: str, first: str | None, last: str | None):
    ends = numbers.leading(line), numbers.trailing(line)

    assert [end and end.text for end in ends] == [first, last]
    for end in ends:
        assert end is None or end in numbers.scan(line)


def test_space_after_an_answer_hides_nothing():
    assert load_grader("numeric").lenient("So it is 5." + " \n" * 2000) == "5"


@pytest.mark.parametrize(
    ("task", "name"), [("commonsense_qa/dev", "choice"), ("aqua/test", "choice"),
                       ("strategy_qa/dev", "yes_no"), ("svamp/test", "numeric"),
                       ("multiarith/test", "numeric"), ("gsm8k/test", "numeric"),
                       ("math500/test", "math")],
)  # fmt: skip
def test_the_gold_answers_of_real_tasks_are_read(task: str, name: str):
    file = DATA / f"{task}.jsonl"
    if not file.is_file():
        pytest.skip("needs shared/data, which lies beside the project where it is developed")
    grader = load_grader(name)

    answers = [json.loads(line)["answer"] for line in file.read_text().split("\n") if line]

    assert len(answers) > 200
    for answer in answers:
        assert grader.equal(grader.strict(f"Thinking.\n#### {answer}"), answer), answer


AMOUNTS = [
    "2 hours 30 minutes", "2 hours 45 minutes", "2 hours", "2 h 30 min", "30 minutes",
    "5 feet 3 inches", "5 feet 9 inches", "5 ft 3 in", "5'3\"", "5'9\"", "3 lb 4 oz", "3 lb 5 oz",
    "7 remainder 2", "7 remainder 3", "7 R 2", "7 R 3", "7R2", "7 apples and 3 pears",
    "7 apples and 5 pears", "1 lakh", "1 crore", "1 dozen", "1 million", "1 bn", "1k", "1 thousand",
    "3:2", "3:4", "3-5", "3-6", "3 to 5", "3 pm", "3 am", "3:45 pm", "3:45 am", "5 May", "5 June",
    "2020-01-05", "2020-01-06", "2½", "2¼", "2 1/3", "٢", "٢٫٥", "0,5", "0,7", "5 squared",
    "5 cubed",
    "3 tenths", "3 hundredths", "1 लाख", "3万", "3億", "5π", "5 x", "5 y", "±5", "±6", "-4", "4!!",
]  # fmt: skip
ALIKE = {("2 hours", "٢"), ("1 thousand", "1k"), ("2½", "٢٫٥"), ("7 R 2", "7R2"), ("7 R 3", "7R3")}


@pytest.mark.parametrize("name", ["numeric", "math"])
def test_two_amounts_that_differ_never_count_as_equal(name: str):
    if name == "math":
        pytest.importorskip("math_verify", reason="needs the extra math")
    grader = load_grader(name)

    for one in AMOUNTS:
        for other in AMOUNTS:
            if one != other and not {(one, other), (other, one)} & ALIKE:
                assert not grader.equal(grader.strict(f"#### {one}"), other), (one, other)


@given(
    st.tuples(st.integers(0, 99), st.integers(0, 99)),
    st.tuples(st.integers(0, 99), st.integers(0, 99)),
    st.sampled_from(
        ["{} hours {} minutes", "{} feet and {} inches", "{} remainder {}", "{} R {}", "{}:{}",
         "{} to {}", "{}-{}", "{} gizmos {} gadgets", "{} h {} min", "{}kg{}g", "{}, {}", "{} & {}"]
    ),
)  # fmt: skip
def test_two_numbers_in_an_answer_are_never_taken_for_one(
    one: tuple[int, int], other: tuple[int, int], form: str
):
    grader = load_grader("numeric")
    first, second = form.format(*one), form.format(*other)

    assert grader.strict(f"#### {first}") is None
    assert grader.equal(grader.lenient(f"The answer is {first}."), second) is False
    assert grader.equal(first, str(one[0])) is grader.equal(str(one[0]), first) is False


@pytest.mark.parametrize("marked", ["#### 24 on day 3", "#### 18 (9 x 2)", "#### 5 or 6"])
def test_no_other_number_is_taken_for_a_marked_answer_that_is_not_read(marked: str):
    assert load_grader("numeric").lenient(f"So it is.\n{marked}") is None


@pytest.mark.parametrize("things", ["T-shirts", "x-rays", "ten-dollar bills", "e-mails"])
def test_a_compound_word_of_what_is_counted_changes_no_number(things: str):
    assert load_grader("numeric").strict(f"So it is.\n#### 5 {things}") == "5"


@pytest.mark.parametrize("part", ["twelfths", "sixteenths", "twenty-fifths", "ribu", "tusen"])
def test_parts_and_multiples_of_other_names_are_no_whole_numbers(part: str):
    assert load_grader("numeric").strict(f"So it is.\n#### 5 {part}") is None
