"""Code as an answer: where it is read, what its tests come to, and what that tells a teacher."""

import ast
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from redistill.console.exceptions import RefusedError
from redistill.diagnosis.locate import locate
from redistill.graders.tests import Examiner, configured
from redistill.grading import golds, predictions
from redistill.grading.grader import Bench, decide, foresee
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
        ("####\n```python\n#### x\nx = 1\n```", "#### x\nx = 1", "#### x\nx = 1"),
        ("#### ~~~\nx = 1\n#### x\n~~~", "x = 1\n#### x", "x = 1\n#### x"),
        (
            "####\n```\nx = 1  #### one\n#### x",
            "x = 1  #### one\n#### x",
            "x = 1  #### one\n#### x",
        ),
        ("####\ny = 2\n####\nx = 1  #### one", "x = 1  #### one", "x = 1  #### one"),
        ("```\n#### y\ny = 2\n```\n  ####\nx = 1", "x = 1", "x = 1"),
        ("```\n#### y\ny = 2\n```\nDone.", None, "#### y\ny = 2"),
        ("Behind #### stands the code.", None, None),
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


@pytest.mark.parametrize(
    "tests",
    [
        "assert all(map(lambda case: f(case[0]) == case[1], [(1, 2), (2, 3)]))",
        "for got, want in zip(map(f, [1, 2]), [2, 3]):\n    assert got == want",
        "assert [*map(f, [1, 2])] in ([2, 3], [])",
        "assert [*iter(lambda: f(1), 2)] == []",
    ],
)
@pytest.mark.parametrize("kind", ["StopIteration", "StopAsyncIteration", "GeneratorExit"])
def test_code_that_returns_nothing_does_not_end_the_cases_it_is_put_to(tests: str, kind: str):
    right, forged = "def f(x): return x + 1", f"def f(x): raise {kind}"

    assert exam.sit(tests, right, LIMITS, walls.Wall(None)).passed
    assert exam.sit(tests, forged, LIMITS, walls.Wall(None)).kind == "raises"


@pytest.mark.parametrize(
    "tests",
    [
        "try:\n    f(1)\nexcept:\n    pass\nelse:\n    assert False",
        "try:\n    f(1)\nexcept BaseException:\n    pass\nassert True",
        "import contextlib\nwith contextlib.suppress(BaseException):\n    f(1)",
        "for _ in range(2):\n    try:\n        f(1)\n    finally:\n        continue",
    ],
)
@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("import os\ndef f(x): os._exit(0)", "over_limit"),
        ("def f(x): return 'x' * 10 ** 7", "over_limit"),
        ("def g(): pass", "no_code"),
    ],
)
def test_no_except_of_the_tests_swallows_the_end_of_the_code(tests: str, code: str, told: str):
    assert exam.sit(tests, "def f(x): raise ValueError", LIMITS, walls.Wall(None)).kind == "passes"
    assert exam.sit(tests, code, LIMITS, walls.Wall(None)).kind == told


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
        ("assert double(2) == 5", RIGHT, "its own solution fails the tests"),
        ("double", None, r"before they call a function of the code.*\(no_code: not called\)"),
        ("def test_it():\n    assert double(1) == 2", None, "before they call.*not called"),
        (
            "if __name__ == '__main__':\n    assert double(1) == 2",
            None,
            "before they call.*not called",
        ),
        ("import numpy as np\nassert double(np.int64(1)) == 2", None, "before.*import numpy as np"),
        ("assert double == 4", None, "before they call.*assert double == 4"),
        (
            "assert double(1) == 2\n#" + "#" * exam.LONGEST,
            None,
            "before they call.*longer than 65536",
        ),
    ],
)
def test_tests_that_can_show_nothing_are_found_before_anything_is_paid(
    answer: str, solution: str | None, fault: str, grader: Examiner
):
    odd = DOUBLE.model_copy(update={"answer": answer, "solution": solution})

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


def test_a_comment_of_code_is_no_part_of_what_is_read_as_language(grader: Examiner):
    commented = RIGHT.replace("    return", "#### so the student forgot this\n    return")

    assert grader.prose(commented) == "Twice n is n + n.\n"
    assert grader.prose(f"```\n#### n\nn + n\n```\nSo.\n{RIGHT}") == "\nSo.\nTwice n is n + n.\n"
    assert guards.first(DOUBLE, commented, grader, HeldOut()) is None


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


def test_code_without_the_marker_is_run_together_with_the_rest(monkeypatch: pytest.MonkeyPatch):
    sizes: list[int] = []

    def counted(pairs: Sequence[tuple[str, str]], *given: Any) -> list[exam.Result]:
        sizes.append(len(pairs))
        return [exam.Result("passes", "1 of 1") for _ in pairs]

    monkeypatch.setattr(exam, "sit_all", counted)
    fresh = Examiner(LIMITS, works=True)
    texts = [f"```\ndef double(n): return {n}\n```" for n in range(9)]

    foresee(fresh, [(DOUBLE, None), *((DOUBLE, text) for text in texts)])
    found = [decide(DOUBLE, text, fresh) for text in texts]

    assert sizes == [9]
    assert all(one.lenient and not one.strict for one in found)


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


def test_a_wall_behind_which_nothing_ends_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    slow = tmp_path / "bwrap"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setattr(walls, "SLOW", 0.5)

    with pytest.raises(
        RefusedError, match=r"does not hold it .*\(no end within 0.5 s\)"
    ) as refused:
        walls.prove(walls.Wall(str(slow)))
    assert refused.value.code == 78


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
