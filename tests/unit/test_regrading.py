"""Grading stored completions again: what changes, what is written, and what is refused."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from redistill.problems.outside import Outside

from redistill.analysis.scores import score
from redistill.cli import main, regrade
from redistill.console.exceptions import RefusedError
from redistill.grading import grader
from redistill.problems import outside
from redistill.records import json_file, jsonl
from redistill.records.types import Prediction, Problem, Slip
from tests.imports import ROOT

NUMERIC = grader.load_grader("numeric")


def problem(name: str, answer: str) -> Problem:
    return Problem(id=name, question=f"How many, {name}?", answer=answer)


def stale(name: str, completion: str, split: str = "dev") -> Prediction:
    """A prediction whose completion another grader found no answer in."""
    return Prediction(
        id=name, problem=name, split=split, completion=completion, answer=None, verdict="no_answer",
        strict=False, lenient=False, eos=True, tokens=3,
    )  # fmt: skip


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run with one branch, whose two dev predictions were graded by another grader."""
    monkeypatch.chdir(tmp_path)
    source = (ROOT / "params.yaml").read_text(encoding="utf-8")
    (tmp_path / "params.yaml").write_text(source, encoding="utf-8")
    for split in regrade.SPLITS:
        rows = [problem("a", "5"), problem("b", "1 1/2")] if split == "dev" else []
        before = [stale("a", "#### 5 apples"), stale("b", "\x1b[31m#### 1.5")] if rows else []
        jsonl.write(tmp_path / f"data/problems/{split}.jsonl", rows)
        jsonl.write(tmp_path / f"data/predictions/r0/{split}.jsonl", before)
    figures = {"passed_through": False, "seconds": 9.0, "dev": score(before)}
    json_file.write_json(tmp_path / "metrics/rounds/r0.json", figures)
    return tmp_path


def test_grading_again_changes_verdicts_and_keeps_what_was_written():
    before = [stale("a", "#### 5"), stale("b", "#### 7")]

    after = regrade.again(before, {"a": problem("a", "5"), "b": problem("b", "5")}, NUMERIC)

    assert [p.verdict for p in after] == ["correct", "wrong"]
    assert [p.answer for p in after] == ["5", "7"]
    assert [(p.id, p.completion, p.tokens, p.eos) for p in after] == [
        (p.id, p.completion, p.tokens, p.eos) for p in before
    ]
    assert regrade.again(after, {"a": problem("a", "5"), "b": problem("b", "5")}, NUMERIC) == after


def test_a_prediction_of_an_unknown_problem_is_refused():
    with pytest.raises(RefusedError, match="there is no problem 'a'"):
        regrade.again([stale("a", "#### 5")], {}, NUMERIC)


def test_writing_replaces_what_changed_and_the_scores_alone(run: Path):
    untouched = (run / "data/predictions/r0/test.jsonl").stat().st_mtime_ns

    found = regrade.run(run, ["r0", "r1"], "numeric")
    written = regrade.write(run, found)

    after = jsonl.read(run / "data/predictions/r0/dev.jsonl", Prediction)
    figures = json.loads((run / "metrics/rounds/r0.json").read_text())
    assert [p.verdict for p in after] == ["correct", "correct"]
    assert (figures["dev"]["k"], figures["seconds"]) == (2, 9.0)
    assert written == ["data/predictions/r0/dev.jsonl", "metrics/rounds/r0.json"]
    assert (run / "data/predictions/r0/test.jsonl").stat().st_mtime_ns == untouched
    assert regrade.write(run, regrade.run(run, ["r0"], "numeric")) == []


