"""The ladder of controls: as many calls as a round, less feedback, and nothing else changed."""

import pytest

from redistill.console.exceptions import RefusedError
from redistill.diagnosis.nearest import Cases
from redistill.graders import numeric
from redistill.rationales import controls, teacher
from redistill.rationales.refine import RefineSettings, Requests
from redistill.rationales.teacher import Request
from redistill.records.types import Error, Problem, Rationale
from redistill.rounds import branches
from redistill.rounds.branches import Arm, Branch, Round
from redistill.rounds.targets import Tailored
from redistill.solutions import gaps
from redistill.solutions.gaps import Diagnosis
from redistill.teachers import tutor
from tests.settings import PLAIN, added

TERSE = tutor.Settings(style="equations")
COMMON = Diagnosis(["add", "multiply"], stop=False)
RULES = RefineSettings(manner="rewrite", own=0, scope="wrong", extend=True, max_loss=0.0)
BLIND = """
  blind-r1: {from: r0, rationales: blind-r1, start: base, times: 1, lessons: latest, probe: false}
  blind-r2: {from: blind-r1, rationales: blind-r2, start: base, times: 1, lessons: latest,
             probe: true}
"""
ASKED = """
  blind-r1: {from: r0, of: r0, like: r1, start: base, feedback: none, scope: like}
  blind-r2: {from: blind-r1, of: blind-r1, like: r2, start: base, feedback: none, scope: like}
"""


def arm(feedback: str, scope: str = "like", name: str = "a", from_: str = "r0") -> Arm:
    return Arm(
        from_=from_, of=from_, rationales=name, start="base", times=1, **PLAIN,
        feedback=feedback, like="r1", scope=scope,
    )  # fmt: skip


BRANCHES = {
    "r0": Branch(from_="r0", rationales="r0", start="base", times=1, **PLAIN),
    "r1": Round(from_="r0", of="r0", like="r0", rationales="r1", start="base", times=1, **PLAIN),
    "a": arm("none"),
    "b": arm("none", name="b", from_="a"),
}


def problem(n: int) -> Problem:
    text = f"<<{n}+7={n + 7}>>\n<<{n + 7}*2={2 * n + 14}>>\n#### {2 * n + 14}"
    return Problem(id=f"p{n}", question=f"{n} and 7, twice?", answer=str(2 * n + 14), solution=text)


def lesson(p: Problem, reason: str | None = None, status: str = "first") -> Rationale:
    text = tutor.explain([p], TERSE, teacher.Sitting("generate", "r0", "math", range(1)))
    return Rationale(
        id=p.id, problem=p.id, text=text[0][0].text, round="r0", teacher="tutor", status=status,
        reason=reason,
    )  # fmt: skip


def mistake(p: Problem, gap: str = "add", split: str = "train") -> Error:
    return Error(
        id=p.id, problem=p.id, split=split, completion=f"about {p.id}", verdict="wrong", gap=gap
    )


PROBLEMS = [problem(n) for n in range(6)]
KNOWN = {p.id: p for p in PROBLEMS}
BEFORE = [lesson(p) for p in PROBLEMS]
ERRORS = [mistake(p, gap) for p, gap in zip(PROBLEMS[:4], gaps.OPERATION.values(), strict=True)]
LIKE = [
    lesson(PROBLEMS[0], "add", "refined"),
    lesson(PROBLEMS[1], "subtract", "refined"),
    lesson(PROBLEMS[2], "too long", "kept"),
    lesson(PROBLEMS[3], "not wrong", "kept"),
    lesson(PROBLEMS[4], "common on dev", "refined"),
    lesson(PROBLEMS[5], "stopped", "kept"),
]


ON_DEV = [mistake(problem(n), gap, "dev") for n, gap in ((90, "add"), (4, "divide"), (91, "add"))]
CASES = Cases.on_dev([*ERRORS, *ON_DEV], [problem(n) for n in (90, 4, 91)], 2, asks=True)


