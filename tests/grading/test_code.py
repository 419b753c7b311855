"""Code as an answer: where it is read, what its tests come to, and what that tells a teacher."""

import ast
import shutil
from pathlib import Path

import pytest

from redistill.console.exceptions import RefusedError
from redistill.diagnosis.locate import locate
from redistill.graders.tests import Examiner, configured
from redistill.grading import golds, predictions
from redistill.grading.grader import Bench, decide
from redistill.problems.held_out import HeldOut
from redistill.problems.sets import ProblemSet
from redistill.rationales import guards, wrapping
from redistill.records.types import Completion, Output, Problem
from redistill.sandbox import exam, walls
from redistill.sandbox.exam import Limits
from redistill.sandbox.inside import system_calls, values, worker
from redistill.solutions import gaps
from tests.settings import of

LIMITS = Limits(seconds=20.0, memory=256, insist=True)
DOUBLE = Problem(
    id="double",
    question="Write a function double(n) that returns twice n.",
    answer="assert double(2) == 4\nassert double(-3) == -6",
)
RIGHT = "Twice n is n + n.\n####\n```python\ndef double(n):\n    return n + n\n```"
WRONG = RIGHT.replace("n + n\n```", "n * n\n```")

pytestmark = pytest.mark.skipif(not system_calls.known(), reason="needs Linux on a known machine")


@pytest.fixture(scope="module")
def grader() -> Examiner:
    """One grader for all: what it has run, it knows."""
    return Examiner(LIMITS, works=True)


@pytest.mark.parametrize(
    ("completion", "strict", "lenient"),
    [
        (RIGHT, "def double(n):\n    return n + n", "def double(n):\n    return n + n"),
        ("So:\n#### \ndef f(): pass\n", "def f(): pass", "def f(): pass"),
        ("#### ```\nx = 1\n```", "x = 1", "x = 1"),
        ("So:\n####\n~~~\nx = 1\n~~~\nDone.", "x = 1", "x = 1"),
        ("So:\n####\n```python\nx = 1", "x = 1", "x = 1"),
        ("First\n```\ny = 2\n```\nthen\n```py\nx = 1\n```\nDone.", None, "x = 1"),
        ("It is easy.", None, None),
        ("####", None, None),
        ("####\n```\n```", None, None),
    ],
)
def test_code_is_read_behind_the_marker_and_else_out_of_the_last_fence(
    completion: str, strict: str | None, lenient: str | None, grader: Examiner
):
    assert grader.strict(completion) == strict
    assert grader.lenient(completion) == lenient


def test_what_its_tests_come_to_is_the_answer_of_code(grader: Examiner):
    assert decide(DOUBLE, RIGHT, grader).answer == "passes: 2 of 2"
    found = decide(DOUBLE, WRONG, grader)
    assert found.answer == "wrong_result: test 2 of 2: assert double(-3) == -6"
    assert (found.strict, found.lenient, found.fault) == (False, False, "fails its tests")
    loose = decide(DOUBLE, RIGHT.replace("####\n", ""), grader)
    assert (loose.answer, loose.strict, loose.lenient) == (None, False, True)
    assert decide(DOUBLE, "No code.", grader).answer is None


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("def double(n): return 1 / 0", "raises: test 1 of 2: assert double(2) == 4"),
        ("def double(n) return n", "no_code: SyntaxError"),
        ("def twice(n): return n", "no_code: has no function double"),
        ("import os\ndef double(n): os._exit(0)", "over_limit: test 1 of 2: assert double(2) == 4"),
        ("raise ValueError", "no_code: ValueError"),
        ("def double(n): return lambda: n", "raises: test 1 of 2: assert double(2) == 4"),
        ("x = 1  #" + "x" * exam.LONGEST, "no_code: longer than 65536 characters"),
    ],
)
def test_what_is_wrong_with_code_becomes_its_gap(code: str, told: str, grader: Examiner):
    assert decide(DOUBLE, f"####\n{code}", grader).answer == told
    kind, _, step = told.partition(": ")
    assert locate(DOUBLE, code, answered=True, answer=told) == (kind, step)
    assert gaps.words(kind)


