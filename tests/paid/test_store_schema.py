"""Stores of every version: read as they are, migrated by who writes, or refused."""

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from redistill.console.exceptions import RefusedError
from redistill.llm import (
    answers,
    attempt_row,
    lost_store,
    overrun,
    response,
    store,
    store_schema,
)
from tests.paid.test_kills import STRACE
from tests.paid.test_store import chat, put, request

FIRST = """
create table requests (key text primary key, request text not null);
create table attempts (
  id integer primary key, uid text not null unique, key text not null,
  stage text not null, round text not null, problem text not null, model text not null,
  started real not null, state text not null, outcome text, status integer, detail text,
  finish_reason text, returned_model text, body blob, checksum text,
  prompt_tokens integer not null, completion_tokens integer not null, nano integer,
  measured integer not null default 0, seconds real, retired integer not null default 0
);
create index attempts_by_key on attempts (key);
"""
BATCHES = """
create table batches (
  token text primary key, kind text not null, endpoint text not null, stage text not null,
  round text not null, {since} real not null, state text not null, file text, remote text,
  input real, output real
);
create table batched (attempt integer primary key, batch text not null);
create index batched_by_batch on batched (batch);
insert into batches values ('t', 'files', 'e', 'generate', 'r0', 7.0, 'made', null, null, 1, 2);
"""
LINES = "create table lines (attempt integer primary key, identity text not null);"
OLD = {
    "the first": FIRST,
    "with files": FIRST + BATCHES.format(since="made"),
    "with batches": FIRST + BATCHES.format(since="since"),
    "with lines": FIRST + BATCHES.format(since="since") + LINES,
}


def old(file: Path, schema: str, *bodies: bytes) -> None:
    """Write a store as an earlier version did, with an answer of each of *bodies*."""
    connection = sqlite3.connect(file)
    connection.execute("pragma journal_mode = wal")
    connection.executescript(schema)
    for number, body in enumerate(bodies):
        r = request(number)
        checksum = attempt_row.checksum(r.key, "answered", 200, body)
        connection.execute("insert into requests values (?, ?)", (r.key, r.canonical))
        connection.execute(
            "insert into attempts values (null, ?, ?, 'generate', 'r0', ?, 'm', 1.0, 'done', "
            "'answered', 200, '', 'stop', 'm', ?, ?, 3, 2, 50, 1, 0.1, 0)",
            (f"{number:032x}", r.key, r.problem, body, checksum),
        )
    connection.commit()
    connection.close()


def version(file: Path) -> int:
    connection = sqlite3.connect(file)
    found = connection.execute("pragma user_version").fetchone()[0]
    connection.close()
    return int(found)


@pytest.mark.parametrize("schema", OLD.values(), ids=OLD)
def test_an_earlier_store_is_read_as_it_is_and_migrated_by_who_writes(schema: str, tmp_path: Path):
    file = tmp_path / "s"
    old(file, schema, chat("a"), chat("b"))
    before = file.read_bytes()

    with store.reading(file) as known:
        answers, ledger = known.answers([request(0).key, request(1).key]), known.ledger()
    assert file.read_bytes() == before
    with store.writing(file) as writer:
        written = writer.ledger()
        batches = writer.rows("select since from batches", ())
    with store.reading(file) as known:
        after = known.answers([request(0).key, request(1).key])

    assert [row["calls"] for row in ledger] == [2]
    assert len(answers) == 2
    assert (ledger, answers) == (written, after)
    assert batches == ([(7.0,)] if "batches" in schema else [])
    assert version(file) == store_schema.VERSION


def test_what_was_billed_beside_the_limit_is_found_in_the_bodies_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    thought = {"reasoning_tokens": 900}
    usage = {"prompt_tokens": 3, "completion_tokens": 27, "completion_tokens_details": thought}
    body = chat("a", usage=usage)
    file = tmp_path / "s"
    old(file, OLD["with lines"], body, chat("b"))
    with store.reading(file) as known:
        assert overrun.most(known, ["m"]) == 927 - 5  # the limit
    with store.writing(file):
        pass

    def nothing(*_: object) -> None:
        raise AssertionError("a body is read again")

    monkeypatch.setattr(response, "read", nothing)
    with store.reading(file) as known:
        assert overrun.most(known, ["m", "n"]) == 927 - 5  # the limit
        assert overrun.most(known, ["n"]) == overrun.most(known, []) == 0


def test_what_is_no_answer_as_it_is_read_today_stays_as_it_was_and_is_asked_again(tmp_path: Path):
    file = tmp_path / "s"
    old(file, OLD["with lines"], b'{"error": {"message": "overloaded"}}', chat("b"))

    with store.writing(file) as writer:
        assert list(answers.renewed(writer, [request(0).key, request(1).key])) == [request(1).key]
        assert (writer.committed().calls, writer.committed().tokens) == (2, 10)
        assert list(writer.damaged()) == []


@pytest.mark.parametrize("price", [-10_000, "free", 0.5])
def test_a_price_that_is_none_is_unknown_after_the_migration(price: object, tmp_path: Path):
    file = tmp_path / "s"
    old(file, OLD["with lines"], chat("a"), chat("b"))
    connection = sqlite3.connect(file)
    connection.execute("update attempts set nano = ? where id = 1", (price,))
    connection.commit()
    connection.close()

    with store.writing(file) as writer:
        assert writer.rows("select nano from attempts order by id", ()) == [(None,), (50,)]


