"""Out-of-domain tests: what may stand in one and who grades it; and that a task is one file."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
from redistill.problems.outside import Outside
from redistill.students.answer.outside import told
from ruamel.yaml import YAML

from redistill.analysis.summary import outside_lines
from redistill.console.exceptions import RefusedError
from redistill.problems import outside, splits, task
from redistill.problems.source import Rejected
from redistill.records import jsonl
from redistill.records.types import Problem
from tests.imports import ROOT

SECTION = {
    "train_share": 0.0, "dev_share": 0.0, "take_train": None, "take_dev": None, "take_test": None,
}  # fmt: skip


def problem(identity: str, question: str) -> Problem:
    return Problem(id=identity, question=question, answer="1")


SPLITS = {
    "train": [problem("t", "How many figs?")],
    "dev": [problem("d", "How many dates?")],
    "test": [problem("e", "How many plums?")],
}


def run(tmp_path: Path, questions: list[str], **changes: object) -> task.PrepareSettings:
    rows = [problem(f"s{i}", question) for i, question in enumerate(questions)]
    jsonl.write(tmp_path / "svamp" / "test.jsonl", rows)
    section = {**SECTION, "folder": str(tmp_path / "svamp"), **changes}
    return task.PrepareSettings(task="gsm8k", max_loss=0.0, outside={"svamp": section})


def test_a_question_that_is_taught_or_repeats_is_no_test_and_is_counted(tmp_path: Path):
    asked = ["How many pears?", "how many FIGS", "How many dates?", "How many plums?"]
    asked += ["How many pears ?"]

    tests, balances = splits.outside(Path("p"), run(tmp_path, asked), SPLITS, 1)

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
        splits.outside(Path("p"), run(tmp_path, ["How many figs?"]), SPLITS, 1)


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
def test_a_wrong_out_of_domain_test_is_refused_by_name(changes: dict, fault: str, tmp_path: Path):
    with pytest.raises(RefusedError, match=re.escape(fault)):
        check_params.check(written(tmp_path, {"prepare": changes}))


def test_an_out_of_domain_test_is_checked_with_the_other_settings(tmp_path: Path):
    tests = {"svamp": {**SECTION, "folder": None}, "multiarith": {**SECTION, "folder": "x"}}

    assert check_params.check(written(tmp_path, {"prepare": {"outside": tests}})) > 10


def test_a_grader_that_is_not_that_of_the_task_is_refused(tmp_path: Path):
    with pytest.raises(RefusedError, match=r"task wordproblems are for the grader 'numeric', not"):
        check_params.check(written(tmp_path, {"grade": {"grader": "choice"}}))


def test_a_task_that_states_no_grader_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from redistill.tasks import svamp

    monkeypatch.delattr(svamp, "GRADER")

    with pytest.raises(RefusedError, match=r"tasks/svamp.py does not state GRADER; see docs"):
        task.load_task("svamp")


def written(tmp_path: Path, changes: dict, without: str = "") -> Path:
    yaml = YAML()
    content = yaml.load(ROOT / "params.yaml")
    content.pop(without, None)
    for section, values in changes.items():
        content[section].update(values)
    yaml.dump(content, tmp_path / "params.yaml")
    return tmp_path / "params.yaml"


def test_tests_are_read_as_they_were_written_and_none_are_a_folder_too(tmp_path: Path):
    tests = {
        "svamp": Outside([problem("s", "How many?")], "numeric"),
        "jsonl": Outside([problem("j", "Which?")], None),
    }

    outside.write(tmp_path / "some", tests)
    outside.write(tmp_path / "none", {})

    assert outside.read(tmp_path / "some") == tests
    assert list(outside.read(tmp_path / "some")) == ["jsonl", "svamp"]
    assert outside.read(tmp_path / "none") == {}


def test_a_test_that_is_no_longer_in_the_index_is_not_read(tmp_path: Path):
    outside.write(tmp_path, {"svamp": Outside([problem("s", "How many?")], "numeric")})
    outside.write(tmp_path, {})

    assert outside.read(tmp_path) == {}


def test_no_tests_ask_nothing_of_a_student_and_import_no_torch(tmp_path: Path):
    outside.write(tmp_path / "problems", {})
    code = (
        "import sys; from pathlib import Path; from redistill.problems import outside\n"
        "from redistill.students.answer import outside as venturing\n"
        "found = venturing.venture(Path('no-student'), outside.read(Path('problems')), Path('p'))\n"
        "venturing.write(Path('out'), found[0])\n"
        "print(found, venturing.told(found[1]), 'torch' in sys.modules)"
    )

    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
    )

    said = "({}, {'passed_through': False, 'tests': {}}) no out-of-domain tests False"
    assert ran.stdout.strip() == said, ran.stderr
    assert (tmp_path / "out").is_dir()


def branch(**tests: dict) -> dict:
    return {"passed_through": False, "outside": tests}


def test_the_table_has_a_row_for_every_branch_and_a_column_for_every_test():
    score = {"k": 3, "n": 4, "accuracy": 0.75, "low": 0.3006, "high": 0.9544}
    summary = {
        "order": ["r0", "r1"],
        "branches": {
            "r0": branch(svamp=score, asdiv={**score, "k": 4, "accuracy": 1.0}),
            "r1": {"passed_through": True, "outside": {}},
        },
    }

    assert outside_lines(summary) == [
        ("round", "asdiv", "svamp"),
        ("r0", "100.0 % (4/4), 30.1 to 95.4", "75.0 % (3/4), 30.1 to 95.4"),
        ("r1", "passed through", "passed through"),
    ]


def test_without_tests_there_is_no_table_nor_of_a_summary_from_before_there_were_any():
    for found in (branch(), {"passed_through": False}):
        assert outside_lines({"order": ["r0"], "branches": {"r0": found}}) == []


def test_a_passed_through_round_says_so():
    assert told({"passed_through": True, "tests": {}}).startswith("passed through")


DOCS = (ROOT / "docs/tasks.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"<!-- (\S+) -->\n```\w+\n(.*?)```", DOCS, re.DOTALL))


OPTIONS = "--train t.jsonl --dev d.jsonl --test e.jsonl --outside o --metrics m.json"


def test_the_task_of_the_docs_reads_rows_of_its_hub(tmp_path: Path):
    (tmp_path / "riverquiz.py").write_text(BLOCKS["riverquiz.py"])
    spec = importlib.util.spec_from_file_location("riverquiz", tmp_path / "riverquiz.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    row = {"question": "Longest?", "options": ["Po", "Nile"], "right": 1, "withdrawn": False}

    made = module.problem("r-1", row)

    assert (made.answer, made.choices) == ("B", {"A": "Po", "B": "Nile"})
    assert module.problem("r-1", {**row, "withdrawn": True}) == Rejected("withdrawn question")


def test_every_section_of_the_docs_is_well_formed(tmp_path: Path):
    shown = re.findall(r"```yaml\n(.*?)```", DOCS, re.DOTALL)
    merged: dict = {}
    for text in shown:
        merged |= YAML(typ="safe").load(text)
    whole = YAML(typ="safe").load(ROOT / "params.yaml")
    del whole["wordproblems"]
    whole |= {key: merged[key] for key in ("prepare", "gsm8k", "grade")}
    YAML().dump(whole, tmp_path / "params.yaml")

    assert check_params.check(tmp_path / "params.yaml") > 10
    assert set(merged) == {"prepare", "gsm8k", "grade", "svamp", "riverquiz"}
    task.load_task("svamp").Settings(**merged["svamp"])