def test_pass_rates_stay_and_what_would_make_them_stale_is_not_written(run: Path):
    file, scores = run / "data/predictions/r0/dev.jsonl", run / "metrics/rounds/r0.json"
    drawn = {"samples": 4, "passes": 3, "slip": Slip(completion="#", answer=None, verdict="wrong")}
    stale_rows = [row.model_copy(update=drawn) for row in jsonl.read(file, Prediction)]
    known = {name: problem(name, answer) for name, answer in (("a", "5"), ("b", "1 1/2"))}
    fresh = regrade.again(stale_rows, known, NUMERIC)
    assert [(row.samples, row.passes, row.slip) for row in fresh] == [tuple(drawn.values())] * 2

    figures = json.loads(scores.read_text())
    figures["dev"] |= {"pass_rate": 0.75, "k": 0}
    json_file.write_json(scores, figures)
    jsonl.write(file, fresh)
    regrade.write(run, regrade.run(run, ["r0"], "numeric"))
    after = json.loads(scores.read_text())["dev"]
    assert (after["pass_rate"], after["k"]) == (0.75, 2)

    jsonl.write(file, stale_rows)
    with pytest.raises(RefusedError, match=r"dev\.jsonl: has pass rates.*dvc repro evaluate@r0"):
        regrade.write(run, regrade.run(run, ["r0"], "numeric"))
    assert jsonl.read(file, Prediction) == stale_rows


def test_an_out_of_domain_test_is_graded_by_the_grader_that_it_has(run: Path):
    tests = {"facts": Outside([problem("q", "yes")], "yes_no")}
    outside.write(run / "data/problems/outside", tests)
    jsonl.write(run / "data/predictions-outside/r0/facts.jsonl", [stale("q", "#### Yes", "test")])
    figures = {"passed_through": False, "tests": {"facts": score([stale("q", "", "test")])}}
    json_file.write_json(run / "metrics/outside/r0.json", figures)

    found = regrade.run(run, ["r0"], "numeric")
    regrade.write(run, found)

    after = jsonl.read(run / "data/predictions-outside/r0/facts.jsonl", Prediction)
    assert [p.verdict for p in after] == ["correct"]
    assert json.loads((run / "metrics/outside/r0.json").read_text())["tests"]["facts"]["k"] == 1
    assert regrade.stages(found) == ["evaluate@r0", "outside@r0"]


def test_the_command_shows_what_would_change_and_writes_nothing(run: Path):
    before = (run / "data/predictions/r0/dev.jsonl").read_bytes()

    said = CliRunner().invoke(main, ["grade"])

    assert said.exit_code == 0, said.output
    assert "0 -> 2" in said.output
    assert "r0 a: no_answer (None) -> correct ('5')" in said.output
    assert "\x1b" not in said.output
    assert (run / "data/predictions/r0/dev.jsonl").read_bytes() == before


def test_one_file_is_graded_by_any_grader_into_another(run: Path):
    words = ["--predictions", "data/predictions/r0/dev.jsonl", "--problems"]
    words += ["data/problems/dev.jsonl", "--grader", "yes_no", "--out", "again.jsonl"]

    said = CliRunner().invoke(main, ["grade", *words])

    assert said.exit_code == 0, said.output
    assert [p.verdict for p in jsonl.read(run / "again.jsonl", Prediction)] == ["no_answer"] * 2


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--write", "--grader", "choice"], "set grade.grader there first"),
        (["--predictions", "data/predictions/r0/dev.jsonl"], "go together"),
        (["--grader", "nosuch"], "there is no redistill/graders/nosuch.py"),
        (["--write"], "dvc status failed"),
    ],
)
def test_what_cannot_be_graded_is_refused_and_nothing_is_written(
    words: list[str], told: str, run: Path
):
    before = (run / "data/predictions/r0/dev.jsonl").read_bytes()

    said = CliRunner().invoke(main, ["grade", *words])

    assert said.exit_code != 0
    assert told in said.output
    assert (run / "data/predictions/r0/dev.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("changes", "reasons"),
    [
        ([{"changed deps": {"redistill/graders/numeric.py": "modified"}}], []),
        ([{"changed deps": {"params.yaml": {"grade.grader": "modified"}}}], []),
        ([{"changed outs": {"data/predictions/r0/dev.jsonl": "modified"}}], []),
        ([{"changed deps": {"data/students/r0": "modified"}}], ["data/students/r0"]),
        ([{"changed deps": {"redistill/students/answer/engine.py": "modified"}}],
         ["redistill/students/answer/engine.py"]),
        ([{"changed deps": {"params.yaml": {"evaluate.max_new_tokens": "modified"}}}],
         ["params.yaml: evaluate.max_new_tokens"]),
        (["changed command"], ["command"]),
    ],
)  # fmt: skip
def test_only_a_change_of_the_grader_leaves_the_answers_what_they_were(
    changes: list, reasons: list[str]
):
    assert regrade.against(changes) == reasons
