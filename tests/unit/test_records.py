"""What the one JSONL reader refuses, and what the one writer promises."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redistill.console.exceptions import RefusedError
from redistill.records import jsonl
from redistill.records.balance import Balance
from redistill.records.types import Problem

GOOD = b'{"id": "p1", "question": "What is 1+1?", "answer": "2"}'


def row(**fields: object) -> bytes:
    return json.dumps({"id": "p2", "question": "q", "answer": "2"} | fields).encode()


BAD: dict[str, tuple[bytes, str]] = {
    "not JSON": (b"{id: 1}", "not JSON"),
    "cut off line": (b'{"id": "p2", "question": "q', "not JSON"),
    "two values on a line": (GOOD.replace(b"p1", b"p2") + b"{}", "not JSON"),
    "trailing comma": (b'{"id": "p2", "question": "q", "answer": "2",}', "not JSON"),
    "single quotes": (b"{'id': 'p2'}", "not JSON"),
    "an array": (b"[1]", "expected an object, got array"),
    "a string": (b'"p2"', "expected an object, got string"),
    "a number": (b"7", "expected an object, got number"),
    "null": (b"null", "expected an object, got null"),
    "true": (b"true", "expected an object, got true"),
    "a blank line": (b"", "blank line"),
    "only spaces": (b"   ", "blank line"),
    "missing answer": (b'{"id": "p2", "question": "q"}', 'field "answer": missing'),
    "missing id": (b'{"question": "q", "answer": "2"}', 'field "id": missing'),
    "null answer": (row(answer=None), 'field "answer": expected string, got null (id="p2")'),
    "number as answer": (row(answer=2), 'field "answer": expected string, got number'),
    "float as answer": (row(answer=2.5), 'field "answer": expected string, got number'),
    "boolean as answer": (row(answer=True), 'field "answer": expected string, got true'),
    "array as answer": (row(answer=["2"]), 'field "answer": expected string, got array'),
    "object as question": (row(question={}), 'field "question": expected string, got object'),
    "empty question": (row(question=""), 'field "question": empty'),
    "empty id": (row(id=""), 'field "id": empty'),
    "id of 10 kB": (row(id="x" * 10_000), 'field "id": string should have at most 200'),
    "number as id": (row(id=7), 'field "id": expected string, got number'),
    "unknown field": (row(rationale="r"), 'field "rationale": unknown field'),
    "choices not an object": (row(choices=["a"]), 'field "choices"'),
    "number as choice": (row(choices={"A": 1}), 'field "choices.A": expected string, got number'),
    "repeated key": (GOOD[:-1] + b', "answer": "3"}', 'field "answer": given twice'),
    "NaN": (b'{"id": "p2", "question": "q", "answer": NaN}', "NaN is not JSON"),
    "Infinity": (b'{"id": "p2", "question": "q", "answer": -Infinity}', "-Infinity is not JSON"),
    "1e999": (b'{"id": "p2", "question": "q", "answer": 1e999}', 'field "answer": a number beyond'),
    "1e999 in a list": (b'{"id": "p2", "question": "q", "answer": [1e999]}', "a number beyond"),
    "repeated key within": (
        b'{"id": "p2", "question": "q", "answer": "2", "choices": {"A": "1", "A": "2"}}',
        'field "A": given twice',
    ),
    "a lone surrogate": (rb'{"id": "p2", "question": "\ud800", "answer": "2"}', "surrogate"),
    "not UTF-8": (b'{"id": "p2", "question": "\xff", "answer": "2"}', "not UTF-8 at byte 26"),
    "UTF-16": ('{"id": "p2"}'.encode("utf-16"), "not UTF-8 at byte 0"),
    "an integer of 5,000 digits": (
        b'{"id": "p2", "question": "q", "answer": ' + b"9" * 5000 + b"}",
        "not JSON",
    ),
    "nested 100,000 deep": (b"[" * 100_000, "nested deeper than 32"),
    "same id": (GOOD, 'field "id": the same id as line 1'),
    "control character": (b'{"id": "p2", "question": "a\tb", "answer": "2"}', "not JSON"),
}


@pytest.mark.parametrize("name", BAD)
def test_refuses_a_malformed_line_naming_file_line_and_field(name: str, tmp_path: Path):
    line, fault = BAD[name]
    file = tmp_path / "bad.jsonl"
    file.write_bytes(GOOD + b"\n" + line + b"\n")

    with pytest.raises(RefusedError) as refusal:
        jsonl.read(file, Problem)

    assert str(refusal.value).startswith(f"{file}:2:")
    assert fault in str(refusal.value)
    assert refusal.value.code == 65


@pytest.mark.parametrize("name", BAD)
def test_a_stream_refuses_what_reading_at_once_refuses(name: str, tmp_path: Path):
    file = tmp_path / "bad.jsonl"
    file.write_bytes(GOOD + b"\n" + BAD[name][0] + b"\n")
    stream = jsonl.stream(file, Problem)

    assert next(stream).id == "p1"
    with pytest.raises(RefusedError) as refusal:
        list(stream)
    with pytest.raises(RefusedError) as at_once:
        jsonl.read(file, Problem)

    assert str(refusal.value) == str(at_once.value)


def test_the_table_of_malformed_files_is_as_long_as_promised():
    assert len(BAD) >= 35


def test_ids_that_are_the_same_after_normalising_are_twins(tmp_path: Path):
    file = tmp_path / "twins.jsonl"
    file.write_bytes(row(id="caf\u00e9") + b"\n" + row(id="cafe\u0301") + b"\n")

    with pytest.raises(RefusedError, match="the same id as line 1"):
        jsonl.read(file, Problem)


@pytest.mark.parametrize(
    ("ids", "fault"),
    [
        (["b", "a"], 'field "id": comes before line 1; sort the file by id first'),
        (["a", "a"], "the same id as line 1"),
        (["cafe\u0301", "caf\u00e9"], "the same id as line 1"),
        (["a10", "a9", "b"], None),
        (["B", "a", "\u00e9", "\ud7ff", "\uffee", "\U0001f642"], None),
    ],
)
def test_a_stream_is_in_the_order_of_code_points(ids: list[str], fault: str, tmp_path: Path):
    file = tmp_path / "rows.jsonl"
    file.write_bytes(b"\n".join(row(id=name) for name in ids))

    if fault is None:
        assert [problem.id for problem in jsonl.stream(file, Problem)] == ids
        return
    with pytest.raises(RefusedError, match=r"a copy:2:") as refusal:
        list(jsonl.stream(file, Problem, name="a copy"))
    assert fault in str(refusal.value)


@pytest.mark.parametrize("name", ["p1", 'a "quoted" one', "a/b", "größe", "line\u2028end", "tab\t"])
def test_the_rows_about_one_problem_are_found_however_it_is_written(name: str, tmp_path: Path):
    problem = Problem(id=name, question="q", answer="2")
    ours, theirs, php = tmp_path / "ours.jsonl", tmp_path / "theirs.jsonl", tmp_path / "php.jsonl"
    jsonl.write(ours, [problem, Problem(id="p10", question=name, answer="2")])
    theirs.write_text(json.dumps(problem.model_dump()))
    php.write_text(theirs.read_text().replace("/", "\\/"))

    for file in (ours, theirs, php):
        assert list(jsonl.matching(file, Problem, "id", name)) == [problem]
        assert not list(jsonl.matching(file, Problem, "id", "p"))


def test_rows_about_other_problems_are_not_held_to_anything(tmp_path: Path):
    file = tmp_path / "p.jsonl"
    file.write_bytes(b"\n".join([b"{no record}", GOOD, b"{"]))

    assert [p.id for p in jsonl.matching(file, Problem, "id", "p1")] == ["p1"]


def test_what_is_written_can_be_streamed(tmp_path: Path):
    rows = [
        Problem(id=name, question="q", answer="a") for name in ("\U0001f642", "\uffee", "a", "B")
    ]

    jsonl.write(tmp_path / "a.jsonl", rows)

    streamed = list(jsonl.stream(tmp_path / "a.jsonl", Problem))
    assert streamed == jsonl.read(tmp_path / "a.jsonl", Problem)


def test_a_line_over_the_limit_is_refused_before_it_is_decoded(tmp_path: Path):
    file = tmp_path / "long.jsonl"
    file.write_bytes(b"\xff" * (jsonl.MAX_LINE + 10))

    with pytest.raises(RefusedError, match=r"long.jsonl:1: longer than"):
        jsonl.read(file, Problem)


def test_an_empty_file_has_no_records_and_a_missing_one_is_refused(tmp_path: Path):
    (tmp_path / "empty.jsonl").write_bytes(b"")

    assert jsonl.read(tmp_path / "empty.jsonl", Problem) == []
    with pytest.raises(RefusedError, match="cannot be read"):
        jsonl.read(tmp_path / "missing.jsonl", Problem)


def test_a_byte_order_mark_and_carriage_returns_are_taken_off(tmp_path: Path):
    file = tmp_path / "windows.jsonl"
    file.write_bytes(b"\xef\xbb\xbf" + GOOD + b"\r\n")

    assert [problem.id for problem in jsonl.read(file, Problem)] == ["p1"]


WHOLE = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(WHOLE, min_size=1, max_size=5))
def test_what_is_written_is_read_back_and_stands_on_one_line_each(
    texts: list[str], tmp_path_factory: pytest.TempPathFactory
):
    file = tmp_path_factory.mktemp("round") / "trip.jsonl"
    rows = [Problem(id=f"p{i}", question=text, answer=text) for i, text in enumerate(texts)]

    jsonl.write(file, rows)

    assert jsonl.read(file, Problem) == sorted(rows, key=lambda problem: problem.id)
    assert len(file.read_text(encoding="utf-8").splitlines()) == len(rows) or any(
        c in "".join(texts) for c in "\x0b\x0c\x1c\x1d\x1e"
    )
    assert file.read_bytes().count(b"\n") == len(rows)


@pytest.mark.parametrize("answer", ["2020-01-01", "00123", "9" * 20, "no", "1e5", "a\u2028b", "🙂"])
def test_answers_keep_every_character(answer: str, tmp_path: Path):
    problem = Problem(id="p", question="q", answer=answer)

    jsonl.write(tmp_path / "a.jsonl", [problem])

    assert jsonl.read(tmp_path / "a.jsonl", Problem)[0].answer == answer


def test_equal_records_give_equal_bytes_whatever_their_order(tmp_path: Path):
    rows = [Problem(id=str(i), question="q", answer="a") for i in range(5)]

    jsonl.write(tmp_path / "a.jsonl", rows)
    jsonl.write(tmp_path / "b.jsonl", rows[::-1])

    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()
    assert [file.name for file in tmp_path.iterdir() if file.name.endswith(".tmp")] == []


def test_records_of_the_same_fields_share_the_set_of_their_names():
    one, other = (Problem(id=name, question="q", answer="2") for name in "ab")
    changed = one.model_copy(update={"source": "s"})

    assert one.model_fields_set is other.model_fields_set
    assert changed.model_fields_set == {"id", "question", "answer", "source"}
    assert one.model_fields_set == {"id", "question", "answer"}


def test_a_balance_that_lost_rows_is_refused():
    with pytest.raises(RefusedError, match="do not balance"):
        Balance("mine", 3, 1, {"correct": 1}).check(1.0)


def test_a_balance_over_its_loss_is_refused_naming_the_reasons():
    with pytest.raises(RefusedError, match=r"2 too long.*lost 20.0%"):
        Balance("train", 10, 8, {"too long": 2}).check(0.1)


def test_a_file_without_rows_is_a_line_feed_and_read_as_none(tmp_path: Path):
    """DVC warns of each output that is empty, and there are many in a run that does without."""
    file, older, blank = (tmp_path / f"{name}.jsonl" for name in ("new", "old", "blank"))
    jsonl.write(file, [])
    older.touch()
    blank.write_bytes(b"\n\n")
    jsonl.write_all(tmp_path / "sets", {})

    assert file.read_bytes() == b"\n"
    assert jsonl.read(file, Problem) == jsonl.read(older, Problem) == []
    assert [path.name for path in (tmp_path / "sets").iterdir()] == ["none.txt"]
    with pytest.raises(RefusedError, match="blank line"):
        jsonl.read(blank, Problem)
