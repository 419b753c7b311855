"""What `redistill plan` says of a budget that the run it plans may reach."""

from ruamel.yaml import YAML

from redistill.cli import recorded
from redistill.cli.plan import Row, over_budget
from redistill.settings.sections import Params
from tests.imports import ROOT
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


def test_what_a_target_was_made_with_counts_for_the_errors_of_its_cells(tmp_path):
    content = YAML(typ="safe").load(ROOT / "params.yaml")
    cell = {**content["branches"]["r0"], "target": "wide", "version": "first", "start": "wide"}
    content["branches"]["wide-r0"] = {**cell, "from": "wide-r0"}
    content["targets"] = {"wide": {"model": "x"}}
    params = Params(tmp_path / "params.yaml", content)

    def changed(model: str) -> list[str]:
        entry = {"cmd": "x", "params": {"params.yaml": {"targets.wide": {"model": model}}}}
        with (tmp_path / "dvc.lock").open("w", encoding="utf-8") as file:
            YAML().dump({"schema": "2.0", "stages": {"target@wide": entry}}, file)
        return recorded.changed(tmp_path, params, "wide-r0")

    assert changed("x") == []
    assert changed("y") == ["target@wide"]
