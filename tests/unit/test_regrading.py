"""Completions graded: draws and slips, another grader or an edited one, and what is refused."""

import json
import subprocess
import sys
import types
from pathlib import Path

import pytest
from click.testing import CliRunner

from redistill.cli.main import main
from redistill.console.exceptions import RefusedError
from redistill.grading import grader, predictions
from redistill.problems import sets
from redistill.problems.sets import SPLITS, ProblemSet
from redistill.records import json_file, jsonl
from redistill.records.types import Completion, Output, Prediction, Problem, Slip, Split
from tests.imports import ROOT

NUMERIC, YES_NO = (grader.load_grader(name) for name in ("numeric", "yes_no"))


def problem(name: str, answer: str) -> Problem:
    return Problem(id=name, question=f"How many, {name}?", answer=answer)


def output(text: str, eos: bool = True) -> Output:
    return Output(text=text, eos=eos, tokens=3)


def completion(name: str, text: str, *drawn: str, split: Split = "dev") -> Completion:
    more = [output(other) for other in drawn]
    return Completion(id=name, problem=name, split=split, output=output(text), drawn=more)


def lenient_numeric() -> types.SimpleNamespace:
    """The numeric grader as it is after an edit: the last number of a text is its answer."""
    return types.SimpleNamespace(
        strict=NUMERIC.lenient, lenient=NUMERIC.lenient, equal=NUMERIC.equal
    )


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run with one branch, that was graded by a grader which found no answer on dev."""
    monkeypatch.chdir(tmp_path)
    source = (ROOT / "params.yaml").read_text(encoding="utf-8")
    (tmp_path / "params.yaml").write_text(source, encoding="utf-8")
    for split in SPLITS:
        rows = [problem("a", "5"), problem("b", "1 1/2")] if split == "dev" else []
        texts = ["#### 5 apples", "\x1b[31m#### 1.5"] if rows else []
        jsonl.write(tmp_path / f"data/problems/{split}.jsonl", rows)
        written = [completion(p.id, text) for p, text in zip(rows, texts, strict=True)]
        jsonl.write(tmp_path / f"data/completions/r0/{split}.jsonl", written)
        before = predictions.graded(rows, written, YES_NO)
        jsonl.write(tmp_path / f"data/predictions/r0/{split}.jsonl", before)
    return tmp_path


def files(run: Path) -> dict[str, bytes]:
    return {str(f.relative_to(run)): f.read_bytes() for f in run.rglob("*") if f.is_file()}


def graded_in(run: Path, completions: str, problems: str, out: str, metrics: str) -> str:
    """What the stage grade says of these files of *run*, which it writes."""
    words = ["--completions", completions, "--problems", problems, "--out", out]
    ran = subprocess.run(
        [sys.executable, "-m", "stages.grade", *words, "--metrics", metrics],
        cwd=run,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_an_edited_grader_changes_verdicts_and_keeps_what_was_written():
    problems = [problem("a", "5"), problem("b", "5")]
    written = [completion("a", "So it is 5."), completion("b", "So it is 7.")]

    before = predictions.graded(problems, written, NUMERIC)
    after = predictions.graded(problems, written, lenient_numeric())

    assert [p.verdict for p in before] == ["no_answer", "no_answer"]
    assert [p.verdict for p in after] == ["correct", "wrong"]
    assert [p.answer for p in after] == ["5", "7"]
    kept = [(p.id, p.split, p.completion, p.tokens, p.eos) for p in before]
    assert [(p.id, p.split, p.completion, p.tokens, p.eos) for p in after] == kept


def test_draws_are_counted_and_what_is_wrong_among_them_is_kept_once_each():
    problems = [problem(name, "5") for name in "abcd"]
    written = [
        completion("a", "#### 5", "#### 5", "#### 6", "#### 7"),
        completion("b", "#### 6", "#### 5", "#### 6", "#### 5"),
        completion("c", "#### 5", "#### 5", "#### 5", "#### 5"),
        completion("d", "#### 6", "#### 8", "#### 7", "#### 8"),
    ]

    found = predictions.graded(problems, written, NUMERIC)

    slips = {n: Slip(completion=f"#### {n}", answer=n, verdict="wrong") for n in "678"}
    assert [(p.samples, p.passes, p.slips) for p in found] == [
        (3, 1, [slips["6"], slips["7"]]),
        (3, 2, []),  # the greedy completion says it already
        (3, 3, []),
        (3, 0, [slips["8"], slips["7"]]),
    ]


def test_a_prediction_of_an_earlier_version_with_one_slip_or_none_is_read(tmp_path: Path):
    (now,) = predictions.graded([problem("a", "5")], [completion("a", "#### 5", "#### 6")], NUMERIC)
    row = json.loads(now.model_dump_json())
    (slip,) = row.pop("slips")
    jsonl.write_rows(
        tmp_path / "then.jsonl", [row | {"slip": slip}, row | {"id": "b", "slip": None}]
    )

    found = jsonl.read(tmp_path / "then.jsonl", Prediction)

    assert [p.slips for p in found] == [now.slips, []]


def test_an_edited_grader_grades_what_was_drawn_as_well():
    problems = [problem("a", "5")]
    written = [completion("a", "It is 5.", "It is 5.", "It is 6.")]

    before = predictions.graded(problems, written, NUMERIC)
    after = predictions.graded(problems, written, lenient_numeric())

    assert [(p.passes, [s.verdict for s in p.slips]) for p in before] == [(0, ["no_answer"])]
    assert [(p.passes, [s.answer for s in p.slips]) for p in after] == [(1, ["6"])]


def test_without_draws_a_prediction_has_no_pass_rate():
    (found,) = predictions.graded([problem("a", "5")], [completion("a", "#### 5")], NUMERIC)

    assert (found.samples, found.passes, found.slips) == (None, None, [])


def test_a_completion_of_an_unknown_problem_and_a_problem_without_one_are_refused():
    written = [completion("a", "#### 5")]

    with pytest.raises(RefusedError, match="there is no problem 'a' for completion 'a'"):
        predictions.graded([], written, NUMERIC)
    with pytest.raises(RefusedError, match=r"problem 'b' and 1 more have no completion.*dvc repro"):
        predictions.graded([problem(n, "5") for n in ("a", "b", "c")], written, NUMERIC)


def test_the_scores_have_the_pass_rate_of_what_was_drawn_and_every_row_is_accounted_for():
    known = {
        "train": ProblemSet([problem("a", "5")], "train"),
        "test": ProblemSet([problem("b", "5")], "test"),
    }
    written = {
        "train": [completion("a", "#### 5", "#### 5", "#### 6", split="train")],
        "test": [completion("b", "#### 6", split="test")],
    }

    graded = predictions.grade(known, written, "numeric")

    assert (graded.scores["train"].k, graded.scores["train"].pass_rate) == (1, 0.5)
    assert graded.scores["test"].k == 0
    assert "pass_rate" not in graded.figures()["scores"]["test"]
    assert graded.figures()["balance"] == {
        "rows_in": 2, "rows_out": 2, "rejected": {}, "holds": True,
    }  # fmt: skip
    assert str(graded) == "train 100.0 % (pass rate 50.0 %)"  # nobody is to look at test


def test_a_round_that_was_passed_through_has_no_scores_and_half_a_round_is_refused():
    known = {name: ProblemSet([problem(name, "5")], name) for name in ("train", "dev")}
    some = {"train": [completion("train", "#### 5", split="train")], "dev": []}

    passed = predictions.grade(known, {"train": [], "dev": []}, "numeric")

    assert passed.predictions == {"train": [], "dev": []}
    assert passed.figures() == {
        "passed_through": True,
        "scores": {},
        "balance": {
            "rows_in": 2, "rows_out": 0, "rejected": {"passed through": 2}, "holds": True,
        },
    }  # fmt: skip
    with pytest.raises(RefusedError, match="problem 'dev' and 0 more have no completion"):
        predictions.grade(known, some, "numeric")


def test_the_stage_grades_again_by_another_grader_and_answers_nothing_anew(run: Path):
    before, scores = files(run), "metrics/rounds/r0.json"

    told = graded_in(run, "data/completions/r0", "data/problems", "data/predictions/r0", scores)

    changed = {name for name, content in files(run).items() if before.get(name) != content}
    after = jsonl.read(run / "data/predictions/r0/dev.jsonl", Prediction)
    assert [p.verdict for p in after] == ["correct", "correct"]
    assert json.loads((run / scores).read_text())["scores"]["dev"]["k"] == 2
    assert changed == {"data/predictions/r0/dev.jsonl", scores}
    assert told == "r0: train 0.0 %, dev 100.0 %\n"


def test_an_out_of_domain_test_is_graded_by_the_grader_that_it_has(run: Path):
    problems, written = "data/problems/outside", "data/completions-outside/r0"
    tests = {"facts": ProblemSet([problem("q", "yes")], grader="yes_no")}
    sets.write_tests(run / problems, tests)
    jsonl.write(run / written / "facts.jsonl", [completion("q", "#### Yes", split="test")])

    graded_in(run, written, problems, "out", "m.json")

    assert json.loads((run / "m.json").read_text())["scores"]["facts"]["k"] == 1
    (found,) = jsonl.read(run / "out/facts.jsonl", Prediction)
    assert (found.verdict, found.answer) == ("correct", "yes")


def test_the_command_shows_what_would_change_and_writes_nothing(run: Path):
    before = files(run)

    said = CliRunner().invoke(main, ["grade"])

    assert said.exit_code == 0, said.output
    assert "0 -> 2" in said.output
    assert "r0 a: no_answer (None) -> correct ('5')" in said.output
    assert "\x1b" not in said.output
    assert files(run) == before


def test_the_command_takes_any_grader_and_shows_as_many_examples_as_asked_for(run: Path):
    other = CliRunner().invoke(main, ["grade", "--grader", "yes_no"])
    one, none = (CliRunner().invoke(main, ["grade", "--examples", n]) for n in ("1", "0"))

    assert "by the grader yes_no" in other.output
    assert "no_answer (None) ->" not in other.output
    assert [ran.output.count("which ends:") for ran in (one, none)] == [1, 0]


def test_the_command_shows_out_of_domain_tests_and_rounds_that_were_passed_through(run: Path):
    tests = {"facts": ProblemSet([problem("q", "yes")], grader="yes_no")}
    sets.write_tests(run / "data/problems/outside", tests)
    written = [completion("q", "#### Yes", split="test")]
    wrong = predictions.graded(tests["facts"].problems, written, NUMERIC)
    jsonl.write(run / "data/completions-outside/r0/facts.jsonl", written)
    jsonl.write(run / "data/predictions-outside/r0/facts.jsonl", wrong)
    for name in ("completions", "predictions"):
        for split in SPLITS:
            jsonl.write(run / f"data/{name}/r3/{split}.jsonl", [])

    said = CliRunner().invoke(main, ["grade"])

    assert said.exit_code == 0, said.output
    assert "r0 q: no_answer (None) -> correct ('yes')" in said.output
    assert "r3" in said.output


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--grader", "nosuch"], "there is no redistill/graders/nosuch.py"),
        (["--grader", "../numeric"], "is not the name of a grader"),
        (["--write"], "No such option"),
    ],
)
def test_what_cannot_be_graded_is_refused_and_nothing_is_written(
    words: list[str], told: str, run: Path
):
    before = files(run)

    said = CliRunner().invoke(main, ["grade", *words])

    assert said.exit_code != 0
    assert told in said.output
    assert files(run) == before


def test_completions_that_do_not_fit_the_problems_are_refused(run: Path):
    jsonl.write(run / "data/problems/dev.jsonl", [problem("a", "5"), problem("c", "5")])

    said = CliRunner().invoke(main, ["grade"])

    assert said.exit_code == 65
    assert "there is no problem 'b'" in said.output


def test_where_nothing_was_answered_the_command_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    source = (ROOT / "params.yaml").read_text(encoding="utf-8")
    (tmp_path / "params.yaml").write_text(source, encoding="utf-8")
    json_file.write_json(tmp_path / "metrics/rounds/r0.json", {})

    said = CliRunner().invoke(main, ["grade"])

    assert said.exit_code == 65
    assert "run dvc repro first" in said.output