def requests(
    rewrite: Round | Tailored,
    name: str = "a",
    like: list[Rationale] = LIKE,
    errors: list[Error] = ERRORS,
) -> Requests:
    return controls.requests(
        name, rewrite, BRANCHES, KNOWN, BEFORE, like, errors, COMMON, RULES, CASES
    )


def asked(feedback: str, scope: str = "like") -> list[tuple[int, Request]]:
    return [*requests(arm(feedback, scope)).placed]


@pytest.mark.parametrize("feedback", ["none", "verdict", "shuffled", "error"])
def test_every_arm_asks_about_the_problems_that_the_round_asked_about(feedback: str):
    assert [place for place, _ in asked(feedback)] == [0, 1, 2, 4]
    assert [place for place, _ in asked(feedback, "all")] == [0, 1, 2, 3, 4, 5]


def test_only_true_feedback_shows_the_students_own_error_and_the_gaps_of_dev():
    shown = {f: [r for _, r in asked(f)] for f in ("none", "verdict", "shuffled", "error")}

    assert [r.errors for r in shown["error"]] == [[ERRORS[0]], [ERRORS[1]], [ERRORS[2]], []]
    assert [list(r.profile) for r in shown["error"]] == [["add", "multiply"]] * 4
    assert all(not r.profile for f in ("none", "verdict", "shuffled") for r in shown[f])
    assert all(not r.errors for r in shown["none"])
    assert [e.gap for r in shown["verdict"] for e in r.errors] == [gaps.HIDDEN] * 3
    assert not any("about" in e.completion for r in shown["verdict"] for e in r.errors)


def test_only_a_problem_without_an_error_and_with_true_feedback_is_shown_cases_of_dev():
    shown = {f: [r for _, r in asked(f)] for f in ("none", "verdict", "shuffled", "error")}

    assert all(not r.cases for f in ("none", "verdict", "shuffled") for r in shown[f])
    *own, unaided = shown["error"]
    assert all(r.errors and not r.cases for r in own)
    assert [case.problem for case in unaided.cases] == ["p90", "p91"]  # p4 fails in another way
    assert {case.gap for case in unaided.cases} == {"add"}


def test_where_no_gap_is_common_the_nearest_case_of_any_gap_is_shown():
    assert CASES.like(problem(4), [])[0].problem == "p4"


def test_a_teacher_that_asks_no_model_is_given_no_cases():
    none = Cases.on_dev(ON_DEV, [problem(n) for n in (90, 4, 91)], 2, asks=False)

    assert none.like(problem(4), []) == []


def test_a_case_is_shown_once_however_many_students_failed_at_it_and_with_its_choices():
    dev = problem(90).model_copy(update={"choices": {"A": "none", "B": "all"}})
    errors = [
        mistake(dev, gap, "dev").model_copy(update={"id": f"d@{gap}"}) for gap in ("add", "divide")
    ]

    (case,) = Cases.on_dev(errors, [dev], 2, asks=True).like(problem(1), [])

    assert (case.problem, case.gap, case.choices) == ("p90", "add", dev.choices)


def test_all_errors_of_a_problem_are_told_as_errors_one_as_a_verdict_and_shuffled_together():
    more = [mistake(PROBLEMS[0], "copying").model_copy(update={"id": "p0#2"})]
    told = {
        feedback: [r.errors for _, r in requests(arm(feedback), errors=[*ERRORS, *more]).placed]
        for feedback in ("error", "verdict", "shuffled")
    }

    assert told["error"][0] == [ERRORS[0], *more]
    assert [len(errors) for errors in told["verdict"]] == [1, 1, 1, 0]
    both = [errors for errors in told["shuffled"] if errors[0].problem == "p0"]
    assert both
    assert all(errors == [ERRORS[0], *more] for errors in both)


def test_shuffled_feedback_is_an_error_on_another_problem_for_each():
    told = [request for _, request in asked("shuffled", "all")]

    assert all(len(r.errors) == 1 for r in told)
    assert all(r.errors[0].problem != r.problem.id for r in told)
    assert {e.problem for r in told for e in r.errors} == {e.problem for e in ERRORS}
    assert told == [request for _, request in asked("shuffled", "all")]


