"""Problems in files as people have them: read, or refused with all that is wrong with them."""

import csv
import json
import os
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from redistill.cli import new_project
from redistill.console.exceptions import CONFIG, RefusedError
from redistill.graders import choice, numeric
from redistill.grading import golds
from redistill.problems import own, source, sources
from redistill.records import jsonl as records
from redistill.records.types import Problem
from redistill.settings import sections
from redistill.tasks import gsm8k, jsonl

SUM = {"question": "Ann has 3 eggs and buys 4. How many has she?", "answer": "7"}
GSM8K = {**SUM, "answer": "She has 3+4=<<3+4=7>>7 eggs.\n#### 7"}
LABELS, TEXTS = ["1", "2", "3"], ["dog", "cat", "cow"]
PURRS = {"question": "Which animal purrs?", "answer": "2"}
CAT = {"A": "dog", "B": "cat", "C": "cow"}
LETTERED: dict[str, dict[str, Any]] = {  # all of them the same problem
    "an object of numbers": {**PURRS, "choices": dict(zip(LABELS, TEXTS, strict=True))},
    "an object of other letters": {
        **PURRS, "choices": {"a": "dog", "b": "cat", "c": "cow"}, "answer": "b"},
    "labels and texts": {
        "id": "x", "question": PURRS["question"], "question_concept": "cat", "answerKey": "B",
        "choices": {"label": ["A", "B", "C"], "text": TEXTS}},
    "labels that are numbers, and texts": {
        **PURRS, "choices": {"text": TEXTS, "label": LABELS}},
    "a list, and the text as the answer": {**PURRS, "choices": TEXTS, "answer": "cat"},
    "a list, and a letter as the answer": {**PURRS, "choices": TEXTS, "answer": "B"},
    "a list of labelled texts": {
        **PURRS, "options": ["A)dog", "B)cat", "C)cow"], "correct": "B", "answer": None},
    "a list of objects": {
        **PURRS, "choices": [{"label": a, "text": b} for a, b in zip(LABELS, TEXTS, strict=True)]},
    "beside a stem in the question": {
        "question": {"stem": PURRS["question"], "question_concept": "cat", "choices": [
            {"label": "A", "text": "dog"}, {"label": "B", "text": "cat"},
            {"label": "C", "text": "cow"}]},
        "answerKey": "B", "id": "x"},
    "columns": {**PURRS, "A": "dog", "B": "cat", "C": "cow", "answer": "(b)"},
    "columns with a name": {
        **PURRS, "option_a": "dog", "option_b": "cat", "option_c": "cow", "answer": "cat"},
    "a head as a spreadsheet has it": {
        "Question": PURRS["question"], "A": "dog", "B": "cat", "C": "cow", "Correct": "B"},
    "a head of words": {
        "Question": PURRS["question"], "Option A": "dog", "Option B": "cat", "Option C": "cow",
        "Correct answer": "cat"},
    "JSON in a cell": {**PURRS, "choices": json.dumps(TEXTS), "answer": "cat"},
}  # fmt: skip


def written(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def lines(path: Path, *rows: object) -> Path:
    return written(path, "".join(f"{json.dumps(row)}\n" for row in rows))


@pytest.mark.parametrize("form", LETTERED)
def test_choices_are_read_in_every_form_and_get_letters(form: str, tmp_path: Path):
    (found,) = own.read(lines(tmp_path / "x.jsonl", LETTERED[form])).problems

    assert (found.choices, found.answer) == (CAT, "B")
    assert list(golds.unread([found], choice)) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"answer": "4"}, "field \"answer\": '4' is none of the choices .*give the label"),
        ({"answer": "E"}, "'E' is none of the choices"),
        ({"choices": ["cat", "cat"], "answer": "cat"}, "'cat' is the text of 2 of the choices"),
        ({"choices": {"1": "", "2": "cat"}}, 'field "choices": a choice is empty'),
        ({"choices": {"a": "dog", "A": "cat"}}, "a label stands twice"),
        ({"choices": ["1", "2"], "answer": 1}, "1 is no label of a choice, .* give the letter"),
        ({"choices": "dog or cat"}, 'field "choices": expected an object or an array of JSON'),
        ({"choices": 3}, "expected an object or an array, got int"),
        ({"choices": [["dog"], ["cat"]]}, "expected texts, got list"),
        ({"choices": {"label": ["A"], "text": ["dog", "cat"]}}, "1 labels for 2 texts"),
        ({"choices": [str(i) for i in range(11)], "answer": "3"}, "11 choices; there may be 1 to"),
    ],
)
def test_choices_that_cannot_be_read_are_refused_by_their_field(
    change: dict[str, Any], fault: str, tmp_path: Path
):
    row = {**PURRS, "choices": {"1": "dog", "2": "cat"}, **change}

    with pytest.raises(RefusedError, match=rf"x.jsonl:1: .*{fault}.*a right row: .*purrs"):
        own.read(lines(tmp_path / "x.jsonl", row))


