"""Mining, refining and guarding: what goes from one round to the next, and what never does."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from redistill.analysis import scores, summary
from redistill.console import safe_text
from redistill.console.exceptions import RefusedError
from redistill.diagnosis import mine as mining
from redistill.diagnosis.settings import MineSettings
from redistill.grading.grader import load_grader, predict
from redistill.problems.held_out import HeldOut, held_out
from redistill.rationales import guards, select
from redistill.rationales import refine as refining
from redistill.rationales.teacher import Engaged, Reply, Request, Sitting, TeachSettings
from redistill.records.types import Error, Exemplar, Prediction, Problem, Rationale, Slip
from redistill.solutions.gaps import Diagnosis
from redistill.students.model.settings import StudentSettings
from redistill.teachers import tutor
from tests.settings import shipped

NUMERIC = load_grader("numeric")
GUARD = guards.GuardSettings(max_growth=10.0, max_repair=10.0, min_copied=10)
RULES = refining.RefineSettings(manner="rewrite", own=0, scope="wrong", extend=True, max_loss=0.0)
TERSE = tutor.Settings(style="equations")
FIRST = Sitting("generate", "r0", "math", range(1))
ASKED = shipped().section("student", StudentSettings)
QUOTABLE = "How many are 3 and 4 in a question of dev?"
MINE = MineSettings(
    folds=None,
    max_completion=100,
    exemplars=2,
    shown=3,
    common=0.1,
    alpha=0.05,
    below=1.0,
    most=None,
)


def problem(name: str, a: int = 48, b: int = 27) -> Problem:
    return Problem(
        id=name,
        question=f"{name}: {a} and {b}, together?",
        answer=str(a + b),
        solution=f"<<{a}+{b}={a + b}>>\n#### {a + b}",
    )


def lesson(p: Problem) -> Rationale:
    return Rationale(
        id=p.id,
        problem=p.id,
        text=tutor.explain([p], TERSE, FIRST)[0][0].text,
        round="r0",
        teacher="tutor",
        status="first",
    )


def answer(p: Problem, text: str, split: str = "train", eos: bool = True) -> Prediction:
    return predict(p, split, text, eos=eos, tokens=3, grader=NUMERIC)


def go(
    problems: list[Problem],
    errors: list[Error],
    *,
    common: Sequence[str] = (),
    stop: bool = False,
    module: object = tutor,
    attempts: int = 1,
    draws: int = 1,
    choose: str = "first",
    unmarked: str = "reject",
    afresh: int | None = None,
) -> refining.Refined:
    rules = TeachSettings(
        teacher="tutor",
        refiner="tutor",
        prompts="math",
        attempts=attempts,
        draws=draws,
        choose=choose,
        probe=None,
        unmarked=unmarked,
    )
    teacher = Engaged("tutor", module, TERSE, rules, None)
    lessons = [lesson(p) for p in problems]
    known = {p.id: p for p in problems}
    requests = refining.to_rewrite(known, lessons, errors, Diagnosis(list(common), stop), RULES)
    if afresh is not None:
        requests = replace(requests, afresh=afresh)
    pick = select.chooser(rules, problems, Path("none"), ASKED)
    unquoted = held_out([Problem(id="d", question=QUOTABLE, answer="7")])
    return refining.refine(requests, lessons, teacher, NUMERIC, unquoted, pick, GUARD, round="r1")


def test_the_verdict_comes_from_the_answer_and_from_how_the_completion_ended():
    p = problem("p")

    assert answer(p, "<<48+27=75>>\n#### 75").verdict == "correct"
    assert answer(p, "#### 74").verdict == "wrong"
    assert answer(p, "The answer is 75").verdict == "no_answer"
    assert answer(p, "The answer is 75").lenient
    assert answer(p, "#### 75", eos=False).verdict == "cut_off"
    assert answer(p, "").verdict == "no_answer"


def test_an_error_carries_its_history_and_the_nearest_dev_case_with_the_same_gap():
    mine, near = problem("p1"), problem("p1 again")
    far = problem("quite another", 5, 600)
    predictions = [
        answer(mine, "<<48+27=65>>\n#### 65"),
        answer(near, "<<48+27=66>>\n#### 66", "dev"),
        answer(far, "<<5+600=705>>\n#### 705", "dev"),
    ]

    known = {p.id: p for p in (mine, near, far)}
    errors = mining.mine(known, predictions, {"p1": lesson(mine)}, MINE)

    first = next(error for error in errors if error.split == "train")
    assert first.gap == "add"
    assert [version.round for version in first.history] == ["r0"]
    assert [exemplar.problem for exemplar in first.exemplars] == ["p1 again", "quite another"]


def drawn(name: str, greedy: str, passes: int, split: str = "train") -> Prediction:
    """A prediction of which *passes* of 4 drawn completions are correct."""
    slip = Slip(completion="<<48+27=65>>\n#### 65", verdict="wrong")
    return answer(problem(name), greedy, split).model_copy(
        update={"samples": 4, "passes": passes, "slips": [slip] if passes < 4 else []}
    )


def test_a_train_problem_that_is_solved_too_rarely_is_an_error_and_shows_a_drawn_completion():
    predictions = [
        drawn("always", "#### 75", 4),
        drawn("mostly", "#### 75", 3),
        drawn("on dev", "#### 75", 1, "dev"),
        drawn("never", "#### 1", 0),
    ]

    strict = mining.choose(predictions, MINE)
    lax = mining.choose(predictions, MINE.model_copy(update={"below": 0.75}))
    errors = mining.mine({p.id: problem(p.id) for p in predictions}, strict.predictions, {}, MINE)

    assert [p.id for p in strict.predictions] == ["mostly", "never", "never#2"]
    assert strict.rejected == {"correct": 3, "drawn on dev": 1}
    assert [p.id for p in lax.predictions] == ["never", "never#2"]
    assert lax.rejected == {"correct": 3, "drawn on dev": 1, "solved often enough": 1}
    assert (errors[0].completion, errors[0].gap) == ("<<48+27=65>>\n#### 65", "add")
    assert [error.pass_rate for error in errors] == [0.75, 0.0, 0.0]


def test_of_too_many_errors_those_solved_half_of_the_time_come_first():
    rates = {"a": 0, "b": 3, "c": 2, "d": 1, "e": 0}
    predictions = [drawn(name, "#### 1", passes) for name, passes in rates.items()]
    on_dev = [drawn("dev", "#### 1", 0, "dev")]

    rules = MINE.model_copy(update={"most": 4, "shown": 1})
    chosen = mining.choose([*predictions, *on_dev], rules)

    assert [p.id for p in chosen.predictions] == ["a", "b", "c", "d", "dev"]
    assert chosen.rejected == {
        "correct": 0, "over mine.most": 2, "over mine.shown": 4, "drawn on dev": 1,
    }  # fmt: skip


def test_every_wrong_completion_of_a_problem_is_an_error_up_to_the_cap_and_all_are_counted():
    p, dev = problem("p"), problem("d")
    slips = [Slip(completion=f"<<48+27={n}>>", verdict="no_answer") for n in (65, 66, 67)]
    drawn_wrong = {"samples": 4, "passes": 1, "slips": slips}
    predictions = [
        answer(p, "<<48-27=21>>\n#### 21").model_copy(update=drawn_wrong),
        answer(dev, "<<48+27=65>>\n#### 65", "dev").model_copy(update=drawn_wrong),
    ]

    chosen = mining.choose(predictions, MINE)
    errors = mining.mine({"p": p, "d": dev}, chosen.predictions, {"p": lesson(p)}, MINE)

    told = [(e.id, e.problem, e.gap, e.verdict) for e in errors]
    assert told == [
        ("p", "p", "set_up", "wrong"),
        ("p#2", "p", "add", "no_answer"),
        ("p#3", "p", "add", "no_answer"),
        ("d", "d", "add", "wrong"),
    ]
    assert chosen.rows == 8
    assert chosen.rejected == {"correct": 0, "over mine.shown": 1, "drawn on dev": 3}
    assert chosen.rows == len(errors) + sum(chosen.rejected.values())
    assert mining.profile(errors, 1, 0.1)["gaps"]["add"] == 1
    assert [e.problem for e in errors[1].exemplars] == ["d"]
    assert all(e.history for e in errors if e.split == "train")


def test_without_drawn_completions_the_errors_are_what_is_not_correct():
    predictions = [answer(problem("p1"), "#### 1"), answer(problem("p2"), "#### 75")]

    chosen = mining.choose(predictions, MINE)

    assert chosen.predictions == predictions[:1]
    assert chosen.rejected == {"correct": 1}
    assert scores.score(predictions).pass_rate is None
    assert "samples" not in scores.score(predictions).as_dict()


def test_the_pass_rate_is_counted_over_problems_and_has_its_histogram():
    predictions = [drawn("a", "#### 75", 4), drawn("b", "#### 75", 1), drawn("c", "#### 1", 1)]

    found = scores.score(predictions)

    assert (found.pass_rate, found.samples) == (0.5, 4)
    assert found.as_dict()["problems_by_passes"] == [0, 2, 0, 0, 1]


def test_a_pass_rate_changes_no_rewrite():
    p = problem("p1")
    known = error(p).model_copy(update={"pass_rate": 0.5})

    plain, rated = go([p], [error(p)]), go([p], [known])

    assert [*plain.rationales] == [*rated.rationales]


NOT_SIGNIFICANT = "the gain over the round before is not significant"


def test_only_gaps_as_frequent_as_asked_are_common():
    p = problem("p")
    errors = mining.mine({"p": p}, [answer(p, "<<48+27=65>>\n#### 65", "dev")], {}, MINE)

    assert mining.profile(errors, 10, 0.1)["common"] == ["add"]
    assert mining.profile(errors, 11, 0.1)["common"] == []


@pytest.mark.parametrize(
    ("before", "after", "first", "stop", "because"),
    [
        ("cwwwwwwwww", "cccccccccw", False, False, "better than the round before"),
        ("cccccwwwww", "ccccccwwww", False, True, NOT_SIGNIFICANT),
        ("cccccwwwww", "cccccccccc", False, True, "every dev problem is solved"),
        ("wwwwwwwwww", "wwwwwwwwww", False, True, "no gain over the round before"),
        ("ccccccwwww", "cccccwwwww", False, True, "no gain over the round before"),
        ("wwwwwwwwww", "wwwwwwwwww", True, False, "first round"),
        ("cccccwwwww", "", False, True, "the round was passed through"),
    ],
)
def test_the_loop_stops_at_a_round_that_is_not_better(
    before: str, after: str, first: bool, stop: bool, because: str
):
    def dev(verdicts: str) -> list[Prediction]:
        return [
            answer(problem(f"p{i}"), "#### 75" if v == "c" else "#### 1", "dev")
            for i, v in enumerate(verdicts)
        ]

    decision = mining.decide(dev(before), dev(after), first=first, alpha=0.05)

    assert (decision["stop"], decision["because"]) == (stop, because)


@pytest.mark.parametrize(
    ("rule", "before", "after", "stop"),
    [
        ("no_gain", "cccccwwwww", "ccccccwwww", False),
        ("no_gain", "cccccwwwww", "wcccccwwww", True),
        ("no_gain", "cccccwwwww", "cccccccccc", True),
        ("never", "cccccwwwww", "wwwwwwwwww", False),
        ("never", "cccccwwwww", "cccccccccc", False),
        ("never", "cccccwwwww", "", True),
    ],
)
def test_other_rules_go_on_after_any_gain_or_always(rule: str, before: str, after: str, stop: bool):
    def dev(verdicts: str) -> list[Prediction]:
        texts = {"c": "#### 75", "w": "#### 1"}
        return [answer(problem(f"p{i}"), texts[v], "dev") for i, v in enumerate(verdicts)]

    decision = mining.decide(dev(before), dev(after), first=False, alpha=0.05, stop=rule)

    assert decision["stop"] == stop


def test_errors_on_train_are_refined_and_the_rest_is_kept():
    wrong, right = problem("p1"), problem("p2")
    errors = mining.mine({"p1": wrong}, [answer(wrong, "<<48+27=65>>\n#### 65")], {}, MINE)

    result = go([wrong, right], errors)

    assert (result.rewritten, result.kept) == (1, {"not wrong": 1})
    new = result.rationales[0]
    assert (new.status, new.round, new.reason, new.gaps) == ("refined", "r1", "add", ["add"])
    assert new.history[0].text == lesson(wrong).text
    assert result.rationales[1].text == lesson(right).text


def test_a_rewrite_for_several_errors_of_a_kind_names_the_kind_once():
    p = problem("p1")
    errors = [
        error(p),
        error(p, "<<48+27=66>>\n#### 66"),
        error(p).model_copy(update={"gap": "format"}),
    ]

    assert go([p], errors).rationales[0].reason == "add, format"


def test_a_stopped_loop_keeps_every_rationale_without_asking():
    class Offended:
        def refine(self, requests: list[Request], *_: object) -> list[list[Reply]]:
            raise AssertionError("the teacher was asked")

    result = go([problem("p1")], [], module=Offended(), stop=True, common=["add"])

    assert result.kept == {"stopped": 1}


def test_with_nothing_wrong_everything_is_kept():
    result = go([problem("p1"), problem("p2")], [])

    assert (result.rewritten, result.kept) == (0, {"not wrong": 2})


def error(p: Problem, completion: str = "<<48+27=65>>\n#### 65") -> Error:
    shown = Exemplar(problem="d", question=QUOTABLE, completion="#### 8")
    return Error(
        id=p.id,
        problem=p.id,
        split="train",
        completion=completion,
        verdict="wrong",
        gap="add",
        exemplars=[shown],
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<<48+27=76>>\n#### 76", "wrong answer"),
        ("It is 75.", "not in the answer format"),
        ("", "not in the answer format"),
        ("The student forgot the carry: <<48+27=75>>\n#### 75", "talks about teaching"),
        ("The previous answer was wrong. <<48+27=75>>\n#### 75", "talks about teaching"),
        ("The gold answer is 75\n#### 75", "talks about teaching"),
        ("#### 75\nbecause <<48+27=75>>\n#### 75", "answer before reasoning"),
        ("48+27=65 no\n<<48+27=65>>\n65\n#### 65\n#### 75", "copies the student"),
        (f"{QUOTABLE} 7. So\n#### 75", "quotes another split"),
        ("so " * 200 + "\n#### 75", "too long"),
        ("<<48+27=75>>\n#### 75", "unchanged"),
    ],
)
def test_a_guard_keeps_the_old_rationale_and_counts_the_reason(text: str, reason: str):
    p = problem("p1")

    class Scripted:
        def refine(self, requests: list[Request], *_: object) -> list[list[Reply]]:
            return [[Reply(text)] for _ in requests]

    result = go([p], [error(p)], module=Scripted())

    assert result.kept == {reason: 1}
    assert result.rationales[0].text == lesson(p).text


def test_a_good_rewrite_passes_every_guard():
    text = "8+7=15 4+2+1=7 <<48+27=75>>\n#### 75"
    p = problem("p1")

    found = guards.refined(
        p, text, lesson(p).text, [error(p)], None, None, NUMERIC, HeldOut(), GUARD
    )
    assert found is None


def test_what_is_written_afresh_is_asked_for_as_a_first_rationale_with_draws_of_its_own():
    asked = []

    class Fresh:
        def explain(self, problems: list[Problem], _: object, sitting: Sitting) -> list:
            asked.append(([p.id for p in problems], sitting.stage, sitting.round, sitting.draws))
            return [[Reply("so\n#### 76")] for _ in problems]

    result = go([problem("p1")], [error(problem("p1"))], module=Fresh(), attempts=2, afresh=1000)

    told = [(["p1"], "refine", "r1", range(n, n + 1)) for n in (1000, 1001)]
    assert asked == told
    assert result.kept == {"wrong answer": 1}


@given(k=st.integers(0, 50), extra=st.integers(0, 50))
def test_wilson_is_that_of_scipy(k: int, extra: int):
    n = k + extra
    if n:
        theirs = stats.binomtest(k, n).proportion_ci(method="wilson")
        ours = scores.wilson(k, n)
        assert math.isclose(ours[0], theirs.low, abs_tol=1e-9)
        assert math.isclose(ours[1], theirs.high, abs_tol=1e-9)


@given(fixed=st.integers(0, 60), broken=st.integers(0, 60))
def test_mcnemar_is_the_binomial_test_of_scipy(fixed: int, broken: int):
    n = fixed + broken
    theirs = stats.binomtest(fixed, n).pvalue if n else 1.0
    assert math.isclose(scores.mcnemar(fixed, broken), theirs, rel_tol=1e-9)


def of_ten(k: int) -> scores.Score:
    """The score of a student that solves *k* problems of ten."""
    return scores.score([answer(problem(f"p{i}"), "#### 75" if i < k else "") for i in range(10)])


def taught(train: scores.Score) -> summary.Measured:
    return summary.Measured(
        train=train, dev=train, test=train, outside={}, training=summary.Training(),
        nll_before=None, steps_so_far=1,
    )  # fmt: skip


def test_the_best_round_is_the_earliest_of_equals_and_never_a_passed_one():
    solved = {"r0": 3, "r1": 8, "r2": 8}

    assert summary.choose({name: of_ten(k) for name, k in solved.items()}) == "r1"
    with pytest.raises(RefusedError, match="no round has been graded"):
        summary.choose({})


def test_a_round_that_has_not_learnt_what_it_was_taught_is_named_and_the_first_is_not():
    metrics = {name: taught(of_ten(k)) for name, k in (("r0", 2), ("r1", 4), ("r2", 6))}

    told = summary.advice(metrics, ["r1", "r2", "r3"], [])

    assert told is not None
    assert "(r1 40.0 %): more steps (train.steps)" in told
    assert summary.advice(metrics, ["r2", "r3"], []) is None


@pytest.mark.parametrize(
    "text", ["\x1b[31mred", "\x1b]0;title\x07", "a\u202eb", "\u2028", "\x00", "\ud800"]
)
def test_no_control_character_reaches_the_terminal(text: str):
    shown = safe_text.safe_text(text)

    assert shown.isprintable()


@pytest.mark.parametrize(
    ("completion", "strict", "lenient"),
    [
        ("so\n#### 1,005", "1005", "1005"),
        ("#### $18.00", "$18.00", "$18.00"),
        ("#### -5 degrees", "-5 °", "-5 °"),
        ("#### 3\n#### 4", "4", "4"),
        ("#### 50%", "50%", "50%"),
        ("It costs $3.50.", None, "$3.50"),
        ("4*3=12", None, "12"),
        ("<<4*3=12>>12 apples", None, "12"),
        ("#### ٣", "3", "3"),
        ("#### 1e100000000", None, None),
        ("#### nothing", None, None),
        ("9" * 100_000, None, None),
    ],
)
def test_reads_numeric_answers(completion: str, strict: str | None, lenient: str | None):
    assert NUMERIC.strict(completion) == strict
    assert NUMERIC.lenient(completion) == lenient


@pytest.mark.parametrize(
    ("answer", "gold", "same"),
    [
        ("18.0", "18", True),
        ("1/2", "0.5", True),
        ("-5", "5", False),
        ("3/4", "34", False),
        (None, "3", False),
        ("1000", "1,000", True),
    ],
)
def test_compares_numbers_exactly(answer: str | None, gold: str, same: bool):
    assert NUMERIC.equal(answer, gold) is same
