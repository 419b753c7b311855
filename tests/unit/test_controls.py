"""The ladder of controls: as many calls as a round, less feedback, and nothing else changed."""

from pathlib import Path

import pytest

from redistill.console.exceptions import RefusedError
from redistill.graders import numeric
from redistill.rationales import controls, teacher
from redistill.rationales.teacher import Request
from redistill.records.types import Error, Problem, Rationale
from redistill.rounds import branches
from redistill.rounds.branches import Arm
from redistill.solutions import gaps
from redistill.solutions.gaps import Diagnosis
from redistill.teachers import tutor
from tests.unit.test_params import changed

TERSE = tutor.Settings(style="equations")
COMMON = Diagnosis(["add", "multiply"], stop=False)
LINE = "  {}: {{from: {}, rationales: {}, start: base, times: 1, feedback: none, like: {}, {}}}\n"
LADDER = (
    "arms: &arms\n"
    + LINE.format("blind-r1", "r0", "blind-r1", "r1", "scope: like")
    + LINE.format("blind-r2", "blind-r1", "blind-r2", "r2", "scope: like")
)


def arm(feedback: str, scope: str = "like") -> Arm:
    return Arm(
        from_="r0", rationales="a", start="base", times=1, feedback=feedback, like="r1", scope=scope
    )


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


def asked(feedback: str, scope: str = "like") -> list[tuple[int, Request]]:
    return controls.asked(KNOWN, BEFORE, LIKE, ERRORS, COMMON, arm(feedback, scope))


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


def test_shuffled_feedback_is_an_error_on_another_problem_for_each():
    requests = [request for _, request in asked("shuffled", "all")]

    assert all(len(r.errors) == 1 for r in requests)
    assert all(r.errors[0].problem != r.problem.id for r in requests)
    assert {e.problem for r in requests for e in r.errors} == {e.problem for e in ERRORS}
    assert requests == [request for _, request in asked("shuffled", "all")]


def test_a_round_that_was_passed_through_gives_its_arms_nothing_to_do():
    stopped = [lesson(p, "stopped", "kept") for p in PROBLEMS]

    found = controls.asked(KNOWN, BEFORE, stopped, ERRORS, COMMON, arm("none", "all"))

    assert found == []


def sitting(round: str, first: int = 0) -> teacher.Sitting:
    return teacher.Sitting("control", round, "math", range(first, first + 1))


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
    requests = [Request(p, lesson(p), [mistake(p, gaps.HIDDEN)]) for p in map(problem, range(60))]

    replies = [found[0] for found in tutor.refine(requests, TERSE, sitting("a"))]

    guessed = [tuple(reply.gaps) for reply in replies]
    assert set(guessed) == {("add",), ("multiply",)}
    assert 15 < guessed.count(("add",)) < 45


def test_an_arm_in_the_settings_is_read_and_a_wrong_one_refused(tmp_path: Path):
    file = changed(tmp_path, "arms: &arms {}\n", LADDER)
    known = branches.branches(sections.read(file))

    assert list(branches.arms(file)) == ["blind-r1", "blind-r2"]
    assert branches.rounds(sections.read(file)) == ["r0", "r1", "r2", "r3"]
    assert controls.afresh("blind-r2", branches.arm(file, "blind-r2"), known) == 2000
    for old, new, fault in (
        ("feedback: none", "feedback: some", "feedback"),
        ("like: r1", "like: r9", "there is no round 'r9'"),
        ("like: r1, scope: like", "like: r1", "exactly the keys"),
        ("rationales: blind-r1", "rationales: r0", "its own rationales"),
    ):
        wrong = changed(tmp_path, "arms: &arms {}\n", LADDER.replace(old, new, 1))
        with pytest.raises(RefusedError, match=fault):
            branches.branches(wrong)