def formats(folder: Path) -> list[Path]:
    rows = [GSM8K, {"question": 'Bo, who "counts", has 5.\nHow many?', "answer": "5"}]
    table = folder / "d.csv"
    with table.open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.DictWriter(file, ["question", "answer"])
        writer.writeheader()
        writer.writerows(rows)
    semicolons = written(folder / "e.csv", "question;answer\n" + "".join(
        f"\"{r['question'].replace(chr(34), chr(34) * 2)}\";\"{r['answer']}\"\n" for r in rows
    ))  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), folder / "f.parquet")
    whole = lines(folder / "a.jsonl", *rows).read_bytes()
    return [
        folder / "a.jsonl",
        written(folder / "b.json", json.dumps(rows, indent=2)),
        written(folder / "c.jsonl", b"\xef\xbb\xbf" + whole.replace(b"\n", b"\r\n") + b"\r\n \n"),
        table,
        semicolons,
        folder / "f.parquet",
    ]


def test_every_usual_format_gives_the_same_problems(tmp_path: Path):
    found = [
        [(p.question.replace("\r\n", "\n"), p.answer, p.solution and p.solution.strip())
         for p in own.read(file).problems]
        for file in formats(tmp_path)
    ]  # fmt: skip

    assert found[0] == [
        (SUM["question"], "7", GSM8K["answer"]),
        ('Bo, who "counts", has 5.\nHow many?', "5", None),
    ]
    assert all(problems == found[0] for problems in found)


def test_an_id_is_made_of_the_question_and_stays_whatever_is_added(tmp_path: Path):
    one = own.read(lines(tmp_path / "a/train.jsonl", SUM)).problems
    more = own.read(lines(tmp_path / "b/train.jsonl", {"question": "New?", "answer": 1}, SUM, SUM))
    other = own.read(lines(tmp_path / "b/test.jsonl", SUM)).problems

    assert one[0].id == more.problems[1].id
    assert more.problems[2].id == f"{one[0].id}-2"
    assert other[0].id != one[0].id


@pytest.mark.parametrize(
    ("given", "answer"),
    [(72, "72"), (0.5, "0.5"), (True, "yes"), (False, "no"), ("#### 1,200", "1200"), ("½", "½")],
)
def test_answers_that_are_no_strings_are_read(given: object, answer: str, tmp_path: Path):
    (found,) = own.read(lines(tmp_path / "x.jsonl", {**SUM, "answer": given})).problems

    assert found.answer == answer


def test_an_answer_that_stands_in_the_solution_alone_is_read(tmp_path: Path):
    solution = "3+4=7\n#### 7"
    row = {"problem": SUM["question"], "solution": solution, "level": "Level 1"}

    (found,) = own.read(lines(tmp_path / "x.jsonl", row)).problems

    assert (found.question, found.answer, found.solution) == (SUM["question"], "7", solution)


def test_the_right_row_has_choices_where_the_rows_of_the_file_have_them(tmp_path: Path):
    row = {"Question": "Which animal purrs?", "A": "dog", "B": "cat", "Best": "B"}

    with pytest.raises(RefusedError) as refused:
        own.read(lines(tmp_path / "x.jsonl", row))

    assert 'field "answer": missing (fields: Question, A, B, Best)' in str(refused.value)
    assert str(refused.value).endswith(f"a right row: {own.LETTERED}")


def test_all_faults_of_a_file_are_named_at_once_with_a_right_row(tmp_path: Path):
    file = written(
        tmp_path / "x.jsonl",
        "\n".join(
            [
                json.dumps(SUM),
                '{"quest": "Q?", "answer": "1"}',
                "nope",
                '{"question": "R?", "answer": ""}',
                '{"question": "S?", "answer": "1", "soluton": "s"}',
                '{"question": "T?", "answer": "so it is ####"}',
                '{"question": "U?", "answer": ""}',
                '{"question": "V?", "answer": null}',
                '{"question": 5, "answer": "1"}',
            ]
        ),
    )

    with pytest.raises(RefusedError) as refused:
        own.read(file)

    told = str(refused.value)
    for place, fault in {
        2: 'field "question": missing (fields: quest, answer)',
        3: "not JSON",
        4: 'field "answer": empty (and in 1 more rows)',
        5: "field \"soluton\": unknown field; did you mean 'solution'?",
        6: 'field "answer": nothing stands after ####',
        8: 'field "answer": expected string, got null',
        9: 'field "question": expected string, got number',
    }.items():
        assert f"{file}:{place}: {fault}" in told
    assert told.endswith(
        'a right row: {"question": "Ann has 3 eggs and buys 4. How many has she?", "answer": "7"}'
    )


