"""What is checked before a teacher is asked: prompts, choices, dev, the key, and stopped rounds."""

import json
from pathlib import Path
from typing import Any

import pytest

from redistill.analysis.scores import mcnemar
from redistill.checks import ready, stopped, teaching
from redistill.console.exceptions import RefusedError
from redistill.console.preflight import Finding
from redistill.diagnosis import smallest_gain
from redistill.diagnosis.settings import MineSettings
from redistill.records.types import Problem
from redistill.settings.sections import Params
from tests.imports import ROOT
from tests.settings import of, shipped

OFFERED = Problem(id="q", question="Which?", answer="B", choices={"A": "one", "B": "two"})
BARE = Problem(id="p", question="How many?", answer="7")
MINE = shipped().section("mine", MineSettings)


def settings(kind: str, grader: str, *, paid: bool = True) -> Params:
    """The shipped settings, asking a model with the prompts *kind* for answers of *grader*."""
    content = dict(shipped("openai" if paid else "embedded-ladder").content)
    content["teach"] = {**content["teach"], "prompts": kind}
    return of(**content | {"grade": {"grader": grader}})


def found(params: Params, *problems: Problem, dev: int = 400) -> dict[str, Finding]:
    return {finding.check: finding for finding in teaching.fits(params, problems, dev)}


@pytest.mark.parametrize(
    ("kind", "problem", "fault"),
    [
        ("math", OFFERED, "1 of 1 questions have choices .'q' first., and .* set teach.prompts"),
        ("choice", BARE, "shows choices, and 1 of 1 questions have none"),
        ("choice", OFFERED, None),
        ("math", BARE, None),
    ],
)
def test_prompts_that_hide_the_choices_or_show_none_are_found(
    kind: str, problem: Problem, fault: str | None
):
    told = found(settings(kind, "numeric"), problem)["prompts"]

    assert told.state == ("fails" if fault else "holds")
    if fault:
        with pytest.raises(RefusedError, match=fault):
            raise RefusedError(told.told)


def test_the_prompts_of_a_teacher_that_reads_none_fit_everything():
    assert found(settings("math", "choice", paid=False), OFFERED)["prompts"].state == "holds"


@pytest.mark.parametrize(
    ("problem", "fault"),
    [
        (OFFERED, None),
        (OFFERED.model_copy(update={"answer": "b"}), None),
        (OFFERED.model_copy(update={"answer": "E"}), "'q' first: answer 'E' is none of its"),
        (OFFERED.model_copy(update={"choices": None}), "it has no field 'choices'"),
        (Problem(id="i", question="Which? (A) one (B) two", answer="B"), "no field 'choices'"),
    ],
)
def test_an_answer_that_is_none_of_the_choices_is_found(problem: Problem, fault: str | None):
    told = found(settings("choice", "choice"), problem)["choices"]

    assert told.state == ("fails" if fault else "holds")
    assert fault is None or fault in told.told


@pytest.mark.parametrize("alpha", [1.0, 0.5, 0.25, 0.1, 0.0625, 0.05, 0.01, 1e-6, 1e-12])
def test_the_smallest_gain_is_the_first_that_the_test_tells_apart(alpha: float):
    fixed = smallest_gain.needed(alpha)

    assert mcnemar(fixed, 0) < alpha
    assert fixed == 1 or mcnemar(fixed - 1, 0) >= alpha


@pytest.mark.parametrize(
    ("dev", "changes", "state", "told"),
    [
        (400, {}, "holds", "from 5 fixed and 0 broken, 1.2 points (mine.alpha 0.1)"),
        (12, {}, "note", "too small: 12 problems; a round counts as better from 5 fixed"),
        (2, {}, "note", "2 problems can show no gain at mine.alpha 0.1; take a larger dev split"),
        (2, {"stop": "no_gain"}, "holds", "any gain"),
        (2, {"stop": "never"}, "holds", "no round stops the loop"),
        (0, {}, "fails", "no problem is left for dev"),
    ],
)
def test_how_large_a_gain_dev_can_show_is_told(
    dev: int, changes: dict[str, Any], state: str, told: str
):
    content = dict(shipped().content)
    params = of(**content | {"mine": {**content["mine"], **changes}})

    finding = found(params, BARE, dev=dev)["dev"]

    assert finding.state == state
    assert told in finding.told


