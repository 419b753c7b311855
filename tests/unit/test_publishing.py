"""What is published of a run: which rows, in which views, and what is refused."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import DatasetCard
from markdown_it import MarkdownIt
from pyarrow.json import read_json
from pydantic import ValidationError

from redistill.console.exceptions import RefusedError
from redistill.datasets import card as cards
from redistill.datasets import files
from redistill.datasets import rows as dataset_rows
from redistill.datasets import views as dataset_views
from redistill.records import manifest
from redistill.records.types import Problem, Version
from tests.imports import ROOT
from tests.publications import (
    BRANCHES,
    ORIGIN,
    answered,
    first,
    problem,
    provenance,
    publish,
    refined,
    small,
    views,
)
from tests.unit.test_showing import PAYLOADS


def test_the_views_are_of_the_same_rows():
    asked = Problem(id="p1", question="Which?", answer="B", choices={"A": "x", "B": "y"})

    made = views([asked, problem("p2")], [first("p2"), refined("p1")], answered("p1", "#### A"))

    prompt = "Which?\n(A) x\n(B) y"
    text = "3+4=7\n#### 7"
    assert [row["id"] for row in made.rows["records"]] == ["p1", "p2"]
    assert made.rows["sft"][0] == {"id": "p1", "prompt": f"{prompt}\n", "completion": text}
    turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": text}]
    assert made.rows["messages"][0] == {"id": "p1", "messages": turns}
    pair = {"id": "p1", "prompt": f"{prompt}\n", "chosen": text, "rejected": "#### A"}
    assert made.rows["preference"] == [pair]
    assert made.rows["privileged_context"][0] == {
        "id": "p1", "prompt": f"{prompt}\n", "privileged_context": text,
    }  # fmt: skip
    said = "An earlier answer to this, which is wrong:\n\n#### A\n\nWhere it goes wrong: it added"
    assert made.rows["feedback"] == [{
        "id": "p1", "prompt": f"{prompt}\n", "privileged_context": f"{said} wrongly.",
        "answer": "B",
    }]  # fmt: skip
    assert dataset_rows.Tally.of(made.each()).unpaired == {"a first rationale": 1}
    assert made.balance.holds


@pytest.mark.parametrize("reason", ["not_shown", "unknown", "resampled", None])
def test_feedback_names_no_gap_where_none_was_found_or_shown(reason: str | None):
    lesson = refined("p1").model_copy(update={"reason": reason})
    made = views([problem("p1")], [lesson], answered("p1", "#### 8"))

    assert made.rows["feedback"][0]["privileged_context"].endswith("wrong:\n\n#### 8")


def test_a_record_has_its_whole_lineage_and_no_null():
    row = views([problem("p1")], [refined("p1")]).rows["records"][0]

    assert row == {
        "id": "p1", "problem": "p1", "question": "How many is p1?", "choices": [], "answer": "7",
        "source": "here", "rationale": "3+4=7\n#### 7", "round": "r1", "parent": "0" * 16,
        "teacher": "tutor", "status": "refined", "reason": "add", "gaps": ["add"],
        "fingerprint": "", "history": [{"round": "r0", "text": "#### 7", "repeated": False}],
        "own": [],
    }  # fmt: skip
    assert list(row) == files.SCHEMAS["records"].names


@pytest.mark.parametrize(
    ("prediction", "reason"),
    [
        (answered("p1", verdict="correct"), "the student was right"),
        (answered("p1", verdict="cut_off"), "the student was cut off"),
        (answered("p1", lenient=True), "the student was right, in another format"),
        (answered("p1", " \n"), "the student wrote nothing"),
        (answered("p2"), "no completion of the student"),
    ],
)
def test_a_completion_that_shows_no_error_is_not_held_against_a_rationale(prediction, reason: str):
    made = views([problem("p1")], [refined("p1")], prediction)

    assert made.rows["preference"] == []
    assert dataset_rows.Tally.of(made.each()).unpaired == {reason: 1}


def test_the_rejected_text_is_that_of_the_student_before_the_text_was_written():
    kept = refined("p1").model_copy(update={"status": "kept"})
    later = refined("p2", round="r2")
    students = {
        "r0": [answered("p1", "early"), answered("p2", "early")],
        "r1": [answered("p1", "late"), answered("p2", "late")],
    }

    made = dataset_views.views(
        [problem("p1"), problem("p2")], [kept, later], students, BRANCHES, "latest"
    )

    rejected = {row["id"]: row["rejected"] for row in made.rows["preference"]}
    assert rejected == {"p1": "early", "p2": "late"}


def test_the_rounds_lead_back_to_the_first_one():
    assert dataset_rows.chain("r2", BRANCHES) == ["r0", "r1", "r2"]
    assert dataset_rows.chain("r0", BRANCHES) == ["r0"]
    with pytest.raises(RefusedError, match="do not lead back"):
        dataset_rows.chain("r1", {"r1": BRANCHES["r1"].model_copy(update={"from_": "r1"})})


def test_a_problem_without_a_rationale_is_counted_and_a_rationale_without_one_refused():
    made = views([problem("p1"), problem("p2")], [first("p1")])

    assert made.balance.rejected == {"no rationale": 1}
    with pytest.raises(RefusedError, match=r"'p1'.*not in train"):
        views([problem("p2")], [first("p1")])


LONG = "Ada has three apples and buys four more at the market, how many has she?"


@pytest.mark.parametrize("split", ["dev", "test"])
@pytest.mark.parametrize("place", ["question", "rationale", "history", "rejected"])
def test_no_question_of_dev_or_test_is_published(split: str, place: str):
    """Row L2, for what is published: whatever its case and signs, wherever it stands."""
    shouted = f"Listen: {LONG.upper().replace(',', ' --')} Well?"
    lesson = refined("p1", text=shouted if place == "rationale" else "#### 7")
    if place == "history":
        lesson = lesson.model_copy(update={"history": [Version(round="r0", text=shouted)]})
    asked = problem("p1", question=shouted if place == "question" else "")
    made = views([asked], [lesson], answered("p1", shouted if place == "rejected" else "#### 8"))
    held = {"dev": [problem("d")], "test": [problem("t")], "train": [asked]}
    published = dataset_rows.gate(made, held)
    assert [found["exact"] for found in published.values()] == [0, 0]

    held[split].append(problem("leaked", question=LONG))

    with pytest.raises(RefusedError, match=f"1 questions of {split}.*'leaked'"):
        dataset_rows.gate(made, held)


def test_a_short_question_is_refused_where_it_is_the_same_and_a_long_overlap_is_counted():
    asked = problem("p1", question="What is 3 + 4?")
    made = views([asked], [first("p1", text=LONG.replace("she?", "Ada now"))])
    held = {"train": [asked], "dev": [problem("d", question=LONG)], "test": [problem("t")]}

    assert dataset_rows.gate(made, held)["dev"] == {"questions": 1, "exact": 0, "overlapping": 1}
    with pytest.raises(RefusedError, match="'same'"):
        dataset_rows.gate(made, {**held, "test": [problem("same", question="what is 3+4")]})


@pytest.mark.parametrize("place", ["question", "rationale", "rejected"])
def test_what_looks_like_a_key_is_not_published_and_not_repeated(place: str):
    """Row S2, for what is published."""
    key = "sk-" + "a1B2" * 8
    texts = {p: f"see {key}" if p == place else "#### 8" for p in ("question", "rationale")}
    asked = problem("p1", question=texts["question"])
    wrong = answered("p1", f"it is {key}" if place == "rejected" else "#### 9")
    made = views([asked], [refined("p1", text=texts["rationale"])], wrong)

    with pytest.raises(RefusedError, match=f'row "p1" field "{place}".*looks like a key') as told:
        dataset_rows.gate(made, {"train": [asked], "dev": [], "test": []})
    assert key not in str(told.value)


@pytest.mark.parametrize("name", ["..", "a/b", "Upper", "", "a b", ".hidden", "x" * 65])
def test_a_name_that_is_no_folder_of_its_own_is_refused(name: str):
    with pytest.raises(ValidationError):
        dataset_rows.PublishSettings(name=name, license=None)


def test_writing_it_again_gives_the_same_bytes(tmp_path: Path):
    one, other = small(tmp_path / "one"), small(tmp_path / "other")
    again = small(tmp_path / "one")

    before = {file.name: file.read_bytes() for file in other.iterdir()}
    assert {file.name: file.read_bytes() for file in again.iterdir()} == before
    assert one == again
    assert set(before) == files.FILES


def test_the_manifest_has_size_hash_and_rows_of_every_file(tmp_path: Path):
    folder = small(tmp_path / "set")
    listed = json.loads((folder / "manifest.json").read_text())["files"]

    assert manifest.verify(folder) == []
    assert set(listed) == files.FILES - {"manifest.json"}
    rows = {name: entry["rows"] for name, entry in listed.items() if "rows" in entry}
    for name, count in rows.items():
        if name.endswith(".jsonl"):
            assert count == (folder / name).read_bytes().count(b"\n")
        else:
            assert count == pq.read_table(folder / name).num_rows
    assert sorted(rows.values()) == [1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2]


def test_a_view_without_rows_has_no_file_and_no_config(tmp_path: Path):
    small(tmp_path / "set")
    folder = publish(tmp_path / "set", views([problem("p1")], [first("p1")]))

    assert not list(folder.glob("preference.*"))
    configs = DatasetCard.load(folder / "README.md").data.to_dict()["configs"]
    names = ["records", "sft", "messages", "privileged_context"]
    assert [config["config_name"] for config in configs] == names
    assert manifest.verify(folder) == []


def test_a_file_that_is_not_of_a_data_set_is_neither_published_nor_removed(tmp_path: Path):
    folder = small(tmp_path / "set")
    (folder / "notes.txt").write_text("mine")

    with pytest.raises(RefusedError, match=r"notes\.txt"):
        small(folder)
    assert (folder / "notes.txt").read_text() == "mine"


def test_of_a_column_of_dates_a_reader_of_jsonl_makes_times_and_parquet_keeps_text(tmp_path: Path):
    made = views([problem("p1", "2020-01-01")], [refined("p1")], answered("p1"))
    folder = publish(tmp_path / "set", made)

    assert read_json(folder / "records.jsonl")["answer"].type == pa.timestamp("s")
    assert pq.read_table(folder / "records.parquet")["answer"].to_pylist() == ["2020-01-01"]


MARKUP = [
    "---\nlicense: mit\n---", "\n---\n", "# heading", "\n# heading", "[link](http://x.test)",
    "![image](http://x.test/a.png)", "<img src=x onerror=y>", "`code`", "``` fence", "a | b | c",
    "\\| x \\`", "<!-- redistill: end -->", "<!-- redistill: start -->", "http://x.test",
    "[x]: http://x.test", "&lt;b&gt;", "**loud**", "$\\href{javascript:x}{y}$", "https://x.test`",
    "| --- |\n| x |", "me@x.test", "<https://x.test>", "{% raw %}", "\\", "`" * 9,
]  # fmt: skip


def kinds(text: str) -> list[str]:
    """What a reader of Markdown makes of *text*, node for node."""
    parser = MarkdownIt("commonmark", {"html": True}).enable("table")
    tokens = parser.parse(text)
    return [t.type for token in tokens for t in [token, *(token.children or [])]]


def told_by(payload: str) -> str:
    """The card of a data set in which every text from outside is *payload*."""
    made = views(
        [problem("p1", source=payload)],
        [refined("p1").model_copy(update={"teacher": payload, "gaps": [payload]})],
        answered("p1"),
    )
    origin = {
        **ORIGIN,
        "task": {"name": payload, "source": payload, "licence": payload},
        "teach": {"teacher": payload, "refiner": payload},
        "student": {"model": payload, "revision": payload},
    }
    reasons = {payload: 1}
    row = {"round": "r1", "errors_of": "r0", "accepted": 1, "rejected": reasons, "kept": reasons}
    return cards.card(provenance(made, "cc-by-4.0", origin, [row]))


def read(card: str) -> tuple[list[str], dict[str, Any]]:
    """The nodes of *card*, and its front matter."""
    found = DatasetCard(card)
    return kinds(found.text), found.data.to_dict()


@cache
def read_plain() -> tuple[list[str], dict[str, Any]]:
    return read(told_by("word"))


@pytest.mark.parametrize("payload", [*PAYLOADS, *MARKUP])
def test_text_from_outside_is_inert_in_the_card(payload: str):
    """Row X1, for the card: not a node more than with a plain word, and the same front matter."""
    card = told_by(payload)

    assert read(card) == read_plain()
    assert card.isascii() or not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u202e\u2066]", card)
    assert card.count(cards.START) == card.count(cards.END) == 1


def test_the_card_says_why_texts_were_rewritten_though_their_teacher_names_no_gaps():
    plain = refined("p1").model_copy(update={"reason": "distractor", "gaps": []})
    kept = refined("p2").model_copy(update={"status": "kept", "reason": "not wrong"})
    tally = dataset_rows.Tally.of(views([problem("p1"), problem("p2")], [plain, kept]).each())

    assert tally.reasons == {"distractor": 1}


def test_the_card_says_that_no_licence_is_stated_or_which(tmp_path: Path):
    without = DatasetCard.load(small(tmp_path / "set") / "README.md")
    stated = DatasetCard.load(small(tmp_path / "set", "cc-by-4.0") / "README.md")
    assert "| why the last round rewrote some | " in stated.content

    assert "license" not in without.data.to_dict()
    assert "No licence is stated" in without.text
    assert stated.data.license == "cc-by-4.0"
    assert "Published under `cc-by-4.0`" in stated.text


def test_the_docs_name_every_field_of_every_view():
    text = (ROOT / "docs" / "publish.md").read_text(encoding="utf-8")

    for view, schema in files.SCHEMAS.items():
        assert f"`{view}`" in text
        for name in schema.names:
            assert f'"{name}"' in text, f"{view}: {name}"


def test_a_view_that_is_written_in_groups_is_the_table_written_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "GROUP", 30)
    made = views([problem(f"p{n:03}") for n in range(100)], [first(f"p{n:03}") for n in range(100)])
    folder = publish(tmp_path / "small", made)

    for view in ("records", "sft", "messages"):
        table = pa.Table.from_pylist(made.rows[view], schema=files.SCHEMAS[view])
        pq.write_table(table, tmp_path / "whole.parquet", row_group_size=30, **files.PARQUET)
        assert (folder / f"{view}.parquet").read_bytes() == (
            tmp_path / "whole.parquet"
        ).read_bytes()


def test_rationales_that_are_not_in_the_order_of_their_ids_are_published_in_it():
    made = views([problem("p1"), problem("p2")], [first("p2"), first("p1")])

    assert [row["id"] for row in made.rows["records"]] == ["p1", "p2"]
