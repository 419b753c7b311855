"""How the tutor writes, and what it rewrites after an error."""

import json

import pytest

from redistill.diagnosis import locate
from redistill.graders import numeric
from redistill.problems.held_out import HeldOut
from redistill.rationales import guards
from redistill.rationales.teacher import Reply, Request, Sitting
from redistill.records.types import Error, Problem, Rationale
from redistill.teachers import tutor
from tests.imports import ROOT

SITTING = Sitting("refine", "r1", "math", range(1))
TERSE = tutor.Settings(style="equations")
WORDY = tutor.Settings(style="sentences")
GSM8K = ROOT.parent / "shared" / "data" / "gsm8k"
LOAVES = Problem(
    id="p1",
    question="A baker has 48 loaves and bakes 27 more. Half a dozen shops take 6. How many left?",
    answer="39",
    solution="He has 48 + 27 = <<48+27=75>>75.\nThey take 6*6 = <<6*6=36>>36.\n"
    "So 75 - 36 = <<75-36=39>>39 are left.\n#### 39",
)


def rationale(problem: Problem, text: str = "old", **fields: object) -> Rationale:
    rest = {"round": "r0", "teacher": "tutor", "status": "first"} | fields
    return Rationale(id=problem.id, problem=problem.id, text=text, **rest)


def error(problem: Problem, gap: str) -> Error:
    return Error(
        id=problem.id, problem=problem.id, split="train", completion="x", verdict="wrong", gap=gap
    )


def refined(problem: Problem, style: tutor.Settings, *found: str, **fields: object) -> str:
    request = Request(problem, rationale(problem, **fields), [error(problem, gap) for gap in found])
    return tutor.refine([request], style, SITTING)[0][0].text


def test_the_first_rationale_is_terse():
    assert tutor.explain([LOAVES], TERSE, SITTING)[0][0].text == (
        "<<48+27=75>>\n<<6*6=36>>\n<<75-36=39>>\n#### 39"
    )


def test_a_failed_operation_is_worked_in_small_steps_and_only_that_one():
    assert refined(LOAVES, TERSE, "add") == (
        "48+27: 8+7=15 4+2+1=7 <<48+27=75>>\n<<6*6=36>>\n<<75-36=39>>\n#### 39"
    )


def test_the_words_of_a_human_solution_stay():
    text = refined(LOAVES, WORDY, "subtract")

    assert "75-36: 15-6=9, 7-3-1=3\nSo 75 - 36 = <<75-36=39>>39 are left." in text


def test_what_was_treated_before_stays_treated():
    text = refined(LOAVES, TERSE, "subtract", gaps=["add"])

    assert "8+7=15" in text
    assert "15-6=9" in text


def test_what_still_fails_though_it_was_treated_is_worked_in_finer_steps():
    text = refined(LOAVES, TERSE, "add", gaps=["add"])

    assert text.startswith("48+27: 8+7=15 4+2=6 6+1=7 <<48+27=75>>\n<<6*6=36>>")
    assert refined(LOAVES, TERSE, "multiply", gaps=["add", "finer add"]).startswith(
        "48+27: 8+7=15 4+2=6 6+1=7 <<48+27=75>>"
    )


def test_a_gap_common_on_dev_is_treated_where_the_student_was_right():
    request = Request(LOAVES, rationale(LOAVES), [], ["subtract", "divide"])

    reply = tutor.refine([request], TERSE, SITTING)[0][0]

    assert "15-6=9" in reply.text
    assert reply.gaps == ["subtract"]


def test_a_plan_comes_only_once_the_arithmetic_is_worked():
    both = refined(LOAVES, TERSE, "set_up", "add")
    worked = refined(LOAVES, TERSE, "add")
    again = refined(LOAVES, TERSE, "set_up", text=worked, gaps=["add"])

    assert both == worked
    assert again == f"Plan: (1) 48+27 (2) 6*6 (3) (1)-(2)\n{worked}"


