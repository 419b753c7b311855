"""What `redistill plan` says of a budget that the run it plans may reach."""

from redistill.cli.plan import Row, over_budget
from tests.settings import of, shipped


def most(calls: int, tokens: int | None, nano: int | None) -> Row:
    return Row("together", 0, calls, tokens, nano)


def limited(**limits: float | None):
    content = shipped("openai").content
    spending = content["spending"]
    return of(**content | {"spending": spending | {"budget": spending["budget"] | limits}})


def test_each_limit_that_a_run_may_reach_is_named_with_what_happens_then():
    params = limited(calls=600, tokens=3_000_000, cost=5.0)

    told = over_budget(params, most(601, 3_408_537, 9_251_200_000))

    assert told is not None
    assert told.startswith("spending.budget allows less than that: calls 600, tokens 3,000,000, ")
    assert "cost 5.0" in told
    assert "code 3" in told


def test_limits_that_hold_or_are_none_and_what_is_not_known_are_no_fault():
    params = limited(calls=600, tokens=None, cost=5.0)

    assert over_budget(params, most(600, 10**9, None)) is None


def test_a_run_without_a_paid_teacher_has_no_budget():
    assert over_budget(shipped(), most(10, None, None)) is None
