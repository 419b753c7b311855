"""The contract of a task, held against every file in redistill/tasks: a new one is tested too."""

import importlib.util
import re
from functools import cache
from itertools import combinations, islice
from pathlib import Path
from tempfile import mkdtemp

import pytest

from redistill.grading.grader import Grader, load_grader
from redistill.problems import source
from redistill.problems import splits as splitting
from redistill.problems.task import load_task
from redistill.records import jsonl
from redistill.records.fingerprint import normalised
from redistill.records.types import Problem, Split
from redistill.tasks import published, wordproblems
from tests import publications
from tests.imports import ROOT

DATA = ROOT.parent / "shared" / "data"
TASKS = sorted(file.stem for file in (ROOT / "redistill/tasks").glob("[a-z]*.py"))
FOLDERS = {"math": "math500"}
DOCS = (ROOT / "docs/tasks.md").read_text(encoding="utf-8")
OPTIONS = {
    "dev_share": 0.1, "train_share": 0.3, "take_train": None, "take_dev": None, "take_test": None,
}  # fmt: skip
OWN = {
    "wordproblems": {
        "train": 200, "dev": 50, "test": 50, "steps": [0.5, 0.5],
        "sizes": [wordproblems.Size(up_to=99, share=1.0)],
    },
}  # fmt: skip
LINES = 400  # of each file, which show what a conversion makes of a row
WHOLE = pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.slow)])


@pytest.fixture(autouse=True)
def anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let files lie outside of data/external, which a project refuses."""
    monkeypatch.setattr(source, "INPUTS", (Path("/"),))


@cache
def a_data_set() -> dict[str, str]:
    """A published data set of forty problems, where the task `published` looks for one."""
    place = Path(mkdtemp())
    problems = [publications.problem(f"p{n}", answer=str(n)) for n in range(40)]
    lessons = [publications.first(found.id) for found in problems]
    publications.publish(place / "lessons", publications.views(problems, lessons))
    jsonl.write(place / "test.jsonl", [publications.problem("t1")])
    published.IMPORTED = place
    return {"folder": "lessons", "test": str(place / "test.jsonl")}


def begun(folder: Path) -> Path:
    """A folder with the first lines of each file of *folder*."""
    place = Path(mkdtemp())
    for file in folder.glob("*.jsonl"):
        with file.open(encoding="utf-8") as lines:
            (place / file.name).write_text("".join(islice(lines, LINES)), encoding="utf-8")
    return place


@cache
def rows(name: str, whole: bool) -> dict[Split, list[Problem]]:
    """
    What the task finds in its data, in splits that may be empty; skips where there is none.

    It is the *whole* of the data, or what begins each file.
    """
    task = load_task(name)
    folder = DATA / FOLDERS.get(name, "gsm8k" if name == "jsonl" else name)
    if name == "published":
        OWN[name] = {**OPTIONS, **a_data_set(), "dev": None}
    if name not in OWN and not folder.is_dir():
        pytest.skip(f"shared/data/{folder.name} is not beside this checkout")
    if name in OWN:
        options = OWN[name]
    else:
        folder = folder if whole else begun(folder)
        files = {split: str(folder / f"{split}.jsonl") for split in ("train", "test")}
        options = {**OPTIONS, "folder": str(folder), **(files if name == "jsonl" else {})}
        options |= {"dev": None}
    known = {key: value for key, value in options.items() if key in task.Settings.model_fields}
    found = task.problems(task.Settings(**known), 1)
    splits: dict[Split, list[Problem]] = {split: [] for split in splitting.SPLITS}
    for split, row in found:
        assert isinstance(row, Problem)
        splits[split].append(row)
    if all(splits.values()):
        return splitting.split(found, published=task.PUBLISHED)[0]
    return splits


def neighbour(gold: str, grader: str) -> str:
    """An answer close to *gold* that is another."""
    match grader:
        case "choice":
            return "B" if gold == "A" else "A"
        case "yes_no":
            return "no" if gold == "yes" else "yes"
        case "numeric":
            return f"{gold}1" if "." in gold else f"{gold}.1"
        case _:
            return rf"{gold}+\sqrt{{9973}}"


def grader_of(name: str) -> tuple[str, Grader]:
    stated = load_task(name).GRADER or "numeric"
    if not (ROOT / f"redistill/graders/{stated}.py").is_file():
        pytest.skip(f"there is no redistill/graders/{stated}.py yet")
    if stated == "math" and importlib.util.find_spec("math_verify") is None:
        pytest.skip("the extra math is not installed")
    return stated, load_grader(stated)


@WHOLE
@pytest.mark.parametrize("name", TASKS)
def test_every_gold_answer_equals_itself_and_differs_from_a_neighbour(name: str, whole: bool):
    every = 1 if whole else 3
    found = [problem for split in rows(name, whole).values() for problem in split[::every]]
    stated, grader = grader_of(name)
    few = 40 if whole else 8
    looked_at = found[:few] if stated == "math" else found  # a judgement takes a process there

    assert looked_at
    for problem in looked_at:
        assert grader.equal(problem.answer, problem.answer), problem
        assert not grader.equal(neighbour(problem.answer, stated), problem.answer), problem


@WHOLE
@pytest.mark.parametrize("name", TASKS)
def test_every_gold_answer_is_read_back_from_the_answer_format(name: str, whole: bool):
    found = [problem for split in rows(name, whole).values() for problem in split]
    stated, grader = grader_of(name)
    looked_at = found[:40] if stated == "math" else found

    for problem in looked_at:
        read = grader.strict(f"So that is it.\n#### {problem.answer}")
        assert grader.equal(read, problem.answer), problem


@WHOLE
@pytest.mark.parametrize("name", TASKS)
def test_no_question_of_a_task_is_in_two_splits(name: str, whole: bool):
    splits = rows(name, whole)
    asked = {
        split: {normalised(" ".join([p.question, *(p.choices or {}).values()])) for p in found}
        for split, found in splits.items()
    }

    assert any(asked.values())
    for one, other in combinations(asked.values(), 2):
        assert not one & other


@WHOLE
@pytest.mark.parametrize("name", TASKS)
def test_the_gold_answer_of_a_choice_is_one_of_its_letters(name: str, whole: bool):
    for split in rows(name, whole).values():
        for problem in split:
            if load_task(name).GRADER == "choice":
                assert problem.choices is not None
            if problem.choices is not None:
                assert problem.answer in problem.choices, problem


@pytest.mark.parametrize("name", TASKS)
def test_a_task_states_source_licence_and_a_grader_and_its_row_in_the_docs_says_the_same(name: str):
    task = load_task(name)

    assert task.SOURCE
    assert task.LICENCE
    assert task.GRADER in (None, "numeric", "choice", "yes_no", "math")
    assert task.__doc__
    assert "Split rule" in task.__doc__
    row = re.search(rf"^\| `{name}` \|.*$", DOCS, re.MULTILINE)
    assert row, f"docs/tasks.md has no row for {name}"
    cells = [cell.strip() for cell in row.group().strip("|").split("|")]
    assert task.LICENCE in cells
    assert f"`{task.GRADER}`" in cells or task.GRADER is None


@pytest.mark.parametrize("name", TASKS)
def test_every_revision_of_the_hub_is_a_commit_that_cannot_move(name: str):
    for part in getattr(load_task(name), "PARTS", ()):
        for home in part.hub:
            assert re.fullmatch(r"[0-9a-f]{40}", home.revision), home
            assert home.dataset.count("/") == 1
