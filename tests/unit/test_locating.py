"""Where a wrong completion first goes wrong, in texts that mark no equation."""

import json
from collections import Counter

import pytest

from redistill.console.exceptions import RefusedError
from redistill.diagnosis import mine
from redistill.diagnosis.locate import locate
from redistill.diagnosis.settings import MineSettings
from redistill.grading.grader import load_grader, predict
from redistill.records.types import Problem
from redistill.solutions import gaps
from redistill.solutions.wordings import bare, nth, spoken, steps
from tests.imports import ROOT
from tests.timing import growth

COMPLETIONS = ROOT.parent / "shared" / "data" / "gsm8k" / "model_completions.jsonl"
CAPS = Problem(
    id="caps",
    question="Danny has 15 caps and finds 18 more. He puts them into bags of 3. How many bags?",
    answer="11",
)
WORKED = "Danny has 15 + 18 = 33 caps.\nThat fills 33 / 3 = 11 bags.\n#### 11"
WHERE = Problem(
    id="where",
    question="Where would a banker put money?",
    answer="A",
    choices={"A": "vault", "B": "river", "C": "forest"},
)
HENS = Problem(id="hens", question="Do hens lay eggs?", answer="yes")


def at(problem: Problem, text: str, answer: str | None = "9", worked: str | None = None):
    return locate(problem, text, answered=answer is not None, answer=answer, worked=worked)


@pytest.mark.parametrize(
    ("text", "gap", "step"),
    [
        ("He has 15 + 18 = 34 caps. 34 / 3 = 11.", "add", "step 1: 15+18=34"),
        ("He has 15 plus 18, which is 34 caps.", "add", "step 1: 15+18=34"),
        ("33 divided by 3 makes 12 bags.", "divide", "step 1: 33/3=12"),
        ("He has 15 times 18, that is 270 caps.", "set_up", "step 1: 15*18=270"),
        ("He has 51 + 18 = 69 caps.", "copying", "step 1: 51+18=69"),
        ("He has 15 + 18 = 33 caps.", "missing_step", "step 1: 15+18=33"),
        ("Danny is lucky. All in all he has 40 caps. He likes them.", "set_up",
         "All in all he has 40 caps"),
        ("Danny has 15 caps. He finds 18.", "missing_step", None),
    ],
)  # fmt: skip
def test_a_text_without_marks_is_compared_with_the_rationale_that_was_taught(
    text: str, gap: str, step: str | None
):
    assert at(CAPS, f"{text}\n#### 9", worked=WORKED) == (gap, step)


@pytest.mark.parametrize(
    ("text", "gap", "step"),
    [
        ("15 + 18 = 34", "add", "step 1: 15+18=34"),
        ("15 + 81 = 96", "copying", "step 1: 15+81=96"),
        ("18 - 15 = 3", "set_up", "step 1: 18-15=3"),
        ("15 + 18 = 33\n33 / 3 = 11", "format", "step 2: 33/3=11"),
        ("15 + 18 = 33\n33 / 3 = 11\n11 + 15 = 26", "extra_step", "step 3: 11+15=26"),
        ("I think so.", "unknown", None),
    ],
)
def test_without_anything_to_compare_with_arithmetic_and_numbers_still_tell(
    text: str, gap: str, step: str | None
):
    assert at(CAPS, f"{text}\n#### 9") == (gap, step)


def test_a_wrong_choice_is_named_as_the_distractor_that_was_taken():
    assert at(WHERE, "Banks are by water.\n#### B", "B") == ("distractor", "takes (B) river")
    assert at(WHERE, "Who knows.\n#### E", "E")[1] == "takes (E) which is not offered"
    assert at(WHERE, "Banks are by water.", None) == ("format", None)
    assert at(WHERE, "Vaults, and on and on", "A") == ("format", None)


def test_arithmetic_that_fails_comes_before_the_choice_it_led_to():
    sold = WHERE.model_copy(update={"choices": {"A": "33", "B": "34"}})

    assert at(sold, "15 + 18 = 34\n#### B", "B") == ("add", "step 1: 15+18=34")
    assert at(sold, "x = 34 as we know\n#### B", "B") == ("distractor", "takes (B) 34")


def test_yes_for_no_and_no_for_yes_are_gaps_of_their_own():
    eggs = HENS.model_copy(update={"answer": "no"})

    assert at(HENS, "They do not.\n#### no", "no") == ("no_for_yes", "answers no")
    assert at(eggs, "They do.\n#### yes", "yes") == ("yes_for_no", "answers yes")


