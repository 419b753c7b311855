"""What a teacher that is a language model gets to read, and what is read out of its reply."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redistill.console.exceptions import RefusedError
from redistill.llm.request import Request as Call
from redistill.llm.response import Reading
from redistill.rationales import prompt as prompts
from redistill.rationales.teacher import Request
from redistill.records.types import Error, Exemplar, Problem, Rationale, Version

KINDS = ["math", "choice", "yes_no", "brief"]
FIELDS = {
    "question": "Who baked the forty loaves?",
    "choices": "the miller's cousin",
    "history": "An early version",
    "round": "Round r0",
    "rationale": "A later version",
    "completion": "A completion of mine",
    "verdict": "cut off",
    "gap": "extra step",
    "first_wrong_step": "step 2: 4*4=15",
    "exemplar question": "A question of dev",
    "exemplar completion": "A completion on dev",
}


def request(completion: str = FIELDS["completion"], **changes: object) -> Request:
    problem = Problem(
        id="p",
        question=FIELDS["question"],
        answer="B",
        choices={"A": FIELDS["choices"], "B": "nobody"},
    )
    rationale = Rationale(
        id="p",
        problem="p",
        text=FIELDS["rationale"],
        round="r1",
        teacher="t",
        status="refined",
        history=[Version(round="r0", text=FIELDS["history"])],
    )
    error = Error(
        id="p",
        problem="p",
        split="train",
        completion=completion,
        verdict="cut_off",
        gap="extra_step",
        first_wrong_step=FIELDS["first_wrong_step"],
        exemplars=[
            Exemplar(
                problem="d",
                question=FIELDS["exemplar question"],
                completion=FIELDS["exemplar completion"],
            )
        ],
    )
    return Request(problem, rationale, [error.model_copy(update=changes)])


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("kind", KINDS)
def test_each_field_reaches_the_prompt_to_refine(kind: str, field: str):
    if field == "choices" and kind != "choice":
        assert "[[choices]]" not in prompts.template("refine", kind)
        return

    assert FIELDS[field] in prompts.refine(request(), kind)


@pytest.mark.parametrize("kind", KINDS)
def test_the_teacher_is_asked_to_diagnose_first_and_to_answer_between_markers(kind: str):
    prompt = prompts.refine(request(), kind)

    assert prompt.index("First diagnose") < prompt.index("Then write") < prompt.index("<rationale>")
    assert "####" in prompt
    assert "[[" not in prompt


@pytest.mark.parametrize("kind", KINDS)
def test_the_prompt_to_explain_holds_the_question_and_not_the_answer(kind: str):
    problem = Problem(id="p", question="How many are left?", answer="8193", choices={"A": "few"})

    prompt = prompts.explain(problem, kind)

    assert "How many are left?" in prompt
    assert ("few" in prompt) == (kind == "choice")
    assert "8193" not in prompt


@given(st.text(st.characters(codec="utf-8"), max_size=300))
def test_what_a_student_wrote_never_closes_its_fence(text: str):
    mark = prompts.fence(text)
    prompt = prompts.refine(request(text), "math")

    assert mark not in text
    if text not in FIELDS.values():
        assert f"=====\n{text}\n=====" in prompt


def test_a_fence_is_the_same_for_the_same_text_and_avoids_one_that_guesses_it():
    guess = prompts.fence("")

    assert prompts.fence("a") == prompts.fence("a")
    assert prompts.fence(guess) not in guess


def test_what_was_mined_of_a_rambling_student_is_shown_whole():
    """How much that is at most says mine.max_completion, and nothing else."""
    rambling = "ab " * 5000

    prompt = prompts.refine(request(rambling), "math")

    assert prompt.count(rambling) == 1
    assert "more characters" not in prompt


@pytest.mark.parametrize("kind", KINDS)
def test_several_errors_on_a_problem_are_all_shown_by_numbers(kind: str):
    one = request("The first went wrong.").errors
    two = request(
        "The second\nwent wrong.", verdict="wrong", gap="add", first_wrong_step=None
    ).errors
    asked = replace(request(), errors=[*one, *two])

    prompt = prompts.refine(asked, kind)

    mark = prompts.fence(
        "The first went wrong.", "The second\nwent wrong.", FIELDS["exemplar completion"]
    )
    assert f"(1)\n{mark}\nThe first went wrong.\n{mark}" in prompt
    assert f"(2)\n{mark}\nThe second\nwent wrong.\n{mark}" in prompt
    assert "(1) cut off; (2) wrong" in prompt
    assert "(1) extra step; (2) add" in prompt
    assert f"(1) {FIELDS['first_wrong_step']}; (2) {prompts.UNKNOWN}" in prompt
    assert prompt.count(FIELDS["exemplar completion"]) == 1


def test_a_blank_in_a_field_is_text():
    assert "[[question]] [[nothing]]" in prompts.refine(request("[[question]] [[nothing]]"), "math")


def test_an_unknown_blank_and_an_unknown_kind_are_refused_by_name():
    with pytest.raises(RefusedError, match=r"unknown blank \[\[colour\]\]"):
        prompts.fill("[[colour]]", {"question": "q"})
    with pytest.raises(RefusedError, match="known are brief, choice, math, yes_no"):
        prompts.template("explain", "poetry")


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        ("diagnosis <rationale>\nA\n#### 1\n</rationale> bye", "A\n#### 1"),
        ("<rationale>first</rationale> <rationale>last</rationale>", "last"),
        ("<rationale>open", None),
        ("no markers", None),
        ("<rationale>  </rationale>", None),
        ("</rationale> <rationale>", None),
        ("", None),
    ],
)
def test_the_last_complete_rationale_between_markers_is_read(reply: str, text: str | None):
    assert prompts.rationale(reply) == text


def test_a_reply_without_use_carries_its_reason():
    call = Call("e", "m", [], {})

    assert prompts.reply(Reading("truncated"), call).reason == "truncated"
    assert prompts.reply(Reading("answered", text="x"), call).reason == (
        "no rationale between the markers"
    )
    kept = prompts.reply(Reading("answered", text="<rationale>x</rationale>"), call)
    assert (kept.text, kept.teacher, kept.fingerprint) == ("x", "m", call.key[:16])