def test_fields_that_no_problem_has_are_left_out_and_named(tmp_path: Path):
    file = lines(tmp_path / "x.jsonl", {**SUM, "difficulty": 3, "type": "sum"})

    assert own.read(file).left_out == ["difficulty", "type"]
    assert own.left_out([file, file]) == {str(file): ["difficulty", "type"]}


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("a.jsonl", "version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ("a.jsonl.gz", b"\x1f\x8b", ".gz is not read; unpack it"),
        ("a.xlsx", b"PK", "save it as CSV"),
        ("a.parquet", b"nope", "not readable as Parquet"),
        ("a.csv", "question,answer\nQ?,1,2\n", r"a.csv:2: 3 cells in a table of 2 columns"),
        ("a.csv", b"question,answer\nQ\xe9?,1\n", "not UTF-8 at byte 17; save it as CSV"),
        ("a.csv", 'question,answer\n"Q?,1\n', "not readable as CSV"),
        ("a.csv", "question,question\nQ?,1\n", "a.csv:1: the head names a column twice"),
        ("a.json", '[{"question": "Q?"', "a.json: not JSON: .* at line 1 column"),
        ("a.json", "[1]", "a.json: row 1: expected an object"),
        ("a.json", "[" * 100, "nested deeper than 32"),
        ("a.jsonl", '{"question": "Q?", "answer": NaN}', "a.jsonl:1: NaN is not JSON"),
        ("a.jsonl", '\n{"question": "Q?", "answer": "1"}', "a.jsonl:1: blank line"),
    ],
)
def test_a_file_that_is_none_of_these_is_refused_in_one_line(
    name: str, content: str | bytes, fault: str, tmp_path: Path
):
    with pytest.raises(RefusedError, match=fault) as refused:
        own.read(written(tmp_path / name, content))
    assert "\n" not in str(refused.value)


def test_a_folder_a_pipe_and_nothing_are_refused_at_once(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.jsonl")

    for path in (tmp_path, tmp_path / "pipe.jsonl"):
        with pytest.raises(RefusedError, match="a folder or a device; name a file"):
            own.read(path)
    with pytest.raises(RefusedError, match=r"none.jsonl: cannot be read: No such file"):
        own.read(tmp_path / "none.jsonl")


def settings(**changes: Any) -> jsonl.Settings:
    kept = {"train": "data/external/all.jsonl", "dev": None, "test": None, "dev_share": 0.2,
            "test_share": 0.3, "take_train": None, "take_dev": None, "take_test": None}  # fmt: skip
    return jsonl.Settings(**kept | changes)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rows = [{"question": f"What is {n} + 1?", "answer": n + 1} for n in range(200)]
    lines(tmp_path / "data/external/all.jsonl", *rows)
    return tmp_path


def test_one_file_is_split_three_ways_and_a_row_added_later_moves_no_other(project: Path):
    before = {p.id: split for split, p in jsonl.problems(settings(), 1)}
    with (project / "data/external/all.jsonl").open("a") as file:
        file.write(json.dumps(SUM) + "\n")
    after = {p.id: split for split, p in jsonl.problems(settings(), 7)}

    sizes = [list(before.values()).count(split) for split in ("train", "dev", "test")]
    assert sum(sizes) == 200
    assert 70 < sizes[0] < 130
    assert 20 < sizes[1] < 60
    assert before == {name: split for name, split in after.items() if name in before}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"dev_share": 0.0}, "jsonl.dev_share: expected a share between 0 and 1"),
        ({"test_share": 0.0}, "jsonl.test_share: expected .* jsonl.test names no file; got 0"),
        ({"dev_share": 0.5, "test_share": 0.5}, "together, which leaves no train"),
        ({"train": "/etc/passwd"}, "jsonl.train: /etc/passwd lies outside data/external.*cp -r"),
        ({"train": "data/external/../../x.jsonl"}, "lies outside data/external"),
        ({"test": "elsewhere.jsonl"}, "jsonl.test: elsewhere.jsonl lies outside"),
    ],
)
def test_shares_that_leave_nothing_and_files_that_rerun_nothing_are_refused(
    change: dict[str, Any], fault: str, project: Path
):
    with pytest.raises(RefusedError, match=fault) as refused:
        jsonl.problems(settings(**change), 1)
    assert refused.value.code == CONFIG