def test_rounds_behind_one_at_which_the_loop_stopped_are_named_with_the_way_on(tmp_path: Path):
    gaps = tmp_path / "metrics/gaps"
    gaps.mkdir(parents=True)
    for name, stop in (("r0", False), ("r1", True), ("r2", True)):
        decision = {"decision": {"stop": stop, "because": "not better than the round before"}}
        (gaps / f"{name}.json").write_text(json.dumps(decision), encoding="utf-8")
    content = dict(shipped().content)
    never = of(**content | {"mine": {**content["mine"], "stop": "never"}})

    (told,) = stopped.idle(tmp_path, shipped())

    assert told.startswith("r2, r3: nothing is refined and no student trained; the loop stopped")
    assert "at r1" in told
    assert "mine.stop: never" in told
    assert stopped.idle(tmp_path, never) == stopped.idle(tmp_path / "new", shipped()) == []


def test_a_key_that_is_not_set_is_told_only_where_a_call_is_sure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("REDISTILL_STORE", str(tmp_path / "store.sqlite"))
    params = shipped("openai")

    lacks = ready.missing(tmp_path, params)

    assert lacks is not None
    assert (lacks.code, "OPENAI_API_KEY is not set" in str(lacks)) == (77, True)
    assert ready.missing(tmp_path, shipped()) is None  # the tutor needs none
    (tmp_path / "dvc.lock").write_text("stages:\n  generate:\n", encoding="utf-8")
    assert ready.missing(tmp_path, params) is None
    (tmp_path / "dvc.lock").unlink()
    (tmp_path / "store.sqlite").touch()
    assert ready.missing(tmp_path, params) is None
    (tmp_path / "store.sqlite").unlink()
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    assert ready.missing(tmp_path, params) is None


@pytest.mark.parametrize(
    ("words", "sure"),
    [
        ("python /venv/bin/dvc repro", True),
        ("python -m dvc repro -f --pull", True),
        ("dvc exp run -S train.steps=3 -n tried", True),
        ("dvc repro prepare", False),
        ("dvc repro -s settings", False),
        ("dvc repro -P", False),
        ("dvc exp run -S", False),
        ("dvc exp exec-run --infofile x", False),
        ("make repro", False),
        ("", False),
    ],
)
def test_a_run_of_every_stage_is_told_from_one_of_targets(words: str, sure: bool):
    assert ready.whole(words.split()) == sure


def test_a_key_that_is_not_set_is_refused_at_once_where_every_stage_is_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("REDISTILL_STORE", str(tmp_path / "store.sqlite"))
    monkeypatch.setattr(ready, "_caller", lambda: ["dvc", "repro"])
    params = shipped("openai")

    with pytest.raises(RefusedError, match="OPENAI_API_KEY is not set") as refused:
        ready.before(tmp_path, params)
    assert refused.value.code == 77
    monkeypatch.setattr(ready, "_caller", lambda: ["dvc", "repro", "prepare"])
    (told,) = ready.before(tmp_path, params)
    assert told.startswith("not yet: openai.key")
    (tmp_path / "store.sqlite").touch()
    monkeypatch.setattr(ready, "_caller", lambda: ["dvc", "repro"])
    assert ready.before(tmp_path, params) == []


def test_what_is_checked_comes_before_what_costs():
    from dvc.utils.serialize import load_yaml

    stages = load_yaml(str(ROOT / "dvc.yaml"))["stages"]

    assert "metrics/settings.json" in stages["prepare"]["deps"]
    assert "metrics/settings.json" in stages["base"]["deps"]
    assert "metrics/check.json" in stages["generate"]["deps"]
    assert {"params.yaml", "data/pretrained"} <= {*stages["check"]["deps"]}  # of which targets are