def test_the_metrics_say_which_answer_was_taken_for_which():
    rules = MineSettings(
        folds=None,
        max_completion=100,
        exemplars=1,
        shown=3,
        common=0.1,
        alpha=0.1,
        below=1.0,
        most=None,
    )
    choice = load_grader("choice")
    others = [WHERE.model_copy(update={"id": f"w{i}"}) for i in range(4)]
    texts = ["#### B", "#### B", "#### C", "#### A"]
    known = {p.id: p for p in others}
    predictions = [
        predict(p, "dev", text, eos=True, tokens=2, grader=choice)
        for p, text in zip(others, texts, strict=True)
    ]

    errors = mine.mine(known, predictions, {}, rules)

    assert mine.confused(known, errors) == {"A": {"B": 2, "C": 1}}
    profile = mine.profile(errors, 4, 0.5)
    assert (profile["gaps"]["distractor"], profile["common"]) == (3, ["distractor"])


def test_words_are_read_as_equations_only_where_they_say_one():
    assert [str(e) for e in spoken("5 times 3 makes 15 and 15 divided by 5 is 3.")] == [
        "5*3=15",
        "15/5=3",
    ]
    assert spoken("She is 5 and he is over 9 years, which is 4 more.") == []


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("80 miles + 15 miles = 95 miles", ["80+15=95"]),
        ("Interest is $750 x 2/100 = $15.", ["750*2/100=15"]),
        ("$50,000/year * 30 years = $1,500,000.", ["50,000*30=1500000"]),
        ("She earned $10 x 45 = $450 in June", ["10*45=450"]),
        ("so 2r + 2 = 42 and x + 3 = 8", []),
        ("50 - 33.5 - 34.0 = $-17.5", ["50-33.5-34.0=-17.5"]),
        ("(75/100)*price = 19", []),
        ("at 5:00 = 4", []),
        ("3 + 4 = 7 = 14 / 2", ["3+4=7"]),
    ],
)
def test_bare_equations_are_read_with_their_units(text: str, read: list[str]):
    assert [str(e) for e in bare(text)] == read


@pytest.mark.parametrize(
    ("result", "holds"),
    [("3.33", True), ("3.3333333333333335", True), ("3.34", True), ("3.4", True), ("3.5", False),
     ("3", False), ("4", False)],
)  # fmt: skip
def test_a_rounded_result_is_no_wrong_arithmetic(result: str, holds: bool):
    assert [e.rounds for e in bare(f"10 / 3 = {result}")] == [holds]


@pytest.mark.parametrize(
    "text", ["<<1+1=2>>2 and <<2*3=7>>7", "1 + 1 = 2, so 2 x 3 = 7", "One: 2 plus 3 is 5.", "none"]
)
def test_a_step_by_number_is_that_of_all_steps(text: str):
    numbered = [nth(text, count) for count in range(5)]

    assert numbered == [None, *steps(text), *[None] * 4][:5]


@pytest.mark.timed
@pytest.mark.parametrize("piece", ["= ", "1+", "1 x ", "plus 3 ", "5 plus ", "((", "a=", "1+1="])
def test_a_long_text_takes_time_in_proportion(piece: str):
    runs = [lambda n=n: steps(piece * n) for n in (1_000, 2_000, 4_000)]

    assert growth(runs, least=2) < 3


@pytest.mark.skipif(not COMPLETIONS.is_file(), reason="shared/data is not beside this checkout")
def test_most_wrong_outputs_of_real_models_are_located_without_their_marks():
    """The outputs carry marks; without them, and against no solution, a step is still found."""
    numeric = load_grader("numeric")
    rows = [json.loads(line) for line in COMPLETIONS.read_text().split("\n")[:900] if line]
    found: Counter[str] = Counter()
    for row in rows:
        given, text = numeric.lenient(row["completion"]), row["completion"]
        if numeric.equal(given, row["answer"]):
            continue
        while "<<" in text and ">>" in text[text.index("<<") :]:
            start = text.index("<<")
            text = text[:start] + text[text.index(">>", start) + 2 :]
        asked = Problem(id="p", question=row["question"], answer=row["answer"])
        found[at(asked, text, given)[0]] += 1

    assert found.total() > 500
    assert found["unknown"] / found.total() < 0.05, found


@pytest.mark.parametrize("gap", [*gaps.ALL, gaps.HIDDEN])
def test_every_gap_has_words_of_its_own_for_a_teacher_to_read(gap: str):
    words = gaps.words(gap)

    assert "_" not in words
    assert [other for other in gaps.WORDS if gaps.words(other) == words] == [gap]


def test_a_gap_that_there_is_not_is_refused():
    with pytest.raises(RefusedError, match="gap 'carelessness'"):
        gaps.words("carelessness")
