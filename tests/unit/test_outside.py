"""Out-of-domain tests: what may stand in one and who grades it; and that a task is one file."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from redistill.analysis.scores import Score, score
from redistill.analysis.summary import Summary, outside_lines
from redistill.checks import check_params
from redistill.console.exceptions import RefusedError
from redistill.grading import predictions
from redistill.grading.grader import load_grader, predict
from redistill.problems import sets, source, splits, task
from redistill.problems.sets import ProblemSet
from redistill.problems.source import Rejected
from redistill.records import jsonl
from redistill.records.types import Completion, Output, Problem
from redistill.settings.sections import Params
from tests import publications
from tests.imports import ROOT
from tests.settings import of, shipped

SECTION = {
    "train_share": 0.0, "dev_share": 0.0, "take_train": None, "take_dev": None, "take_test": None,
}  # fmt: skip


def problem(identity: str, question: str) -> Problem:
    return Problem(id=identity, question=question, answer="1")


@pytest.fixture(autouse=True)
def anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let files lie outside of data/external, which a project refuses."""
    monkeypatch.setattr(source, "INPUTS", (Path("/"),))


SPLITS = {
    "train": [problem("t", "How many figs?")],
    "dev": [problem("d", "How many dates?")],
    "test": [problem("e", "How many plums?")],
}


def svamp(tmp_path: Path, questions: list[str]) -> dict:
    rows = [problem(f"s{i}", question) for i, question in enumerate(questions)]
    jsonl.write(tmp_path / "svamp" / "test.jsonl", rows)
    tests = {"svamp": {**SECTION, "folder": str(tmp_path / "svamp")}}
    prepare = task.PrepareSettings(task="gsm8k", max_loss=0.0, outside=tests)
    return task.further_tasks(of(), prepare)


def test_a_question_that_is_taught_or_repeats_is_no_test_and_is_counted(tmp_path: Path):
    asked = ["How many pears?", "how many FIGS", "How many dates?", "How many plums?"]
    asked += ["How many pears ?"]

    tests, balances = splits.outside(svamp(tmp_path, asked), SPLITS, 1)

    assert sorted(p.question for p in tests["svamp"].problems) == [
        "How many pears?",
        "How many plums?",  # in test of the run: untaught, so it may be asked here too
    ]
    assert tests["svamp"].grader == "numeric"
    assert balances["svamp"].holds
    assert balances["svamp"].rejected == {
        "asks a question of train": 1,
        "asks a question of dev": 1,
        "repeated question": 1,
    }


def test_a_test_with_nothing_left_is_refused_by_name(tmp_path: Path):
    with pytest.raises(RefusedError, match=r"prepare.outside.svamp: 1 rows in = 0 out .*needs"):
        splits.outside(svamp(tmp_path, ["How many figs?"]), SPLITS, 1)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        (
            {"outside": {"svamp": {**SECTION, "folder": None, "take_tset": 1}}},
            "svamp.take_tset: unk",
        ),
        ({"outside": {"svamp": {"folder": None}}}, "prepare.outside.svamp.dev_share: missing"),
        ({"outside": {"svamp": None}}, "prepare.outside.svamp"),
        ({"outside": {"sudoku": {}}}, "prepare.outside: there is no redistill/tasks/sudoku.py"),
        ({"outside": {"../svamp": {}}}, "is not the name of a task"),
        ({"outside": ["svamp"]}, "prepare.outside: Input should be a valid dictionary"),
    ],
)
def test_a_wrong_out_of_domain_test_is_refused_by_name(changes: dict, fault: str):
    with pytest.raises(RefusedError, match=re.escape(fault)):
        check_params.check(run(prepare=changes))


def test_an_out_of_domain_test_is_checked_with_the_other_settings():
    tests = {"svamp": {**SECTION, "folder": None}, "multiarith": {**SECTION, "folder": "x"}}

    assert check_params.check(run(prepare={"outside": tests})) > 10


def test_a_grader_that_is_not_that_of_the_task_is_refused():
    with pytest.raises(RefusedError, match=r"task wordproblems are for the grader 'numeric', not"):
        check_params.check(run(grade={"grader": "choice"}))


def test_a_task_that_states_no_grader_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from redistill.tasks import svamp

    monkeypatch.delattr(svamp, "GRADER")

    with pytest.raises(RefusedError, match=r"tasks/svamp.py does not state GRADER; see docs"):
        task.load_task("svamp")


def run(**changes: dict) -> Params:
    """The shipped settings with some values of their sections changed."""
    known = shipped().content
    return of(**known | {name: known[name] | values for name, values in changes.items()})


def test_tests_are_read_as_they_were_written_and_none_are_a_folder_too(tmp_path: Path):
    tests = {
        "svamp": ProblemSet([problem("s", "How many?")], grader="numeric"),
        "jsonl": ProblemSet([problem("j", "Which?")]),
    }

    sets.write_tests(tmp_path / "some", tests)
    sets.write_tests(tmp_path / "none", {})

    assert sets.read(tmp_path / "some") == tests
    assert list(sets.read(tmp_path / "some")) == ["jsonl", "svamp"]
    assert sets.read(tmp_path / "none") == {}