def test_code_that_is_cut_off_and_right_all_the_same_lacks_the_form_alone():
    assert locate(DOUBLE, RIGHT, answered=False, answer="passes: 2 of 2") == ("format", None)


def test_gaps_of_code_are_counted_where_there_are_any():
    assert "raises" not in gaps.listed({"add": 1})
    assert gaps.listed({"raises": 2})["raises"] == 2
    assert gaps.listed({"raises": 2})["add"] == 0


def test_tests_may_check_what_a_function_raises_and_changes_and_define_their_own():
    tests = (
        "import math\n"
        "def check(candidate):\n"
        "    data = [3, 1]\n"
        "    assert candidate(data) is None and data == [1, 3]\n"
        "check(order)\n"
        "try:\n    order(None)\n    assert False\n"
        "except TypeError:\n    pass\n"
        "assert math.isclose(mean(a=1, b=2), 1.5)"
    )
    code = (
        "def order(x):\n    if x is None: raise TypeError('no')\n    x.sort()\n"
        "def mean(a, b): return (a + b) / 2"
    )

    assert str(exam.sit(tests, code, LIMITS, walls.Wall(None))) == "passes: 3 of 3"


def test_a_test_that_expects_any_exception_does_not_take_the_end_of_code_for_one():
    tests = "try:\n    f()\nexcept Exception:\n    pass"

    for code in ("import os\ndef f(): os._exit(0)", "def g(): pass"):
        assert not exam.sit(tests, code, LIMITS, walls.Wall(None)).passed


def test_the_process_with_the_code_is_never_shown_what_it_is_to_return():
    tests = "expected = 9630741\nassert f(1) == expected"
    code = (
        "import gc\n"
        "def f(x):\n"
        "    n = 4815370 * (x + 1) + 1\n"
        "    return n if str(n) in str(gc.get_objects()) else 0"
    )

    assert exam.sit(tests, code, LIMITS, walls.Wall(None)).kind == "wrong_result"


@pytest.mark.parametrize(
    ("answer", "solution", "fault"),
    [
        ("assert double(2 == 4", None, "its tests are no Python"),
        ("assert 1 + 1 == 2", None, "no name in the tests"),
        ("double", None, "its tests pass without any code"),
        ("assert double(2) == 5", RIGHT, "its own solution fails the tests"),
    ],
)
def test_tests_that_can_show_nothing_are_found_before_anything_is_paid(
    answer: str, solution: str | None, fault: str, grader: Examiner
):
    odd = DOUBLE.model_copy(update={"answer": answer, "solution": solution})
    if fault == "its tests pass without any code":
        swallowing = "try:\n    double(1)\nexcept BaseException:\n    pass"
        odd = DOUBLE.model_copy(update={"answer": swallowing})

    with pytest.raises(RefusedError, match=f"tests does not read the gold answers .*{fault}"):
        golds.check([odd], grader, "tests", thorough=True)
    golds.check([DOUBLE.model_copy(update={"solution": RIGHT})], grader, "tests", thorough=True)


def test_a_look_runs_nothing():
    looking = Examiner(LIMITS, works=False)

    assert decide(DOUBLE, RIGHT, looking).fault == "not run"
    assert len(looking.unasked) == 1
    assert [*looking.unread([DOUBLE], thorough=True)] == []
    assert sum(looking.figures()["runs"].values()) == 0


def test_a_look_that_trusts_takes_code_for_right_and_other_faults_for_faults():
    trusting = Examiner(LIMITS, works=False, trusts=True)

    assert guards.first(DOUBLE, WRONG, trusting, HeldOut()) is None
    assert guards.first(DOUBLE, "no code", trusting, HeldOut()) == "not in the answer format"
    assert len(trusting.unasked) == 1


def test_a_rationale_with_code_passes_the_guards_of_texts(grader: Examiner):
    assert guards.first(DOUBLE, RIGHT, grader, HeldOut()) is None
    assert guards.first(DOUBLE, WRONG, grader, HeldOut()) == "fails its tests"
    commented = RIGHT.replace("def", "# the student forgot this\ndef")
    assert guards.first(DOUBLE, commented, grader, HeldOut()) is None
    talking = f"The student forgot this.\n{RIGHT}"
    assert guards.first(DOUBLE, talking, grader, HeldOut()) == "talks about teaching"
    fenced = f"```\nn + n\n```\n{RIGHT}"
    assert guards.first(DOUBLE, fenced, grader, HeldOut()) is None
    assert guards.unended(RIGHT, grader) is None
    assert guards.unended("no code", grader) == "not in the answer format"