def test_a_folder_of_a_published_task_may_have_its_own_format(project: Path):
    for name in ("train", "test"):
        rows = [{**GSM8K, "question": f"{name} {n}?"} for n in range(20)]
        lines(project / f"data/external/gsm8k/{name}.jsonl", *rows)
    asked = source.Settings(folder="data/external/gsm8k", dev_share=0.2, take_train=None,
                            take_dev=None, take_test=None)  # fmt: skip

    found = gsm8k.problems(asked, 1)

    assert len(found) == 40
    assert all(isinstance(p, Problem) and (p.answer, p.solution) == ("7", GSM8K["answer"])
               for _, p in found)  # fmt: skip
    with pytest.raises(RefusedError, match=r"gsm8k.folder: /home lies outside data/external"):
        gsm8k.problems(asked.model_copy(update={"folder": "/home"}), 1)


@pytest.mark.parametrize(
    ("overlays", "task", "names", "grader"),
    [
        ([], "jsonl", ["train", "test"], "numeric"),
        (["own-problems"], None, ["problems"], "numeric"),
        (["own-choices"], None, ["problems"], "choice"),
        (["own-choices"], "jsonl", ["problems"], "choice"),
    ],
)
def test_a_new_project_reads_the_files_of_others_where_its_settings_have_them(
    overlays: list[str], task: str | None, names: list[str], grader: str, project: Path
):
    (project / "params.yaml").write_text(new_project.settings(overlays, task, None, None))
    for name in names:
        rows = [{**GSM8K, "question": f"{name} {n}?"} for n in range(60)]
        lines(project / f"data/external/{name}.jsonl", *rows)

    params = sections.read(project / "params.yaml")
    found = jsonl.problems(params.section("jsonl", jsonl.Settings), params.seed)

    assert {split for split, _ in found} == {"train", "dev", "test"}
    assert len(found) == 60 * len(names)
    assert params.content["grade"]["grader"] == grader


def test_a_source_is_filled_from_the_setting_and_kept_apart_from_what_is_trained_on(project: Path):
    named = lines(project / "data/external/one.jsonl", {**SUM, "source": "a book"})
    rows = [p for _, p in jsonl.problems(settings(test=str(named), source="our school"), 1)]
    bare = [p for _, p in jsonl.problems(settings(test=str(named)), 1)]

    sources.write(project / "sources.jsonl", rows)
    back = [*sources.restored([*sources.without(rows)], project)]

    assert {p.source for p in rows} == {"our school", "a book"}
    assert [*sources.without(rows)] == [*sources.without(bare)]
    assert back == rows
    assert [*sources.restored(bare, project / "nowhere")] == bare


@pytest.mark.parametrize("answer", ["2 hours 30 minutes", "3 remainder 2", "3:2", "seven", "3 pm"])
def test_a_gold_that_is_not_read_whole_is_refused_with_its_id_and_the_reason(answer: str):
    bad = Problem(id="p002", question="How long?", answer=answer)

    with pytest.raises(RefusedError, match=rf"'p002': answer '{answer}' is read as None"):
        golds.check([Problem(id="p1", question="?", answer="1 lakh"), bad], numeric, "numeric")


def test_a_gold_that_may_be_a_factorial_is_refused_and_a_unit_is_read():
    golds.check([Problem(id="p1", question="How far?", answer="5 km")], numeric, "numeric")
    with pytest.raises(RefusedError, match="'p2': answer '5!' is read as '5'"):
        golds.check([Problem(id="p2", question="How many?", answer="5!")], numeric, "numeric")


def test_a_letter_that_is_no_choice_and_a_row_without_choices_are_refused():
    asked = Problem(id="p1", question="Which?", answer="E", choices={"A": "x", "B": "y"})

    with pytest.raises(RefusedError, match="'p1': answer 'E' is none of its choices A, B"):
        golds.check([asked], choice, "choice")
    bare = asked.model_copy(update={"choices": None, "answer": "A"})
    with pytest.raises(RefusedError, match="'p1': it has no field 'choices'"):
        golds.check([bare], choice, "choice")


