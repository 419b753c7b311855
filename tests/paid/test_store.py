"""The record store: what is in it stays in it, and what is damaged is not handed out."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from redistill.console.exceptions import RefusedError
from redistill.llm import exported_row, store, store_import
from redistill.llm.budget import Prices
from redistill.llm.request import Request
from redistill.llm.response import FINAL
from redistill.llm.store import Intent, Result
from redistill.llm.store_import import Merged
from redistill.records import jsonl

BATCH = {
    "token": "0" * 32, "kind": "api", "endpoint": "https://example.org", "stage": "generate",
    "round": "r0", "since": 1.0, "state": "ordered", "file": "file-1", "remote": "batch_1",
    "input": None, "output": 0.5,
}  # fmt: skip


def request(number: int) -> Request:
    messages = [{"role": "user", "content": f"question {number}"}]
    return Request("https://example.org/v1", "m", messages, {"max_tokens": 5}, problem=f"p{number}")


def chat(text: str, **fields: object) -> bytes:
    """The body of a whole answer that says *text*, and is counted as `put` counts it."""
    choice = {"message": {"content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 3, "completion_tokens": 2}
    content = {"model": "m", "choices": [choice], "usage": usage, **fields}
    return json.dumps(content, ensure_ascii=False).encode()


def put(
    file: Path,
    number: int,
    body: bytes = b"{}",
    outcome: str = "answered",
    stage: str = "generate",
) -> str:
    r = request(number)
    told = (3, 2, 50, True) if outcome in FINAL else (r.max_input, 5, 50, False)
    with store.writing(file) as writer, writer.transaction() as connection:
        attempt = writer.intend(
            connection,
            Intent(r.key, r.canonical, stage, "r0", r.problem, "m", 20, 5, 100),
        )
        writer.receive(connection, attempt, 200, body)
        writer.settle(
            connection,
            Result(attempt, r.key, outcome, 200, body, "", "stop", "m", *told, 0.1),
        )
    return r.key


def bodies(file: Path, count: int) -> dict[str, bytes]:
    with store.reading(file) as known:
        found = known.answers(request(n).key for n in range(count))
    return {key: answer.body for key, answer in found.items()}


def test_what_was_put_in_comes_out_and_nothing_else(tmp_path: Path):
    file = tmp_path / "s"
    keys = [put(file, n, f"body {n}".encode()) for n in range(3)]
    put(file, 3, b"<html>", outcome="malformed")

    assert bodies(file, 9) == {key: f"body {n}".encode() for n, key in enumerate(keys)}
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_store_that_is_not_there_has_no_answers_and_is_not_made(tmp_path: Path):
    assert bodies(tmp_path / "s", 2) == {}
    assert not (tmp_path / "s").exists()


def test_a_second_writer_is_refused_with_the_pid_of_the_first(tmp_path: Path):
    file = tmp_path / "s"
    code = (
        "import sys, time; from pathlib import Path; from redistill.llm import store\n"
        f"with store.writing(Path({str(file)!r})): print('open', flush=True); time.sleep(30)"
    )
    first = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        assert first.stdout is not None
        assert first.stdout.readline() == b"open\n"
        with pytest.raises(RefusedError, match=f"pid {first.pid}, started 20") as refusal:
            store.Writer(file)
        assert refusal.value.code == 75
    finally:
        first.kill()
        first.wait()
    put(file, 1)  # the lock ends with its holder


def test_a_call_that_never_ended_stays_counted_until_it_is_reconciled(tmp_path: Path):
    file, r = tmp_path / "s", request(1)
    with store.writing(file) as writer, writer.transaction() as connection:
        writer.intend(connection, Intent(r.key, r.canonical, "refine", "r1", "p", "m", 20, 5, 100))

    with store.writing(file) as writer:
        assert [row["outcome"] for row in writer.ledger()] == ["lost"]
        assert (writer.committed().tokens, writer.committed().nano) == (25, 100)
        assert writer.reconcile() == 1
        assert (writer.committed().tokens, writer.committed().nano) == (0, 0)
    assert bodies(file, 2) == {}


def test_a_price_that_is_known_later_is_given_to_what_was_unknown(tmp_path: Path):
    file, r = tmp_path / "s", request(1)
    with store.writing(file) as writer:
        for model in ("m", "n"):
            with writer.transaction() as connection:
                writer.intend(
                    connection,
                    Intent(r.key, r.canonical, "generate", "r0", "p", model, 20, 5, None),
                )
        assert writer.committed().nano is None
        writer.priced("m", Prices(input=None, output=2.0, batch=None))
        assert [row["nano"] for row in writer.ledger()] == [None, None]
        writer.priced("m", Prices(input=1.0, output=2.0, batch=None))
        known, unknown = writer.ledger()

    assert 1000 * (20 * 1 + 5 * 2) <= known["nano"] <= 1000 * (20 * 1 + 5 * 2) + 1
    assert unknown["nano"] is None


def test_an_answer_that_is_set_aside_is_no_answer(tmp_path: Path):
    file = tmp_path / "s"
    put(file, 1)
    put(file, 2)

    with store.writing(file) as writer:
        chosen = writer.retire({"problem": "p1", "finish_reason": "stop"})
        with pytest.raises(RefusedError, match="known are finish_reason"):
            writer.retire({"colour": "red"})
        with pytest.raises(RefusedError, match="nothing"):
            writer.retire({})

    assert [row[1:3] for row in chosen] == [("generate", "r0")]
    assert list(bodies(file, 3)) == [request(2).key]


@pytest.mark.parametrize("stage", ["generate", "refine", "control", "a-stage.of_yours"])
def test_an_export_imported_elsewhere_is_the_same_store(stage: str, tmp_path: Path):
    file, copy, out = tmp_path / "s", tmp_path / "t", tmp_path / "s.jsonl"
    put(file, 1, chat("é\u2028"), stage=stage)
    put(file, 2, b"\xff\x00 not text", outcome="malformed", stage=stage)

    with store.reading(file) as known:
        jsonl.write_rows(out, known.export())
    lines = out.read_text(encoding="utf-8").rstrip("\n").split("\n")
    for expected in (2, 0):
        with store.writing(copy) as writer:
            assert store_import.merge(writer, jsonl.read_rows(out, store.EXPORTED)) == Merged(
                expected, 0
            )

    assert [json.loads(line)["key"] for line in lines] == sorted(request(n).key for n in (1, 2))
    assert bodies(copy, 3) == bodies(file, 3)
    with store.reading(copy) as known:
        jsonl.write_rows(tmp_path / "t.jsonl", known.export())
    assert (tmp_path / "t.jsonl").read_bytes() == out.read_bytes()


def test_a_malformed_export_is_refused_by_line_and_nothing_of_it_is_taken(tmp_path: Path):
    file, out = tmp_path / "s", tmp_path / "s.jsonl"
    put(file, 1, chat("4"))
    with store.reading(file) as known:
        jsonl.write_rows(out, known.export())
    out.write_text(out.read_text() + '{"key": "x"}\n')

    with store.writing(tmp_path / "t") as writer, pytest.raises(RefusedError, match=r":2: field"):
        store_import.merge(writer, jsonl.read_rows(out, store.EXPORTED))
    assert bodies(tmp_path / "t", 3) == {}


def test_an_export_that_no_store_wrote_is_refused_and_a_running_call_is_left_out(tmp_path: Path):
    file, out = tmp_path / "s", tmp_path / "s.jsonl"
    put(file, 1, chat("4"))
    with store.reading(file) as known:
        row = next(iter(known.export()))
    for change in [
        {"stage": "generate; touch pwned"},
        {"round": "\x1b[31m"},
        {"outcome": "splendid"},
        {"started": 1e300},
        {"body": 5},
        {"body": "other"},
        {"encoding": "base64", "body": "é"},
        {"prompt_tokens": -1},
        {"request": "{}"},
        {"line": 7},
        {"batch": {}},
        {"state": "batched", "batch": BATCH},
        {"batch": BATCH | {"token": "../x"}},
        {"batch": BATCH | {"remote": "a/../b"}},
        {"batch": BATCH | {"state": "on fire"}},
        {"batch": BATCH | {"since": None}},
        {"batch": BATCH | {"file": "a\nb"}},
    ]:
        jsonl.write_rows(out, [row | change])
        with store.writing(tmp_path / "t") as writer:
            with pytest.raises(RefusedError, match="row 1 of the export"):
                store_import.merge(writer, jsonl.read_rows(out, store.EXPORTED))
            assert writer.ledger() == []
    jsonl.write_rows(
        out, [row | dict.fromkeys(exported_row.BARE) | {"state": "open", "measured": 0}]
    )
    with store.writing(tmp_path / "t") as writer:
        assert store_import.merge(writer, jsonl.read_rows(out, store.EXPORTED)) == Merged(0, 1)


@pytest.mark.parametrize("every", [101, pytest.param(7, marks=pytest.mark.slow)])
def test_no_flipped_bit_is_handed_out_as_an_answer(every: int, tmp_path: Path):
    """One bit each of bytes of a store: refused, gone, or unharmed; never a wrong text."""
    file = tmp_path / "s"
    for n in range(6):
        put(file, n, f"{{'text': {n}}}".encode() * 20)
    truth = bodies(file, 6)
    raw = file.read_bytes()
    assert not file.with_name("s-wal").exists()

    refused = harmless = lost = 0
    for place in range(0, len(raw), every):
        damaged = bytearray(raw)
        damaged[place] ^= 1 << place % 8
        file.write_bytes(bytes(damaged))
        for rest in ("-wal", "-shm"):
            file.with_name(file.name + rest).unlink(missing_ok=True)
        try:
            found = bodies(file, 6)
        except RefusedError:
            refused += 1
            continue
        assert all(truth[key] == body for key, body in found.items())
        harmless += found == truth
        lost += found != truth
    flips = refused + harmless + lost
    print(f"\nstore: {flips} bit flips: {refused} refused, {lost} hid an answer, 0 wrong answers")
    assert refused > 0


def test_no_truncated_store_hands_out_a_wrong_answer(tmp_path: Path):
    file = tmp_path / "s"
    for n in range(6):
        put(file, n, f"{{'text': {n}}}".encode() * 20)
    truth, raw = bodies(file, 6), file.read_bytes()

    for size in range(0, len(raw), 97):
        cut = tmp_path / f"cut{size}"
        cut.write_bytes(raw[:size])
        try:
            found = bodies(cut, 6)
        except RefusedError:
            continue
        assert all(truth[key] == body for key, body in found.items())


@pytest.mark.parametrize("content", [b"no database at all, but long enough " * 40, b"\x00" * 4096])
def test_what_is_no_store_is_refused_by_name(content: bytes, tmp_path: Path):
    file = tmp_path / "s"
    file.write_bytes(content)

    with pytest.raises(RefusedError, match="damaged, or not a record store"):
        bodies(file, 1)


def test_a_full_disk_is_found_before_anything_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))

    with pytest.raises(RefusedError, match="make room") as refusal:
        store.Writer(tmp_path / "s")
    assert refusal.value.code == 74
