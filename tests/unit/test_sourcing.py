"""Published data sets: rows as the hub has them, folders, shares, and what is left out of them."""

import json
from pathlib import Path
from types import ModuleType

import datasets
import pytest

from redistill.console.exceptions import RefusedError
from redistill.grading.answers import last_box
from redistill.problems import source, task
from redistill.problems import splits as splitting
from redistill.problems.source import Rejected
from redistill.records import jsonl
from redistill.records.types import Problem
from redistill.settings.sections import Params
from redistill.tasks import (
    addsub,
    aqua,
    arc_challenge,
    asdiv,
    commonsense_qa,
    gsm8k,
    math,
    multiarith,
    strategy_qa,
    svamp,
)

LETTERED = {"A": "bank", "B": "mall", "C": "park"}
CHOICES = {"label": ["A", "B", "C"], "text": ["bank ", "mall", "park"]}
HUB: dict[str, list[tuple[dict, dict | str]]] = {  # rows as the hub has them; what becomes of them
    "gsm8k": [
        (
            {"question": " How many? ", "answer": "<<3*400=1200>>\n#### 1,200"},
            {"question": "How many?", "answer": "1200", "solution": "<<3*400=1200>>\n#### 1,200"},
        ),
        ({"question": "How many?", "answer": "Many."}, "no number after ####"),
    ],
    "svamp": [
        (
            {"ID": "chal-7", "Body": "Ann has 87 figs", "Question": "How many?", "Answer": "87.0"},
            {"question": "Ann has 87 figs. How many?", "answer": "87"},
        ),
        ({"Body": "A.", "Question": "Q?", "Answer": "a few"}, "answer is not one number"),
    ],
    "asdiv": [
        (
            {"body": "Seven red apples.", "question": "How many apples?", "answer": "7 (apples)"},
            {"question": "Seven red apples. How many apples?", "answer": "7"},
        ),
        ({"body": "A.", "question": "Q?", "answer": "5 (y); 15 (y)"}, "answer is not one number"),
        ({"body": "A.", "question": "Q?", "answer": "Purple"}, "answer is not one number"),
    ],
    "multiarith": [
        ({"question": " How many? ", "final_ans": "39"}, {"question": "How many?", "answer": "39"}),
        ({"question": "How many?", "final_ans": ""}, "answer is not one number"),
    ],
    "aqua": [
        (
            {
                "question": "How fast?", "options": ["A)21", "B)2(√3 + 1)", "C)None"],
                "rationale": "Because.\nB", "correct": "B",
            },
            {
                "question": "How fast?", "answer": "B", "solution": "Because.\nB",
                "choices": {"A": "21", "B": "2(√3 + 1)", "C": "None"},
            },
        ),
        (
            {"question": "Q?", "options": ["A)21"], "rationale": "", "correct": "E"},
            "gold answer is none of the choices",
        ),
    ],
    "math": [
        (
            {"problem": "What?", "solution": r"$\boxed{\frac{1}{2}}$.", "level": "Level 1"},
            {"question": "What?", "answer": r"\frac{1}{2}", "solution": r"$\boxed{\frac{1}{2}}$."},
        ),
        (
            {"problem": "What?", "solution": r"$\boxed{1.0}$", "answer": "1", "subject": "Algebra"},
            {"question": "What?", "answer": "1", "solution": r"$\boxed{1.0}$"},
        ),
        ({"problem": "What?", "solution": "Nothing."}, "no boxed answer"),
    ],
    "commonsense_qa": [
        (
            {"id": "x", "question": "Where?", "choices": CHOICES, "answerKey": "B"},
            {"question": "Where?", "answer": "B", "choices": LETTERED},
        ),
        (
            {"question": "Where?", "choices": CHOICES, "answerKey": ""},
            "gold answer is none of the choices",
        ),
    ],
    "arc_challenge": [
        (
            {"question": "Where?", "choices": CHOICES, "answerKey": "C"},
            {"question": "Where?", "answer": "C", "choices": LETTERED},
        ),
        (
            {
                "question": "Where?", "answerKey": "4",
                "choices": {"label": ["1", "2", "3", "4"], "text": ["a", "b", "c", "d"]},
            },
            {
                "question": "Where?", "answer": "D",
                "choices": {"A": "a", "B": "b", "C": "c", "D": "d"},
            },
        ),
    ],
    "strategy_qa": [
        (
            {"question": "Do hens lay?", "answer": True, "facts": "Hens lay eggs."},
            {"question": "Do hens lay?", "answer": "yes", "solution": "Hens lay eggs."},
        ),
        (
            {"question": "Do cows?", "answer": False, "facts": ["Cows", "calve."]},
            {"question": "Do cows?", "answer": "no", "solution": "Cows calve."},
        ),
    ],
}  # fmt: skip
MODULES = (
    aqua, arc_challenge, asdiv, commonsense_qa, gsm8k, math, multiarith, strategy_qa, svamp,
)  # fmt: skip