def odd(draw: random.Random) -> bytes:
    """A file that may be anything: rows of odd values under odd names, or a part of them."""
    names = ["question", "answer", "choices", "id", "solution", "source", "options", "A", "B",
             "answerKey", "Question", "stem", "", "\u00e9", "label", "text"]  # fmt: skip
    values: list[Any] = [
        None, "", " ", "7", "####", "#### 7", "A", 7, -0.5, 1e300, 10**70, True, [], {}, ["x", "y"],
        {"A": "x", "B": "y"}, {"label": ["A"], "text": ["x"]}, {"label": "A"}, [{"label": 1}], [[]],
        "[1, 2]", "{", "\ud800", "x" * 300, "2 hours 30 minutes", {"stem": "Q?", "choices": None},
        {"stem": 3}, "\x00", "½",
    ]  # fmt: skip
    rows = [
        {draw.choice(names[:6] if draw.random() < 0.7 else names): draw.choice(values)
         for _ in range(draw.randint(0, 6))}
        for _ in range(draw.randint(0, 5))
    ]  # fmt: skip
    whole: list[Any] = [{"question": f"Q{n}?", "answer": "7", **row} for n, row in enumerate(rows)]
    kind = draw.randrange(5)
    if kind == 0:
        text = json.dumps(rows)
    elif kind == 1:
        text = "\n".join(map(json.dumps, whole))
    elif kind == 2:
        cells = [",".join(str(v) for v in [*row.values()][: draw.randint(1, 3)]) for row in whole]
        text = "\n".join([draw.choice(["question,answer", "id,question,answer"]), *cells])
    else:
        text = "\n".join(map(json.dumps, rows)) + draw.choice(["", "\n", "\n\n", "\r\n"])
    found = bytearray(text.encode("utf-8", "surrogatepass"))
    if found and draw.random() < 0.3:
        found[draw.randrange(len(found))] = draw.randrange(256)
    return bytes(found[: draw.randrange(len(found) + 1)] if draw.random() < 0.2 else found)


def outcome(file: Path) -> tuple[list[Problem], str]:
    """The problems of *file*, or why it is refused."""
    try:
        return own.read(file).problems, ""
    except RefusedError as refusal:
        return [], str(refusal)


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".tsv", ".parquet"])
def test_any_file_ends_in_problems_or_in_a_refusal_that_names_it(suffix: str, tmp_path: Path):
    read = 0
    for seed in range(200):
        file = written(tmp_path / f"{seed}{suffix}", odd(random.Random(seed)))
        found, refusal = outcome(file)
        assert refusal.startswith(str(file)) or not refusal, seed
        assert "\n" not in refusal, seed
        read += bool(found)
        records.write(tmp_path / "out.jsonl", found)
        assert len(records.read(tmp_path / "out.jsonl", Problem)) == len(found)

    assert read or suffix in (".tsv", ".parquet")


def test_thousands_are_parted_and_other_commas_stay(tmp_path: Path):
    rows = [{"question": f"How many {given}?", "answer": f"So. #### {given}"} for given in
            ("1,200", "1,5", "1,2,3", "12,345,678")]  # fmt: skip
    found = own.read(lines(tmp_path / "a.jsonl", *rows)).problems
    assert [p.answer for p in found] == ["1200", "1,5", "1,2,3", "12345678"]


@pytest.mark.parametrize(
    "row",
    [
        {"choices": ["O", "A", "B", "AB"], "answer": "B"},
        {"option1": "4", "option2": "8", "option3": "2", "answer": "2"},
    ],
)
def test_a_gold_that_is_the_label_of_one_choice_and_the_text_of_another_is_refused(
    row: dict[str, Any], tmp_path: Path
):
    with pytest.raises(RefusedError, match="is the label of one choice and the text of another"):
        own.read(lines(tmp_path / "a.jsonl", {"question": "Which?", **row}))


def test_letters_that_stand_in_the_row_are_labels_whatever_the_texts_are(tmp_path: Path):
    choices = {"A": "O", "B": "A", "C": "B", "D": "AB"}
    row = {"question": "Which?", "choices": choices, "answer": "B"}
    assert [p.answer for p in own.read(lines(tmp_path / "a.jsonl", row)).problems] == ["B"]


def test_a_cell_may_hold_what_unicode_takes_for_the_end_of_a_line(tmp_path: Path):
    text = "question,answer\nWhat\u2028is 1 + 1?,2\nWhat is\x0b2 + 2?,4\n"
    found = own.read(written(tmp_path / "a.csv", text)).problems
    assert sorted(p.answer for p in found) == ["2", "4"]