def test_a_wrong_copy_is_answered_by_the_numbers_and_a_missing_answer_by_the_format():
    terse = tutor.explain([LOAVES], TERSE, SITTING)[0][0].text

    assert refined(LOAVES, TERSE, "copying", text=terse) == f"Given: 48 27 6\n{terse}"
    assert refined(LOAVES, TERSE, "format", text=terse).endswith("The answer is 39.\n#### 39")


@pytest.mark.parametrize("stage", ["generate", "refine"])
def test_a_further_draw_of_a_first_rationale_varies_the_wording_in_any_stage(stage: str):
    first, *further = (
        tutor.explain([LOAVES], TERSE, Sitting(stage, "r0", "math", range(n, n + 1)))[0][0].text
        for n in range(9)
    )

    assert first == tutor.explain([LOAVES], TERSE, SITTING)[0][0].text
    assert first not in further
    assert len({*further}) > 1
    assert all(numeric.equal(numeric.strict(text), LOAVES.answer) for text in further)


def test_without_a_solution_it_says_that_it_cannot():
    bare = LOAVES.model_copy(update={"solution": None})

    cannot = [[Reply(None, reason="no solution to explain")]]
    assert tutor.explain([bare], TERSE, SITTING) == cannot
    assert tutor.refine([Request(bare, rationale(bare))], TERSE, SITTING) == cannot


@pytest.mark.skipif(not GSM8K.is_dir(), reason="shared/data is not beside this checkout")
@pytest.mark.parametrize("count", [150, pytest.param(1500, marks=pytest.mark.slow)])
def test_it_reworks_the_human_solutions_of_gsm8k_without_changing_an_answer(count: int):
    lines = (GSM8K / "train.jsonl").read_text(encoding="utf-8").split("\n")[:count]
    problems = [Problem(**json.loads(line)) for line in lines]
    gaps = ["add", "subtract", "multiply", "divide", "set_up", "copying", "format"]

    requests = [Request(p, rationale(p, gaps=gaps)) for p in problems]
    replies = [found[0] for found in tutor.refine(requests, WORDY, SITTING)]

    reasons = [
        guards.first(p, r.text, numeric, HeldOut()) for p, r in zip(problems, replies, strict=True)
    ]
    worked = [
        r for p, r in zip(problems, replies, strict=True) if len(r.text) > len(p.solution) + 100
    ]
    assert [reason for reason in reasons if reason] == []
    assert len(worked) > 0.7 * len(problems)


@pytest.mark.parametrize(
    ("completion", "gap", "step"),
    [
        ("<<48+27=65>>\n<<6*6=36>>\n<<65-36=29>>\n#### 29", "add", "step 1: 48+27=65"),
        ("<<48+27=75>>\n<<6*6=35>>\n<<75-35=40>>\n#### 40", "multiply", "step 2: 6*6=35"),
        ("<<48+27=75>>\n<<6*6=36>>\n<<75-36=49>>\n#### 49", "subtract", "step 3: 75-36=49"),
        ("<<48-27=21>>\n#### 21", "set_up", "step 1: 48-27=21"),
        ("<<84+27=111>>\n#### 111", "copying", "step 1: 84+27=111"),
        ("<<27+48=75>>\n#### 75", "missing_step", "step 1: 27+48=75"),
        (
            "<<48+27=75>>\n<<6*6=36>>\n<<75-36=39>>\n<<75+36=111>>\n#### 111",
            "set_up",
            "step 4: 75+36=111",
        ),
        (
            "<<48+27=75>>\n<<6*6=36>>\n<<75-36=39>>\n<<48+27=75>>\n#### 75",
            "extra_step",
            "step 4: 48+27=75",
        ),
        ("", "format", None),
        ("I do not know.\n#### 5", "missing_step", None),
    ],
)
def test_finds_the_first_wrong_step_and_names_the_gap(completion: str, gap: str, step: str | None):
    assert locate.locate(LOAVES, completion, answered=True) == (gap, step)


def test_steps_that_are_right_without_an_answer_are_a_gap_of_format():
    text = "<<48+27=75>>\n<<6*6=36>>\n<<75-36=39>>"

    assert locate.locate(LOAVES, text, answered=False)[0] == "format"