def test_a_test_that_is_no_longer_in_the_index_is_not_read(tmp_path: Path):
    test = ProblemSet([problem("s", "How many?")], grader="numeric")
    sets.write_tests(tmp_path, {"svamp": test})
    sets.write_tests(tmp_path, {})

    assert sets.read(tmp_path) == {}


def test_a_folder_without_an_index_holds_the_splits_which_have_the_grader_of_the_run(
    tmp_path: Path,
):
    for name, problems in SPLITS.items():
        jsonl.write(tmp_path / f"{name}.jsonl", problems)

    assert sets.read(tmp_path) == {
        name: ProblemSet(problems, name) for name, problems in SPLITS.items()
    }


def test_no_tests_ask_nothing_of_a_student_and_import_no_torch(tmp_path: Path):
    sets.write_tests(tmp_path / "problems", {})
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    words = ["stages.answer", "--student", "no-student", "--problems", "problems", "--out", "out"]
    words += ["--metrics", "m.json", "--timing", "t.json"]
    code = (
        "import sys, runpy; sys.argv = sys.argv[1:]\n"
        "try: runpy.run_module(sys.argv[0], run_name='__main__')\n"
        "except SystemExit as end: print(end.code, 'torch' in sys.modules)"
    )

    ran = subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
    )

    assert ran.stdout == "no-student: no problems to answer\n0 False\n", ran.stderr
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["none.txt"]
    assert not (tmp_path / "t.json").exists()


def test_each_test_is_graded_by_the_grader_that_it_has_or_by_that_of_the_run():
    facts = Problem(id="q", question="Do hens lay?", answer="yes")
    known = {
        "facts": ProblemSet([facts], grader="yes_no"),
        "sums": ProblemSet([problem("s", "How many?")]),
    }
    written = {
        name: [Completion(id=i, problem=i, split="test", output=output(text))]
        for name, i, text in (("facts", "q", "#### Yes"), ("sums", "s", "#### 1.0"))
    }

    graded = predictions.grade(known, written, "numeric")

    assert [graded.predictions[name][0].verdict for name in known] == ["correct", "correct"]
    assert {name: found.k for name, found in graded.scores.items()} == {"facts": 1, "sums": 1}


def output(text: str) -> Output:
    return Output(text=text, eos=True, tokens=3)


def summed(**tests: list[str]) -> Summary:
    """A summary of r0 with what it wrote on out-of-domain *tests*, and r1, passed through."""
    outside = {name: score_of(texts) for name, texts in tests.items()}
    branches = {"r0": publications.MEASURED.model_copy(update={"outside": outside})}
    update = {"branches": branches, "order": ("r0", "r1")}
    return publications.SUMMARY.model_copy(update=update)


def score_of(texts: list[str]) -> Score:
    numeric = load_grader("numeric")
    return score(
        [
            predict(problem(str(i), "How?"), "test", text, eos=True, tokens=3, grader=numeric)
            for i, text in enumerate(texts)
        ]
    )


def test_the_table_has_a_row_for_every_branch_and_a_column_for_every_test():
    right = ["#### 1"] * 3

    assert outside_lines(summed(svamp=[*right, "#### 2"], asdiv=[*right, "#### 1"])) == [
        ("round", "asdiv", "svamp"),
        ("r0", "100.0 % (4/4), 51.0 to 100.0", "75.0 % (3/4), 30.1 to 95.4"),
        ("r1", "passed through", "passed through"),
    ]


def test_without_tests_there_is_no_table():
    assert outside_lines(summed()) == []


def test_a_passed_through_round_says_so():
    known = {"svamp": ProblemSet([problem("s", "How many?")], grader="numeric")}

    graded = predictions.grade(known, {"svamp": []}, "numeric")

    assert str(graded).startswith("passed through")
    assert (graded.passed_through, graded.scores) == (True, {})
    assert graded.predictions == {"svamp": []}


def test_without_tests_no_round_was_passed_through():
    graded = predictions.grade({}, {}, "numeric")

    assert str(graded) == "no out-of-domain tests"
    assert not graded.passed_through


DOCS = (ROOT / "docs/tasks.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"<!-- (\S+) -->\n```\w+\n(.*?)```", DOCS, re.DOTALL))


def test_the_task_of_the_docs_reads_rows_of_its_hub(tmp_path: Path):
    (tmp_path / "riverquiz.py").write_text(BLOCKS["riverquiz.py"])
    spec = importlib.util.spec_from_file_location("riverquiz", tmp_path / "riverquiz.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    row = {"question": "Longest?", "options": ["Po", "Nile"], "right": 1, "withdrawn": False}

    made = module.problem("r-1", row)

    assert (made.answer, made.choices) == ("B", {"A": "Po", "B": "Nile"})
    assert module.problem("r-1", {**row, "withdrawn": True}) == Rejected("withdrawn question")


def test_every_section_of_the_docs_is_well_formed():
    shown = re.findall(r"```yaml\n(.*?)```", DOCS, re.DOTALL)
    merged: dict = {}
    for text in shown:
        merged |= YAML(typ="safe").load(text)
    whole = {key: value for key, value in shipped().content.items() if key != "wordproblems"}
    whole |= {key: merged[key] for key in ("prepare", "gsm8k", "grade")}

    assert check_params.check(of(**whole)) > 10
    assert set(merged) == {"prepare", "gsm8k", "grade", "svamp", "riverquiz"}
    task.load_task("svamp").Settings(**merged["svamp"])
