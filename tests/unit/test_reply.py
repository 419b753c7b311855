"""What is read out of a language model's reply, and what of it is never taught."""

import pytest

from redistill.grading.grader import load_grader
from redistill.llm.request import Request as Call
from redistill.llm.response import Reading
from redistill.llm.thought_tags import outside
from redistill.problems.held_out import HeldOut
from redistill.rationales import attempts, generate, guards, reply, wrapping
from redistill.rationales.teacher import Engaged, Reply, Sitting, TeachSettings
from redistill.records.types import Problem
from redistill.settings.sections import Section

CALL = Call("https://example.org/v1", "m", [{"role": "user", "content": "q"}], {})
GOOD = "0 + 7 = 7\n#### 7"
ASKED = Problem(id="p1", question="Ada has 0 figs and buys 7. How many has she?", answer="7")
NUMERIC = load_grader("numeric")
UNMARKED = "no rationale between the markers"


@pytest.mark.parametrize(
    "text",
    [
        f"<rationale>\n```\n{GOOD}\n```\n</rationale>",
        f"<rationale>\n```text\n{GOOD}\n```\n</rationale>",
        f"```\n<rationale>\n{GOOD}\n</rationale>\n```",
        f"<rationale>\n{GOOD}\n```</rationale>\n```",
        f"**<rationale>**\n{GOOD}\n**</rationale>**",
        f"`<rationale>`\n{GOOD}\n`</rationale>`",
        f"<rationale>\n**{GOOD}**\n</rationale>",
        f"<rationale>\n**Rationale:**\n{GOOD}\n</rationale>",
        f"<rationale>\n### Worked answer\n{GOOD}\n</rationale>",
        f"<rationale>\n__Rationale__: {GOOD}\n</rationale>",
        "<rationale>\n0 + 7 = 7\n**#### 7**\n</rationale>",
        "<rationale>\n0 + 7 = 7\n#### **7**\n</rationale>",
        f"<rationale>\n{GOOD}<|im_end|>\n</rationale><|im_end|>",
        f"<rationale><s>{GOOD}</s></rationale>",
        f"<rationale>\n<|begin_of_solution|>\n```\n{GOOD}\n```<|eot_id|>\n</rationale>",
        f"<RATIONALE>\n{GOOD}\n</Rationale>",
    ],
)
def test_what_wraps_a_rationale_is_taken_off(text: str):
    assert reply.read(text).text == GOOD


@pytest.mark.parametrize(
    "text",
    [
        f"<rationale>\n{GOOD}\n</rationale>\nI put it between <rationale> and </rationale>.",
        f"I write it between `<rationale>` and `</rationale>`.\n<rationale>\n{GOOD}\n</rationale>",
        f"<rationale>\n{GOOD}\n</rationale>\nThe format was <rationale>...</rationale>",
        f"<rationale>\n{GOOD}\n</rationale>\nThe tags <rationale> for start and </rationale> end.",
        f"<rationale>\n0 + 7 = 8\n#### 8\n</rationale> No.\n<rationale>\n{GOOD}\n</rationale>",
        f"<rationale>\n{GOOD}\n</rationale><|im_end|>\n<|im_start|>user\nAnother!<|im_end|>\n"
        "<|im_start|>assistant\n<rationale>\n2 + 2 = 4\n#### 4\n</rationale>",
    ],
)
def test_the_rationale_is_the_last_one_of_the_turn_and_no_sentence_about_its_markers(text: str):
    assert reply.read(text).text == GOOD


def test_markers_that_are_only_spoken_of_hold_nothing():
    said = "I would put it between <rationale> and </rationale>."

    assert reply.read(said) == reply.Found(None, unmarked=said)


@pytest.mark.parametrize(
    ("text", "unmarked"),
    [
        (GOOD, GOOD),
        (f"{GOOD}<|eot_id|>", GOOD),
        (f"Here it is:\n<rationale>\n{GOOD}", GOOD),
        (f"{GOOD}\n</rationale>", GOOD),
        (f"<think><rationale>1\n#### 1</rationale></think>\n```\n{GOOD}\n```", GOOD),
        (f"<rationale>\n{GOOD}\n</rationale>", None),
        ("", None),
    ],
)
def test_a_reply_without_a_marked_rationale_carries_what_may_be_one(
    text: str, unmarked: str | None
):
    found = reply.reply(Reading("answered", text=outside(text)), CALL)

    assert found.unmarked == unmarked
    assert (found.reason is None) == (found.text is not None)
    assert found.fingerprint == CALL.key[:16]


class Teaching:
    """A teacher that has the same replies for every problem."""

    Settings = Section

    def __init__(self, *texts: str) -> None:
        self.replies = [reply.replied(outside(text), "m", "f") for text in texts]

    def explain(
        self, problems: list[Problem], settings: Section, sitting: Sitting
    ) -> list[list[Reply]]:
        return [self.replies for _ in problems]


