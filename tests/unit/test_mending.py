"""Repairs: what of an attempt is kept, what a mended text must be, and who writes it."""

import pytest

from redistill.diagnosis import mine
from redistill.grading.grader import load_grader, predict
from redistill.llm.request import Request as Call
from redistill.llm.response import Reading
from redistill.problems.held_out import HeldOut
from redistill.rationales import controls, guards, prompt, refine
from redistill.rationales import reply as replying
from redistill.rationales.teacher import Request, Sitting
from redistill.records.types import Error, Problem, Rationale, Version
from redistill.rounds.branches import Arm, Branch, Round
from redistill.solutions.gaps import Diagnosis
from redistill.solutions.mending import Mending, mending
from redistill.teachers import tutor
from tests.settings import PLAIN
from tests.unit.test_loop_rules import GUARD, MINE

NUMERIC = load_grader("numeric")
SUM = Problem(
    id="p1", question="Ada has 12 boxes of 4 pens and gives 13 away. How many are left?",
    answer="35", solution="<<12*4=48>>\n<<48-13=35>>\n#### 35",
)  # fmt: skip
RIGHT_START = "<<12*4=48>>\n<<48-13=45>>\n#### 45"
PROSE = "Ada has 12 * 4 = 48 pens. Then 48 - 13 = 45 are left.\n#### 45"
COLOUR = Problem(
    id="c1", question="What falls?", answer="B", choices={"A": "a wall", "B": "rain"},
)  # fmt: skip
TAKEN = "Water comes down as drops. So it is a wall.\n#### A"
RULES = refine.RefineSettings(manner="repair", own=0, scope="wrong", extend=False, max_loss=0.0)
SITTING = Sitting("refine", "r1", "math", range(1))


def error(problem: Problem, text: str, grader: str = "numeric") -> Error:
    found = predict(problem, "train", text, eos=True, tokens=9, grader=load_grader(grader))
    return mine.mine({problem.id: problem}, [found], {}, MINE)[0]


def lesson(problem: Problem, text: str) -> Rationale:
    return Rationale(
        id=problem.id, problem=problem.id, text=text, round="r0", teacher="t", status="first"
    )


def test_what_stands_before_the_first_wrong_step_is_kept():
    assert mending(error(SUM, RIGHT_START)) == Mending(RIGHT_START, "<<12*4=48>>", "<<48-13=45>>")
    assert mending(error(SUM, PROSE)) == Mending(
        PROSE, "Ada has 12 * 4 = 48 pens.", "Then 48 - 13 = 45"
    )


@pytest.mark.parametrize("text", ["<<12*4=46>>\n#### 46", "", "So.\n#### 9"])
def test_an_attempt_that_is_wrong_from_the_start_is_not_mended(text: str):
    assert mending(error(SUM, text)) is None


@pytest.mark.parametrize("text", ["<<12*4=48>>\n#### 48", "<<12*4=48>>\n<<48-13=35>>\n#### 53"])
def test_where_a_step_is_missing_or_the_answer_alone_is_wrong_the_last_step_is_kept(text: str):
    found = mending(error(SUM, text))

    assert found is not None
    assert (found.kept, found.wrong) == (text.rpartition("\n")[0], None)
    asked = Request(SUM, lesson(SUM, "#### 35"), [error(SUM, text)], mending=found)
    ((reply,),) = tutor.refine([asked], tutor.Settings(style="equations"), SITTING)
    assert reply.text is not None
    assert guards.refined(
        SUM, reply.text, SUM.solution or "", [], found, None, NUMERIC, HeldOut(), GUARD
    ) in (None, "unchanged")  # fmt: skip


def test_a_step_that_stands_in_an_accepted_worked_answer_is_kept():
    told = error(SUM, RIGHT_START)
    known = told.model_copy(update={"history": [Version(round="r0", text="<<48-13=45>>")]})

    assert mending(known) == Mending(RIGHT_START, "<<12*4=48>>\n<<48-13=45>>", None)


def test_of_a_wrong_choice_the_teacher_says_how_far_it_is_right():
    found = mending(error(COLOUR, TAKEN, "choice"))

    assert found == Mending(TAKEN, None, None)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("<<12*4=48>>\n48-13: 8-3=5 40-10=30 <<48-13=35>>\n#### 35", None),
        ("<<12*4=48>>  <<48-13=35>>\n#### 35", None),
        ("<<4*12=48>>\n<<48-13=35>>\n#### 35", "does not keep what was right"),
        ("<<12*4=48>>\n<<48-13=45>>\n<<45-10=35>>\n#### 35", "keeps the wrong step"),
        ("<<12*4=48>>\n#### 45", "wrong answer"),
        (f"<<12*4=48>>\n{'<<48-13=35>> ' * 40}\n#### 35", "too long"),
    ],
)
def test_a_mended_text_keeps_what_was_right_and_not_what_was_wrong(text: str, fault: str | None):
    found = error(SUM, RIGHT_START)
    before = "<<12*4=48>>\n<<48-13=35>> \n#### 35"

    said = guards.refined(
        SUM, text, before, [found], mending(found), None, NUMERIC, HeldOut(), GUARD
    )

    assert said == fault


