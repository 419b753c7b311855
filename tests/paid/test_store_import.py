"""An export is anybody's file: what no store wrote is refused by row and field."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redistill.console.exceptions import RefusedError
from redistill.llm import attempt_row, exported_row, response, store, store_import
from redistill.llm.store import Writer
from redistill.records import jsonl
from tests import forks
from tests.paid.run import Run, solution
from tests.paid.server import Action, Script, Server, answer, status
from tests.paid.test_store import BATCH, chat, put, request


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """A valid export: an answer, one that was cut off, one that failed, and one in a batch."""
    file = tmp_path_factory.mktemp("export") / "s"
    put(file, 1, chat("4"))
    choice = {"message": {"content": "4 and"}, "finish_reason": "length"}
    put(file, 2, chat("", choices=[choice]), outcome="truncated")
    put(file, 3, b"<html>", outcome="malformed")
    put(file, 4, chat("waits"))
    with store.reading(file) as known:
        found = [dict(row) for row in known.export()]
    waiting = next(row for row in found if row["problem"] == "p4")
    unmade = dict.fromkeys(exported_row.BARE) | {"state": "batched", "measured": 0}
    amounts = {"prompt_tokens": request(4).max_input, "completion_tokens": 5}
    waiting |= unmade | amounts | {"batch": BATCH | {"endpoint": request(4).endpoint}}
    return found


def merged(writer: Writer, rows: list[dict[str, Any]]) -> store_import.Merged:
    return store_import.merge(writer, copy.deepcopy(rows))


def by_problem(rows: list[dict[str, Any]], problem: str) -> dict[str, Any]:
    return copy.deepcopy(next(row for row in rows if row["problem"] == problem))


HOSTILE: dict[str, tuple[dict[str, Any], str]] = {
    "a negative price": ({"nano": -1}, "nano"),
    "a huge price": ({"nano": 10**16}, "nano"),
    "a price that is no whole number": ({"nano": 0.5}, "nano"),
    "a price that is a flag": ({"nano": True}, "nano"),
    "the key of another request": ({"key": request(9).key}, "key"),
    "a request that is written otherwise": ({"request": request(1).canonical + " "}, "request"),
    "a request that is none": ({"request": "[]"}, "request"),
    "a request with NaN": (
        {"request": request(1).canonical.replace('"max_tokens":5', '"max_tokens":NaN')},
        "request",
    ),
    "another model than was asked": ({"model": "n"}, "model"),
    "an outcome that the body does not have": ({"outcome": "refused"}, "checksum"),
    "an end without an outcome": ({"outcome": None}, "outcome"),
    "an outcome of what runs": ({"state": "open"}, "outcome"),
    "a state that is none": ({"state": "paused"}, "state"),
    "a body that is gone": ({"body": None}, "body"),
    "a body that is another": ({"body": "{}"}, "checksum"),
    "more tokens than the request has bytes": ({"prompt_tokens": 10_000}, "prompt_tokens"),
    "more tokens than the limit": ({"completion_tokens": 6}, "completion_tokens"),
    "tokens in words": ({"completion_tokens": "2"}, "completion_tokens"),
    "a measure of 2": ({"measured": 2}, "measured"),
    "a flag for a number": ({"measured": True}, "measured"),
    "set aside in part": ({"retired": 0.5}, "retired"),
    "a time that is no number": ({"started": float("nan")}, "started"),
    "seconds without end": ({"seconds": float("inf")}, "seconds"),
    "seconds before the start": ({"seconds": -1.0}, "seconds"),
    "a name that is a number": ({"returned_model": 5}, "returned_model"),
    "a detail without end": ({"detail": "x" * 10_001}, "detail"),
    "a uid that is a path": ({"uid": "../" + "0" * 29}, "uid"),
    "an encoding of its own": ({"encoding": "utf-16"}, "encoding"),
    "a batch of another server": ({"batch": BATCH}, "batch"),
    "a batch at a price that is a flag": (
        {"batch": BATCH | {"endpoint": request(1).endpoint, "input": True}}, "batch.input",
    ),
    "a further field": ({"paid": True}, "paid"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_what_no_store_wrote_is_refused_by_row_and_field(
    case: str, rows: list[dict[str, Any]], tmp_path: Path
):
    change, field = HOSTILE[case]
    wrong = by_problem(rows, "p1") | change

    with store.writing(tmp_path / "t") as writer:
        with pytest.raises(RefusedError, match=f"row 2 of the export: .*: {field}[: ]") as refusal:
            merged(writer, [by_problem(rows, "p2"), wrong])
        assert refusal.value.code == 65
        assert writer.ledger() == []


def answer_of(row: dict[str, Any], body: bytes) -> dict[str, Any]:
    """*row*, with *body* and the checksum that is right for it."""
    told = attempt_row.checksum(row["key"], row["outcome"], row["status"], body)
    return row | {"body": body.decode(), "checksum": told}


def test_an_answer_whose_body_is_none_is_taken_as_what_it_is(
    rows: list[dict[str, Any]], tmp_path: Path
):
    row = by_problem(rows, "p1")
    wrong = answer_of(row, b'{"error": {"message": "busy"}}')

    with store.writing(tmp_path / "t") as writer:
        merged(writer, [wrong])
        assert [found["outcome"] for found in writer.ledger()] == ["upstream_error"]
        assert writer.answers([row["key"]]) == {}
        assert writer.committed().tokens >= row["prompt_tokens"] + row["completion_tokens"]


def test_an_answer_is_counted_at_no_less_than_its_body_says(
    rows: list[dict[str, Any]], tmp_path: Path
):
    row = by_problem(rows, "p1")
    with store.writing(tmp_path / "t") as writer:
        merged(writer, [row | {"prompt_tokens": 0, "completion_tokens": 0, "nano": 0}])
        assert (writer.committed().tokens, writer.committed().nano) == (5, None)
    bare = answer_of(row, chat("4", usage=None)) | {"measured": 0, "prompt_tokens": 0}
    with store.writing(tmp_path / "u") as writer:
        merged(writer, [bare])
        assert writer.committed().tokens == request(1).max_input + 5


def test_two_rows_of_one_uid_are_refused(rows: list[dict[str, Any]], tmp_path: Path):
    twin = by_problem(rows, "p2") | {"uid": by_problem(rows, "p1")["uid"]}

    with store.writing(tmp_path / "t") as writer:
        with pytest.raises(RefusedError, match="uid: row 1 has the same"):
            merged(writer, [by_problem(rows, "p1"), twin])
        merged(writer, [by_problem(rows, "p1")])
        with pytest.raises(RefusedError, match="uid: is that of an attempt at another request"):
            merged(writer, [twin])


def test_what_waits_here_stays_counted_where_it_ended_there_without_an_answer(
    rows: list[dict[str, Any]], tmp_path: Path
):
    row = by_problem(rows, "p4")
    released = {"prompt_tokens": 0, "completion_tokens": 0, "nano": 0}
    with store.writing(tmp_path / "t") as writer:
        merged(writer, [row])
        before = writer.committed()
        assert merged(writer, [row | {"state": "done", "outcome": "lost"} | released]).added == 1
        assert writer.committed() == before
        assert [line["outcome"] for line in writer.ledger()] == ["lost"]


def test_more_than_can_be_added_up_is_refused(rows: list[dict[str, Any]], tmp_path: Path):
    row = by_problem(rows, "p3")
    many = [row | {"uid": f"{n:032x}", "nano": 10**15} for n in range(5000)]

    with store.writing(tmp_path / "t") as writer:
        with pytest.raises(RefusedError, match="more than can be added up"):
            merged(writer, many)
        assert writer.ledger() == []


def test_a_body_of_any_size_that_is_stored_can_be_imported(tmp_path: Path):
    file, out = tmp_path / "s", tmp_path / "s.jsonl"
    put(file, 1, chat("x" * 9_000_000))
    with store.reading(file) as known:
        jsonl.write_rows(out, known.export())

    found = list(jsonl.read_rows(out, store.EXPORTED, longest=256 * 1024 * 1024))

    with store.writing(tmp_path / "t") as writer:
        assert merged(writer, found).added == 1


def taken(writer: Writer, rows: list[dict[str, Any]], place: int) -> bool:
    """Whether *rows* are taken; where not, the one at *place* is named."""
    try:
        merged(writer, rows)
    except RefusedError as refusal:
        if f"row {place + 1} of the export" not in str(refusal):
            raise
        return False
    return True


ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=40),
    st.sampled_from([*response.OUTCOMES, "done", "open", "batched", "base64", "utf-8", "0" * 64]),
    st.lists(st.integers(), max_size=2), st.dictionaries(st.text(max_size=5), st.none()),
)  # fmt: skip


@given(place=st.integers(0, 3), field=st.sampled_from(store.EXPORTED), value=ANYTHING)
@settings(max_examples=300, deadline=None)
def test_whatever_is_changed_is_refused_or_does_no_harm(
    place: int,
    field: str,
    value: object,
    rows: list[dict[str, Any]],
    tmp_path_factory: pytest.TempPathFactory,
):
    """One field of one row is anything: refused, or nothing is counted less or reads otherwise."""
    folder = tmp_path_factory.mktemp("fuzz")
    honest = [response.read(200, (row["body"] or "").encode()).text for row in rows]
    texts = dict(zip((row["key"] for row in rows), honest, strict=True))
    changed = copy.deepcopy(rows)
    changed[place][field] = value
    for begun in (False, True):  # into an empty store, and into one that has all of it
        with store.writing(folder / f"t{begun}") as writer:
            if begun:
                merged(writer, rows)
            before = writer.committed()
            if not taken(writer, changed, place):
                assert writer.committed() == before
                continue
            after = writer.committed()
            stored = writer.answers(texts)
            assert list(writer.damaged()) == []
            json.dumps(writer.ledger(), allow_nan=False)
        assert after.calls >= before.calls
        assert after.tokens >= before.tokens
        assert after.nano is None or (before.nano is not None and after.nano >= before.nano)
        for key, found in stored.items():
            assert response.read(found.status, found.body).text == texts[key]


def odd(number: int, request: dict[str, Any]) -> Action:
    """A server of odd ways: each of its answers is counted, or fails, in another one."""
    text = solution(request["messages"][-1]["content"])
    thought = {"completion_tokens_details": {"reasoning_tokens": 900}}
    usual = {"prompt_tokens": 30, "completion_tokens": 20}
    acts = [
        answer(text, usage=None),
        answer(text, usage=usual | thought),
        answer(text, usage={"total_tokens": 5000}),
        answer(text, usage={"prompt_tokens": 30, "completion_tokens": 12_000}),
        answer(text, usage={"prompt_tokens": 9000, "completion_tokens": 20}),
        status(200, {"error": {"message": "overloaded", "code": 529}}),
        status(200, "<html>"),
        status(503, {"error": {"message": "busy"}}),
        status(400, {"error": {"code": "content_filter", "message": "no"}}),
    ]
    return acts[number % len(acts)]


ODD = {"answered", "upstream_error", "malformed", "server_error", "filtered"}


@pytest.mark.parametrize("together", [False, True])
def test_an_export_of_odd_answers_is_the_same_after_an_import(
    together: bool, serve: Callable[[Script], Server], tmp_path: Path
):
    server = serve(odd)
    run = Run(
        tmp_path, server.url, 18, openai={"together": together},
        teach={"draws": 2, "choose": "shortest"}, generate={"max_loss": 1.0},
    )  # fmt: skip
    ran = forks.run(*run._words("generate"), tmp_path, **run.env(REDISTILL_CONCURRENCY="1"))
    run.redistill("store", "export", "one.jsonl")

    here = {"REDISTILL_STORE": str(tmp_path / "other.sqlite")}
    run.redistill("store", "import", "one.jsonl", **here)
    run.redistill("store", "export", "two.jsonl", **here)

    rows = jsonl.read_rows(tmp_path / "one.jsonl", store.EXPORTED)
    assert {row["outcome"] for row in rows} >= ODD, ran.stderr
    assert (tmp_path / "one.jsonl").read_bytes() == (tmp_path / "two.jsonl").read_bytes()