def made(unmarked: str, *texts: str) -> generate.Generated:
    """What becomes of replies with *texts* where the setting is *unmarked*."""
    rules = TeachSettings.model_validate(
        {
            "teacher": "t", "refiner": "t", "prompts": "math", "attempts": 1, "draws": 1,
            "choose": "first", "probe": None, "unmarked": unmarked,
        }
    )  # fmt: skip
    teacher = Engaged("t", Teaching(*texts), Section(), rules)  # type: ignore[arg-type]
    return generate.generate(
        [ASKED], teacher, NUMERIC, HeldOut(), lambda t: [0 for _ in t], round="r0", max_loss=1.0
    )


def test_a_right_reply_without_markers_is_taken_where_the_setting_says_so_and_counted():
    rejected, taken = made("reject", GOOD), made("take", GOOD)

    assert rejected.attempts.as_dict()["rejected"] == {attempts.RIGHT_UNMARKED: 1}
    assert [*rejected.rationales] == []
    assert [(row.text, row.fingerprint) for row in taken.rationales] == [(GOOD, "f")]
    assert taken.attempts.as_dict() == {"replies": 1, "accepted": 1, "unmarked": 1, "rejected": {}}
    assert "1 accepted (1 without markers)" in str(taken.attempts)


@pytest.mark.parametrize(
    "text",
    [
        "0 + 8 = 8\n#### 8",
        f"{GOOD}\nI hope that this is clear.",
        f"{GOOD}\nThis is right.",
        "It is 7.",
        f"The student forgot the figs. {GOOD}",
        f"<think>draft <rationale>\n{GOOD}\n</rationale></think>\nFirst, 1 + 1.\n#### 3",
        f"<think>between <rationale> and </rationale>: {GOOD}</think>\nIt is 7.",
    ],
)
def test_any_other_reply_without_markers_is_rejected_by_either_setting(text: str):
    for setting in ("reject", "take"):
        assert made(setting, text).attempts.as_dict()["rejected"] == {UNMARKED: 1}


@pytest.mark.parametrize(
    "text",
    [
        f"0 + 7 = 7<|im_end|>\n{GOOD}",
        f"</s> {GOOD}",
        f"0 + 7 =\n```\n7\n```\n{GOOD}",
        f"<kept>0 + 7 = 7</kept>\n{GOOD}",
        f"<think>0 + 7</think> {GOOD}",
        f"[/INST] {GOOD}",
        f"7 figs<｜end▁of▁sentence｜>\n{GOOD}",
    ],
)
def test_markup_that_would_be_taught_as_text_is_rejected_by_its_name(text: str):
    assert guards.first(ASKED, text, NUMERIC, HeldOut()) == "leftover markup"


def test_markup_that_the_question_is_about_is_let_through():
    asked = ASKED.model_copy(update={"question": "How many signs has the tag </s>?", "answer": "4"})

    assert guards.first(asked, "</s> has 4 signs.\n#### 4", NUMERIC, HeldOut()) is None


@pytest.mark.parametrize("text", [GOOD, "<<2+5=7>>\n#### 7", "2 < 3 and 5 > 4, 2 ** 3 = 8\n#### 8"])
def test_a_plain_text_stays_as_it_is(text: str):
    assert wrapping.unwrapped(text) == text
    assert not wrapping.left_in(text, "")


@pytest.mark.parametrize(
    "left",
    [
        "1 + 1 = 2 [TOOL_CALLS] so",
        "1 + 1 = 2 [end of text] so",
        "1 + 1 = 2<0x0A>so",
        "User: hi\nAssistant: 1 + 1 = 2",
        "**Assistant:** 1 + 1 = 2",
        "### Response:\n1 + 1 = 2",
    ],
)
def test_tokens_and_turns_within_a_rationale_are_leftover_markup(left: str):
    found = reply.read(f"<rationale>\n{left}\n#### 2\n</rationale>").text

    assert wrapping.left_in(found or "", "What is 1 + 1?")
    assert not wrapping.left_in(found, f"What is said here? {left}")


@pytest.mark.parametrize("token", ["[TOOL_CALLS]", "[end of text]", "<0x0A>"])
def test_tokens_at_the_end_of_a_rationale_are_taken_off(token: str):
    assert reply.read(f"<rationale>\n{GOOD}{token}\n</rationale>").text == GOOD


@pytest.mark.parametrize(
    "text",
    [
        "<rationale>\n<reasoning>0 + 7 = 7</reasoning>\n#### 7\n</rationale>",
        "<rationale>\n<think>0 + 7 = 7</think>\n#### 7\n</rationale>",
        "<think>a</think><rationale>\n0 + 7 [THINK]= 7[/THINK]\n#### 7\n</rationale>",
        "<rationale>\n0 + 7 = 7</reasoning>\n#### 7\n</rationale>",
    ],
)
@pytest.mark.parametrize("unmarked", ["take", "reject"])
def test_a_rationale_with_thoughts_in_it_is_never_taught_without_them(text: str, unmarked: str):
    assert [*made(unmarked, text).rationales] == []


def test_thoughts_before_between_and_after_rationales_leave_nothing_in_them():
    text = (
        "In <rationale> goes it.<think>a <rationale>0\n#### 0\n</rationale></think>\n"
        f"<rationale>\n{GOOD}\n</rationale><think>b</think>"
    )
    assert reply.read(outside(text)).text == GOOD