def test_a_fence_that_is_closed_within_a_reply_stays_closed():
    assert wrapping.unwrapped(RIGHT) == RIGHT
    assert wrapping.unwrapped(f"```\n{RIGHT}\n```") == RIGHT
    assert wrapping.unwrapped("```\nSo it is.\n#### 5\n```") == "So it is.\n#### 5"


def test_predictions_of_code_are_graded(grader: Examiner):
    texts = {"a": RIGHT, "b": WRONG, "c": "none"}
    problems = [DOUBLE.model_copy(update={"id": name}) for name in texts]
    rows = [
        Completion(id=n, problem=n, split="dev", output=Output(text=t, eos=True, tokens=1))
        for n, t in texts.items()
    ]

    found = predictions.grade(
        {"dev": ProblemSet(problems, "dev")}, {"dev": rows}, "tests", None, lambda _: grader
    )

    assert [p.verdict for p in found.predictions["dev"]] == ["correct", "wrong", "no_answer"]


def test_without_bubblewrap_nothing_is_run_unless_the_settings_insist(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(RefusedError, match=r"bubblewrap is not installed.*insist: true") as refused:
        walls.choose(insist=False)
    assert refused.value.code == 78
    assert walls.choose(insist=True) == walls.Wall(None)


def test_a_wall_that_does_not_hold_is_refused(tmp_path: Path):
    loose = tmp_path / "bwrap"
    loose.write_text("#!/bin/sh\necho '[\"a network\"]'\n")
    loose.chmod(0o755)

    with pytest.raises(RefusedError, match=r"does not hold it on this machine .*a network"):
        walls.prove(walls.Wall(str(loose)))
    loose.write_text("#!/bin/sh\necho no user namespaces >&2\nexit 1\n")
    with pytest.raises(RefusedError, match="no user namespaces"):
        walls.prove(walls.Wall(str(loose)))


def test_a_machine_whose_calls_are_not_known_runs_nothing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(system_calls.platform, "machine", lambda: "pdp11")

    with pytest.raises(RefusedError, match="on x86-64 and 64-bit ARM alone"):
        walls.choose(insist=True)


def test_the_filter_knows_both_machines():
    for column, audit in system_calls.MACHINES.values():
        rules = system_calls.program(column, audit, 1)
        assert len(rules) < 4096  # the most that a kernel takes
        assert rules[-1] == (system_calls.GIVE, 0, 0, system_calls.ALLOW)


def test_tests_without_limits_are_refused():
    with pytest.raises(RefusedError, match="the tests have no limits") as refused:
        configured(Bench(of(grade={"grader": "tests"}), "grade@r0"))
    assert refused.value.code == 78


def test_plain_values_keep_their_types_and_others_are_none():
    plain = [None, True, 1, -(10**50), 1.5, 1j, "x", b"x", (1,), {1}, frozenset({1}), {"a": [1]}]

    assert [values.decode(values.encode(one)) for one in plain] == plain
    for odd in (object(), len, [object()], type("I", (int,), {})(1)):
        with pytest.raises(values.NotPlainError):
            values.encode(odd)
    for odd in (1, {}, {"plain": 1}, {"int": 1}, {"list": 1}, {"what": 1}):
        with pytest.raises(ValueError, match="not a"):
            values.decode(odd)


def test_names_that_tests_define_are_not_those_of_the_code():
    tests = (
        "import math as m\nfor i in [1]:\n    x = [y for y in (i,)]\nassert f(x, m.pi) == len(x)"
    )

    assert worker.free_names(ast.parse(tests)) == {"f"}


@pytest.mark.skipif(shutil.which(walls.BWRAP) is None, reason="needs bubblewrap")
def test_code_runs_behind_bubblewrap_where_it_is(monkeypatch: pytest.MonkeyPatch):
    wall = walls.choose(insist=False)

    assert wall.bubblewrap is not None
    assert exam.sit(DOUBLE.answer, "def double(n): return 2 * n", LIMITS, wall).passed