def test_a_migration_that_breaks_off_leaves_the_store_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    file = tmp_path / "s"
    old(file, OLD["with files"], chat("a"))

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(response, "read", killed)
        with pytest.raises(KeyboardInterrupt):
            store.Writer(file)

    assert version(file) == 0
    with store.writing(file) as writer:
        assert len(writer.answers([request(0).key])) == 1


MIGRATE = (
    "import sys; from pathlib import Path; from redistill.llm import store\n"
    "with store.writing(Path(sys.argv[1])): pass"
)


@STRACE
@pytest.mark.parametrize("fault", ["signal=KILL", "error=EIO"])
def test_whichever_write_of_a_migration_fails_no_answer_is_lost(fault: str, tmp_path: Path):
    points = 0
    for k in range(1, 200, 3):
        file = tmp_path / f"{k}/s"
        file.parent.mkdir()
        old(file, OLD["with files"], *(chat(f"{n}" * 3000) for n in range(4)))
        inject = f"inject=pwrite64:{fault}:when={k}"
        traced = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=pwrite64", "-e", inject]
        words = [sys.executable, "-c", MIGRATE, str(file)]
        ended = subprocess.run([*traced, *words], capture_output=True, timeout=60).returncode
        if ended == 0:
            break
        points += 1
        assert version(file) in (0, store_schema.VERSION)
        for opened in (store.reading, store.writing):
            with opened(file) as known:
                assert len(known.answers(request(n).key for n in range(4))) == 4
    assert points >= 3


def test_a_store_of_a_later_version_is_refused_and_left_alone(tmp_path: Path):
    file = tmp_path / "s"
    put(file, 1, chat("a"))
    connection = sqlite3.connect(file)
    connection.execute(f"pragma user_version = {store_schema.VERSION + 1}")
    connection.close()
    before = file.read_bytes()

    for opened in (store.reading, store.writing):
        with (
            pytest.raises(RefusedError, match="later version of redistill") as refusal,
            opened(file),
        ):
            pass
        assert refusal.value.code == 65
    assert file.read_bytes() == before


@pytest.mark.parametrize("number", [0, 1, 7])
def test_a_database_of_another_program_is_refused_and_left_alone(number: int, tmp_path: Path):
    file = tmp_path / "s"
    connection = sqlite3.connect(file)
    connection.execute("create table requests (url text)")
    connection.execute(f"pragma user_version = {number}")
    connection.close()
    before = file.read_bytes()

    for opened in (store.reading, store.writing):
        with pytest.raises(RefusedError, match="not a record store") as refusal, opened(file):
            pass
        assert refusal.value.code == 65
    assert file.read_bytes() == before


def test_an_empty_file_is_refused(tmp_path: Path):
    file = tmp_path / "s"
    file.touch()

    for opened in (store.reading, store.writing):
        with pytest.raises(RefusedError, match="0 bytes") as refusal, opened(file):
            pass
        assert refusal.value.code == 65


def test_a_run_that_ends_while_it_makes_a_store_leaves_no_empty_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(store_schema, "create", killed)
        with pytest.raises(KeyboardInterrupt):
            store.Writer(tmp_path / "s")

    assert not (tmp_path / "s").exists()
    put(tmp_path / "s", 1, chat("a"))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["s", "s.lock"]


def test_a_run_that_ended_before_its_tables_were_there_is_no_harm(tmp_path: Path):
    file = tmp_path / "s"
    connection = sqlite3.connect(file)
    connection.execute("pragma journal_mode = wal")
    connection.close()
    assert file.stat().st_size > 0

    put(file, 1, chat("a"))
    assert version(file) == store_schema.VERSION


LOCK = {
    "schema": "2.0",
    "stages": {
        "prepare": {"cmd": "x"},
        "generate": {"params": {"params.yaml": {"teach.teacher": "openai", "seed": 1}}},
        "refine@r1": {"params": {"params.yaml": {"teach.refiner": "openai"}}},
        "refine@r2": {"params": {"params.yaml": {"teach.refiner": "tutor"}}},
    },
}


def test_stages_that_were_paid_for_are_named_where_their_store_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    lost_store.tell(tmp_path / "s", "openai")
    assert capsys.readouterr().err == ""

    Path("dvc.lock").write_text(json.dumps(LOCK))
    lost_store.tell(tmp_path / "s", "openai")
    said = capsys.readouterr().err
    assert "paid for in generate, refine@r1: " in said
    assert "REDISTILL_STORE" in said

    put(tmp_path / "s", 1)
    lost_store.tell(tmp_path / "s", "openai")
    lost_store.tell(tmp_path / "t", "replay")
    assert capsys.readouterr().err == ""


def test_a_damaged_lock_file_is_refused_by_name(tmp_path: Path):
    (tmp_path / "dvc.lock").write_text("stages: [\n")

    with pytest.raises(RefusedError, match=r"dvc\.lock: damaged"):
        lost_store.paid_stages(tmp_path / "dvc.lock", "openai")