def test_a_round_that_was_passed_through_gives_its_arms_nothing_to_do():
    stopped = [lesson(p, "stopped", "kept") for p in PROBLEMS]

    assert requests(arm("none", "all"), like=stopped).placed == []


def test_a_round_and_what_is_tailored_are_asked_about_their_errors_and_the_gaps_of_dev():
    told = {"from": "r0", "of": "r0", "like": "r0", "start": "base"}
    tailored = Tailored.model_validate(told)

    found = requests(BRANCHES["r1"], "r1")

    assert [request.errors for _, request in found.placed] == [*([e] for e in ERRORS), [], []]
    assert all(list(request.profile) == ["add", "multiply"] for _, request in found.placed)
    assert [*found.placed] == [*requests(tailored, "t").placed]
    assert found.afresh is None


def test_only_an_arm_without_feedback_writes_afresh_and_draws_on_from_the_arm_before_it():
    drawn = {name: requests(BRANCHES[name], name).afresh for name in ("a", "b", "r1")}
    told = [requests(arm(feedback)).afresh for feedback in ("verdict", "shuffled", "error")]

    assert drawn == {"a": 1000, "b": 2000, "r1": None}
    assert told == [None] * 3


def sitting(round: str, first: int = 0) -> teacher.Sitting:
    return teacher.Sitting("refine", round, "math", range(first, first + 1))


def test_without_feedback_the_tutor_changes_words_and_sides_and_works_no_step():
    texts = [tutor.explain([p], TERSE, sitting("a", 1000))[0][0].text for p in PROBLEMS]
    again = [tutor.explain([p], TERSE, sitting("a", 1000))[0][0].text for p in PROBLEMS]
    later = [tutor.explain([p], TERSE, sitting("b", 2000))[0][0].text for p in PROBLEMS]

    assert texts == again
    assert texts != later
    for p, text, old in zip(PROBLEMS, texts, BEFORE, strict=True):
        assert text != old.text
        assert numeric.equal(numeric.strict(text), p.answer)
        assert text.count("=") == old.text.count("=")
    assert any(f"<<7+{n}=" in text for n, text in enumerate(texts))


def test_told_only_the_verdict_the_tutor_guesses_the_operation_and_works_it():
    told = [Request(p, lesson(p), [mistake(p, gaps.HIDDEN)]) for p in map(problem, range(60))]

    replies = [found[0] for found in tutor.refine(told, TERSE, sitting("a"))]

    guessed = [tuple(reply.gaps) for reply in replies]
    assert set(guessed) == {("add",), ("multiply",)}
    assert 15 < guessed.count(("add",)) < 45


def test_an_arm_in_the_settings_is_read_and_a_wrong_one_refused():
    params = added(BLIND, ASKED)
    known = branches.branches(params)

    assert list(branches.arms_of(known)) == ["blind-r1", "blind-r2"]
    assert branches.rounds(params) == ["r0", "r1", "r2", "r3"]
    assert branches.depth("blind-r2", known) == 2
    for old, new, fault in (
        ("feedback: none", "feedback: some", "feedback"),
        ("like: r1", "like: r9", "there is no round 'r9'"),
        ("like: r1", "like: blind-r2", "there is no round 'blind-r2'"),
        ("scope: like", "scope: like, reach: 1", "blind-r1.reach: unknown key"),
        (", scope: like", "", "blind-r1.scope: missing"),
        ("of: r0, like: r1", "of: r1, like: r1", "what r0 was taught: r0"),
        ("start: base, feedback", "start: r0, feedback", "start: is r0, and base in branches.blin"),
        ("rationales: blind-r1", "rationales: r0", "its own rationales"),
    ):
        wrong = added(BLIND.replace(old, new, 1), ASKED.replace(old, new, 1))
        with pytest.raises(RefusedError, match=fault):
            branches.branches(wrong)