def named(module: ModuleType) -> str:
    return module.__name__.rpartition(".")[2]


@pytest.mark.parametrize("module", MODULES, ids=named)
def test_a_row_of_the_hub_becomes_a_problem_or_says_why_it_is_none(module: ModuleType):
    for row, expected in HUB[named(module)]:
        made = module.problem("the-id", row)

        if isinstance(expected, str):
            assert made == Rejected(expected)
        else:
            assert made == Problem(id="the-id", **expected)


def test_every_task_that_the_hub_has_is_tried_on_rows_of_the_hub():
    found = [task.load_task(f.stem) for f in Path(gsm8k.__file__).parent.glob("[a-z]*.py")]
    on_hub = {named(t) for t in found if any(p.hub for p in getattr(t, "PARTS", ()))}

    assert on_hub == set(HUB) == {named(module) for module in MODULES}


@pytest.fixture(autouse=True)
def anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let folders lie outside of data/external, which a project refuses."""
    monkeypatch.setattr(source, "INPUTS", (Path("/"),))


def settings(module: ModuleType, folder: Path | None = None, **changes: object) -> object:
    options = {"folder": folder and str(folder), "dev_share": 0.2, "train_share": 0.0}
    options |= {"take_train": None, "take_dev": None, "take_test": None} | changes
    fields = module.Settings.model_fields
    return module.Settings(**{key: value for key, value in options.items() if key in fields})


@pytest.mark.parametrize("module", MODULES, ids=named)
def test_the_hub_is_asked_for_a_pinned_commit_and_for_nothing_else(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch
):
    asked = []

    def load(dataset: str, config: str | None, *, split: str, revision: str) -> list[dict]:
        asked.append(source.Hub(dataset, config, split, revision))
        return [row for row, _ in HUB[named(module)]]

    monkeypatch.setattr(datasets, "load_dataset", load)

    rows = module.problems(settings(module), 1)

    assert asked == [home for part in module.PARTS for home in part.hub]
    assert len(rows) == len(asked) * len(HUB[named(module)])
    made = [row for _, row in rows if isinstance(row, Problem)]
    assert all(row.source.count(" at ") == 1 for row in made)
    assert len({row.id for row in made}) == len(made)


def test_a_hub_that_cannot_be_reached_is_refused_with_the_way_out(monkeypatch: pytest.MonkeyPatch):
    def load(*_: object, **__: object) -> None:
        raise ConnectionError("Couldn't reach 'openai/gsm8k' on the Hub")

    monkeypatch.setattr(datasets, "load_dataset", load)

    with pytest.raises(RefusedError, match=r"Couldn't reach.*set gsm8k.folder to a folder") as it:
        gsm8k.problems(settings(gsm8k), 1)
    assert it.value.code == 75


def test_a_hub_row_of_another_shape_is_refused_by_its_number(monkeypatch: pytest.MonkeyPatch):
    rows = [{"question": "How many?", "answer": "#### 1"}, {"query": "?"}]
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: rows)

    with pytest.raises(RefusedError, match=r"row gsm8k-train-1 is not of the shape .*'answer'"):
        gsm8k.problems(settings(gsm8k), 1)


def test_a_task_that_the_hub_has_not_needs_a_folder():
    with pytest.raises(RefusedError, match=r"addsub.folder: no home of addsub on the hub") as it:
        addsub.problems(settings(addsub), 1)
    assert it.value.code == 78


def folder(path: Path, **files: int | list[str]) -> Path:
    for name, content in files.items():
        texts = content if isinstance(content, list) else [f"{name} {i}?" for i in range(content)]
        rows = [Problem(id=f"{name}-{i}", question=q, answer="1") for i, q in enumerate(texts)]
        jsonl.write(path / f"{name}.jsonl", rows)
    return path


def ids(rows: source.Rows, split: str) -> list[str]:
    return [row.id for where, row in rows if where == split and isinstance(row, Problem)]


def test_dev_is_carved_out_of_train_unless_the_folder_has_one(tmp_path: Path):
    carved = gsm8k.problems(settings(gsm8k, folder(tmp_path / "a", train=100, test=10)), 1)
    given = gsm8k.problems(settings(gsm8k, folder(tmp_path / "b", train=100, dev=5, test=10)), 1)

    assert 5 <= len(ids(carved, "dev")) <= 35
    assert len(ids(carved, "train")) + len(ids(carved, "dev")) == 100
    assert sorted(ids(given, "dev")) == [f"dev-{i}" for i in range(5)]
    assert len(ids(given, "train")) == 100


def test_the_published_dev_split_is_test_where_the_published_test_has_no_answers(tmp_path: Path):
    place = folder(tmp_path, train=50, dev=7)

    for module in (commonsense_qa, strategy_qa):
        assert sorted(ids(module.problems(settings(module, place), 1), "test")) == [
            f"dev-{i}" for i in range(7)
        ]
    folder(tmp_path, test=3)
    with pytest.raises(RefusedError, match=r"test.jsonl: the task strategy_qa reads train, dev"):
        strategy_qa.problems(settings(strategy_qa, place), 1)


def test_one_file_is_all_test_or_shared_out_by_the_hash_of_the_id(tmp_path: Path):
    place = folder(tmp_path, test=400)

    whole = svamp.problems(settings(svamp, place, dev_share=0.0), 1)
    shared = svamp.problems(settings(svamp, place, dev_share=0.1, train_share=0.5), 1)
    again = svamp.problems(settings(svamp, place, dev_share=0.1, train_share=0.6), 9)

    assert len(ids(whole, "test")) == 400
    assert 160 <= len(ids(shared, "train")) <= 240
    assert 15 <= len(ids(shared, "dev")) <= 70
    assert sorted(ids(again, "dev")) == sorted(ids(shared, "dev"))
    assert set(ids(again, "train")) > set(ids(shared, "train"))


def test_shares_beyond_the_whole_are_refused(tmp_path: Path):
    place = folder(tmp_path, test=4)

    with pytest.raises(RefusedError, match=r"svamp: dev_share and train_share are 1.1 together"):
        svamp.problems(settings(svamp, place, dev_share=0.3, train_share=0.8), 1)
    assert svamp.problems(settings(svamp, place, dev_share=0.3, train_share=0.7), 1)


@pytest.mark.parametrize(
    ("key", "value", "fault"),
    [
        ("dev_share", 1.2, "less than or equal to 1"),
        ("dev_share", -0.1, "greater than or equal to 0"),
        ("take_test", -5, "greater than or equal to 0"),
        ("take_test", "all", "valid integer"),
    ],
)
def test_shares_and_counts_out_of_range_are_refused_by_key(key: str, value: object, fault: str):
    section = settings(gsm8k).model_dump() | {key: value}

    with pytest.raises(RefusedError, match=rf"p: gsm8k\.{key}: .*{fault}"):
        Params(Path("p"), {}).hold("gsm8k", section, gsm8k.Settings)


def test_rows_are_taken_by_seed_and_not_by_their_order(tmp_path: Path):
    place = folder(tmp_path, train=60, test=20)

    one, same, other = (
        ids(gsm8k.problems(settings(gsm8k, place, take_train=8), seed), "train")
        for seed in (1, 1, 2)
    )

    assert one == same
    assert len(one) == len(other) == 8
    assert one != other
    assert one != sorted(one)


def test_an_empty_folder_and_one_that_is_not_there_are_refused_by_name(tmp_path: Path):
    for place in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(RefusedError, match=r"gsm8k.folder: there is no train.jsonl or dev"):
            gsm8k.problems(settings(gsm8k, place), 1)


def test_a_train_question_that_others_also_ask_in_test_is_left_out_and_counted(tmp_path: Path):
    place = folder(
        tmp_path, train=["Same?", "One?", "Two?"], dev=["two", "D?"], test=["same", "E?"]
    )
    rows = gsm8k.problems(settings(gsm8k, place), 1)

    splits, balance = splitting.split(rows, published=gsm8k.PUBLISHED)

    assert [p.question for p in splits["train"]] == ["One?"]
    assert len(splits["dev"]) == len(splits["test"]) == 2
    assert balance.rejected == {
        "train asks a question of test": 1,
        "train asks a question of dev": 1,
    }
    assert balance.holds
    with pytest.raises(RefusedError, match="asks the same question as"):
        splitting.split(rows)


def test_a_row_that_is_no_problem_is_counted_by_its_reason(monkeypatch: pytest.MonkeyPatch):
    def load(*_: object, split: str, **__: object) -> list[dict]:
        rows = [{"question": f"{split} {i}?", "answer": f"#### {i}"} for i in range(40)]
        return [*rows, {"question": "Q?", "answer": "?"}, {"question": "", "answer": "#### 1"}]

    monkeypatch.setattr(datasets, "load_dataset", load)
    found = gsm8k.problems(settings(gsm8k), 1)

    _, balance = splitting.split(found, published=True)

    assert balance.rejected["no number after ####"] == 2
    assert balance.rejected["no question or no answer"] == 2
    assert balance.rows_in == 84


@pytest.mark.parametrize(
    ("text", "held"),
    [
        (r"first \boxed{1}, then \boxed{2}", "2"),
        (r"\boxed{\left\{1, 2\right\}}", r"\left\{1, 2\right\}"),
        (r"\boxed{a\\{b}}", r"a\\{b}"),
        (r"so $\fbox{7}$", "7"),
        (r"$\boxed 5$.", "5"),
        (r"\boxed{" + "{" * 50 + "x" + "}" * 50 + "}", "{" * 50 + "x" + "}" * 50),
        (r"\boxed{{1}", None),
        (r"\boxed{}", None),
        ("nothing", None),
    ],
)
def test_the_boxed_answer_is_the_last_that_closes(text: str, held: str | None):
    assert last_box(text) == held


def test_a_long_solution_is_read_in_one_pass():
    text = r"\boxed{" + "{" * 200_000 + "}" * 200_000

    assert last_box(text) is None
    assert last_box(text + "}") is not None


def test_hub_rows_and_folder_rows_are_written_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: [HUB["gsm8k"][0][0]])
    _, made = gsm8k.problems(settings(gsm8k, dev_share=0.0), 1)[0]
    assert isinstance(made, Problem)

    jsonl.write(tmp_path / "test.jsonl", [made])

    row = json.loads((tmp_path / "test.jsonl").read_text())
    assert row["answer"] == "1200"
    assert row["source"].startswith("openai/gsm8k at cc7b047b6e5b")
