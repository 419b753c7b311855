"""How our graders compare with those of others, on their own cases."""

import importlib.util
import json
from pathlib import Path

import pytest

from benchmarks import grading as benchmark
from tests.imports import ROOT

SUITES = sorted((ROOT / "tests" / "agreement").glob("*.jsonl"))
WRITTEN = json.loads((ROOT / "docs/results/grading.json").read_text(encoding="utf-8"))
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("math_verify") is None, reason="needs the extra math"
)


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.stem)
def test_every_case_comes_out_as_expected_or_differs_for_a_reason(suite: Path):
    for case in benchmark.cases(suite):
        said = benchmark.verdict(case)
        assert (said == case["expected"]) != ("reason" in case), case


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.stem)
def test_agreement_is_what_the_results_say(suite: Path):
    found, written = benchmark.agreement(suite), WRITTEN["agreement"][suite.stem]

    assert found["without_reason"] == 0
    assert (found["cases"], found["agreed"]) == (written["cases"], written["agreed"])


def test_an_item_takes_a_fifth_of_a_millisecond_at_most():
    rows, _ = benchmark.texts()
    completions = [row["completion"] for row in rows[:300]]

    for name in ("numeric", "choice", "yes_no"):
        assert WRITTEN["speed"][name]["mean_ms"] <= 0.2
        assert benchmark.speed(name, completions)["mean_ms"] <= 0.2
