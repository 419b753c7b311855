"""What a teacher that is a language model gets to read, and what is read out of its reply."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redistill.console.exceptions import RefusedError
from redistill.llm.request import Request as Call
from redistill.llm.response import Reading
from redistill.rationales import prompt as prompts
from redistill.rationales import reply as replying
from redistill.rationales.teacher import Request
from redistill.records.types import Error, Exemplar, Problem, Rationale, Version
from redistill.solutions import gaps

KINDS = ["math", "choice", "yes_no", "brief", "open", "code"]
FIELDS = {
    "question": "Who baked the forty loaves?",
    "choices": "the miller's cousin",
    "history": "An early version",
    "round": "Round r0",
    "rationale": "A later version",
    "completion": "A completion of mine",
    "verdict": "cut off",
    "gap": "it took a step too many",
    "first_wrong_step": "step 2: 4*4=15",
    "exemplar question": "A question of dev",
    "exemplar completion": "A completion on dev",
    "exemplar choices": "(A) the fourth bakery",
    "exemplar gap": "Kind of failure: it took a choice that is wrong",
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
                choices={"A": "the fourth bakery"},
                gap="distractor",
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
    assert f"(1) {gaps.words('extra_step')}; (2) it added wrongly" in prompt
    assert f"(1) {FIELDS['first_wrong_step']}; (2) {prompts.UNKNOWN}" in prompt
    assert prompt.count(FIELDS["exemplar completion"]) == 1


def several(*errors: dict[str, object]) -> Request:
    """A request with an error for each of *errors*, which says how it differs."""
    found = [request().errors[0].model_copy(update=changes) for changes in errors]
    return replace(request(), errors=found)


def unaided(profile: Sequence[str] = (), cases: Sequence[Exemplar] = ()) -> Request:
    """A request about a problem on which the student is not known to have failed."""
    return replace(request(), errors=[], profile=profile, cases=cases)


DEV = request().errors[0].exemplars
POOLED = [{"student": "r0"}, {"student": "wide-r0", "completion": "Another attempt"}]
UNTAUGHT = [error | {"held_out": True} for error in POOLED]
SITUATIONS = {
    "failed": request(),
    "failed thrice": several({}, {"completion": "b"}, {"completion": "c"}),
    "held out": several({"held_out": True}),
    "pooled": several(*POOLED),
    "pooled, held out": several(*UNTAUGHT),
    "pooled, one held out": several(POOLED[0], UNTAUGHT[1]),
    "unaided": unaided(["add", "set_up"], DEV),
    "unaided, no profile": unaided([], DEV),
    "nothing known": unaided(),
}
SAID = {  # what is true in these situations, and in no other
    "It failed.": {"failed", "failed thrice", "held out"},
    "It had not been trained on the worked answers below": {"held out"},
    "None had been trained on the worked answers below": {"pooled, held out"},
    "and then met the same problem again": {"failed", "failed thrice", "pooled"},
    "The worked answers it was trained on so far": {
        "failed", "failed thrice", "pooled", "unaided", "unaided, no profile", "nothing known",
    },
    "Several small language models": {"pooled", "pooled, held out", "pooled, one held out"},
    "student r0": {"pooled", "pooled, held out", "pooled, one held out"},
    "student wide-r0, not trained on the worked answers below:": {"pooled, one held out"},
    "Some had been trained": {"pooled, one held out"},
    "No failure of it on this problem is known, but it failed": {"unaided", "unaided, no profile"},
    "No failure of it is shown here": {"nothing known"},
    "On the similar problems: Did it": {"unaided", "unaided, no profile"},
    "- Where the attempt went wrong": {"failed", "held out"},
    "- Where an attempt went wrong": {
        "failed thrice", "pooled", "pooled, held out", "pooled, one held out",
    },
    prompts.situation.NONE_SHOWN: {"unaided", "unaided, no profile", "nothing known"},
    "A completion on dev": {*SITUATIONS} - {"nothing known"},
}  # fmt: skip


@pytest.mark.parametrize("kind", ["math", "choice", "yes_no", "open", "code"])
@pytest.mark.parametrize("sentence", SAID)
def test_a_prompt_says_what_is_true_of_its_situation_and_nothing_else(sentence: str, kind: str):
    said = {name for name, asked in SITUATIONS.items() if sentence in prompts.refine(asked, kind)}

    assert said == SAID[sentence]


@pytest.mark.parametrize("name", SITUATIONS)
def test_no_prompt_to_refine_has_the_gold_answer_or_an_empty_blank(name: str):
    asked = SITUATIONS[name]
    hidden = replace(asked, problem=asked.problem.model_copy(update={"answer": "the gold one"}))

    for kind in KINDS:
        prompt = prompts.refine(hidden, kind)
        assert "the gold one" not in prompt
        assert "[[" not in prompt


def test_the_profile_of_dev_is_told_in_words_where_there_is_no_error():
    prompt = prompts.refine(SITUATIONS["unaided"], "math")

    told = "on similar problems, it added wrongly; it set the calculation up wrongly"
    assert f"Kind of failure: {told}\n" in prompt
    assert "set_up" not in prompt


def test_the_attempts_of_a_pool_stand_after_the_names_of_their_students():
    prompt = prompts.refine(SITUATIONS["pooled"], "math")

    mark = prompts.fence(FIELDS["completion"], "Another attempt", FIELDS["exemplar completion"])
    assert f"(1)\nstudent r0:\n{mark}\n{FIELDS['completion']}\n{mark}" in prompt
    assert f"(2)\nstudent wide-r0:\n{mark}\nAnother attempt\n{mark}" in prompt


def test_a_brief_prompt_is_true_of_its_situation_as_well():
    brief = {name: prompts.refine(asked, "brief") for name, asked in SITUATIONS.items()}

    assert "A reader of them wrote" in brief["failed"]
    assert "Somebody who had not read them wrote" in brief["held out"]
    assert "What a reader of them wrote on the first question is not shown" in brief["unaided"]


def test_a_blank_in_a_field_is_text():
    assert "[[question]] [[nothing]]" in prompts.refine(request("[[question]] [[nothing]]"), "math")


def test_an_unknown_blank_and_an_unknown_kind_are_refused_by_name():
    with pytest.raises(RefusedError, match=r"unknown blank \[\[colour\]\]"):
        prompts.fill("[[colour]]", {"question": "q"})
    with pytest.raises(RefusedError, match="known are brief, choice, code, math, open, yes_no"):
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
    assert replying.read(reply).text == text


def test_a_reply_without_use_carries_its_reason():
    call = Call("e", "m", [], {})

    assert replying.reply(Reading("truncated"), call).reason == "truncated"
    assert replying.reply(Reading("answered", text="x"), call).reason == (
        "no rationale between the markers"
    )
    kept = replying.reply(Reading("answered", text="<rationale>x</rationale>"), call)
    assert (kept.text, kept.teacher, kept.fingerprint) == ("x", "m", call.key[:16])