@pytest.mark.parametrize(
    ("kept", "text", "fault"),
    [
        ("Water comes down as drops.", "Water comes down as drops. So it is rain.", None),
        ("", "Drops are rain.", None),
        (None, "Water comes down as drops. So it is rain.", "does not say what it keeps"),
        ("Water falls.", "Water falls. So it is rain.", "does not say what it keeps"),
        ("Water comes down as drops.", "Rain falls.", "does not keep what was right"),
    ],
)
def test_what_a_teacher_says_that_it_keeps_stands_in_the_attempt_and_in_its_text(
    kept: str | None, text: str, fault: str | None
):
    assert Mending(TAKEN, None, None).fault(text, kept) == fault


def test_a_reply_says_what_it_keeps_between_markers_of_its_own():
    call = Call("http://127.0.0.1", "m", [], {})
    said = "Wrong at the end.\n<kept>\nWater.\n</kept>\n<rationale>\nWater.\n#### B\n</rationale>"

    reply = replying.reply(Reading("answered", text=said), call)

    assert (reply.kept, reply.text) == ("Water.", "Water.\n#### B")


@pytest.mark.parametrize("kind", ["math", "choice", "yes_no", "brief"])
def test_the_prompt_to_repair_shows_the_attempt_and_what_is_kept_of_it(kind: str):
    found = error(SUM, RIGHT_START)
    request = Request(SUM, lesson(SUM, "#### 35"), [found], mending=mending(found))

    text = prompt.refine(request, kind)

    mark = next(line for line in text.split("\n") if line.startswith("====="))
    assert f"{mark}\n{RIGHT_START}\n{mark}" in text
    assert f"{mark}\n<<12*4=48>>\n{mark}" in text
    assert "word for word" in text
    assert "#### 35" not in text.replace("Round r0:\n#### 35", "")


def test_the_prompt_to_repair_a_choice_leaves_the_part_to_the_teacher():
    found = error(COLOUR, TAKEN, "choice")

    text = prompt.refine(Request(COLOUR, lesson(COLOUR, "#### B"), [found], mending=mending(found)),
                         "choice")  # fmt: skip

    assert prompt.UNSETTLED in text
    assert "<kept>" in text


def test_the_tutor_keeps_the_right_lines_of_the_student_and_works_the_step_that_failed():
    found = error(SUM, RIGHT_START)
    asked = Request(SUM, lesson(SUM, SUM.solution or ""), [found], mending=mending(found))

    ((reply,),) = tutor.refine([asked], tutor.Settings(style="equations"), SITTING)

    assert reply.text is not None
    kept, worked, answer = reply.text.split("\n")
    assert kept == "<<12*4=48>>"
    assert worked.endswith("<<48-13=35>>")
    assert len(worked) > len("<<48-13=35>>")
    assert answer == "#### 35"
    assert Mending(RIGHT_START, "<<12*4=48>>", "<<48-13=45>>").fault(reply.text) is None


def test_a_run_that_repairs_mends_what_it_can_and_rewrites_the_rest():
    other = SUM.model_copy(update={"id": "p2"})
    known = {p.id: p for p in (SUM, other)}
    errors = [error(SUM, RIGHT_START), error(other, "<<12*4=46>>\n#### 46")]
    before = [lesson(p, "#### 35") for p in known.values()]

    def placed(manner: str) -> list[bool]:
        rules = RULES.model_copy(update={"manner": manner})
        found = refine.to_rewrite(known, before, errors, Diagnosis([], False), rules)
        return [request.mending is not None for _, request in found.placed]

    assert placed("repair") == [True, False]
    assert placed("rewrite") == [False, False]


def test_the_arm_that_repairs_differs_from_the_one_that_rewrites_in_that_alone():
    told = {"from_": "r0", "of": "r0", "like": "r1", "start": "base", "times": 1, "scope": "like"}
    arms = {
        name: Arm(rationales=name, feedback=name, **told, **PLAIN)  # type: ignore[arg-type]
        for name in ("error", "repair")
    }
    known: dict[str, Branch] = {
        "r0": Branch(from_="r0", rationales="r0", start="base", times=1, **PLAIN),
        "r1": Round(
            from_="r0", of="r0", like="r0", rationales="r1", start="base", times=1, **PLAIN
        ),
    }
    before = [lesson(SUM, "#### 35")]
    like = [lesson(SUM, "new").model_copy(update={"round": "r1", "reason": "add"})]

    def asked(name: str) -> Request:
        rules = RULES.model_copy(update={"manner": "rewrite"})
        found = controls.requests(
            name, arms[name], known | arms, {"p1": SUM}, before, like,
            [error(SUM, RIGHT_START)], Diagnosis(["add"], False), rules,
        )  # fmt: skip
        return found.placed[0][1]

    rewrite, repair = asked("error"), asked("repair")

    assert rewrite.mending is None
    assert repair.mending == mending(error(SUM, RIGHT_START))
    assert rewrite.errors == repair.errors
    assert rewrite.profile == repair.profile
