"""An export has the batches at work with it: a store made of one buys nothing twice."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from redistill.llm import store
from redistill.records import jsonl
from tests.paid.batch_server import BatchServer
from tests.paid.run import Run, solving
from tests.paid.server import Server

API = {"REDISTILL_BATCH": "api", "REDISTILL_BATCH_SETTLED": "0.1"}


@pytest.fixture
def server() -> Iterator[BatchServer]:
    started = BatchServer(takes=0.0)
    yield started
    started.close()


def moved(run: Run) -> str:
    """Export the store of *run*, lose it, and make it again from the export."""
    run.redistill("store", "export", "export.jsonl")
    for file in run.root.glob("store.sqlite*"):
        file.unlink()
    return run.redistill("store", "import", "export.jsonl")


def test_a_store_made_of_an_export_fetches_the_batch_at_work(server: BatchServer, tmp_path: Path):
    run = Run(tmp_path, server.url, 4)
    run.stage("generate", code=4, **API)

    said = moved(run)
    run.stage("generate", **API)

    assert "4 calls added" in said
    assert len(server.batches) == 1
    assert len(run.out()) == 4
    (row,) = json.loads(run.redistill("ledger", "--json"))
    assert (row["outcome"], row["batched"]) == ("answered", 4)


def test_a_batch_that_was_ordered_after_the_export_is_looked_for(
    server: BatchServer, tmp_path: Path
):
    run = Run(tmp_path, server.url, 4)
    run.stage("generate", code=4, **API)
    with store.writing(tmp_path / "store.sqlite") as writer, writer.transaction() as connection:
        connection.execute("update batches set state = 'made', file = null, remote = null")

    moved(run)
    run.stage("generate", **API)

    assert len(server.batches) == 1


def test_what_has_ended_here_does_not_wait_again_and_what_ended_there_ends_here(
    server: BatchServer, tmp_path: Path
):
    run = Run(tmp_path, server.url, 4)
    run.stage("generate", code=4, **API)
    run.redistill("store", "export", "early.jsonl")
    run.stage("generate", **API)
    run.redistill("store", "export", "late.jsonl")

    assert "0 calls added" in run.redistill("store", "import", "early.jsonl")
    for file in run.root.glob("store.sqlite*"):
        file.unlink()
    run.redistill("store", "import", "early.jsonl")
    assert "4 calls added" in run.redistill("store", "import", "late.jsonl")

    with store.reading(tmp_path / "store.sqlite") as known:
        jsonl.write_rows(tmp_path / "copy.jsonl", known.export())
        states = known.rows("select state from batches", ())
    late = list(jsonl.read_rows(tmp_path / "late.jsonl", store.EXPORTED))
    copy = list(jsonl.read_rows(tmp_path / "copy.jsonl", store.EXPORTED))
    assert [row | {"batch": None} for row in late] == [row | {"batch": None} for row in copy]
    assert states == [("ordered",)]
    run.stage("generate", **API)
    assert len(server.batches) == 1


def test_a_call_under_way_is_left_out_and_told_of(server: BatchServer, tmp_path: Path):
    run = Run(tmp_path, server.url, 4)
    run.stage("generate", code=4, **API)
    run.redistill("store", "export", "export.jsonl")
    rows = list(jsonl.read_rows(tmp_path / "export.jsonl", store.EXPORTED))
    rows[0] |= {"state": "open", "batch": None}
    jsonl.write_rows(tmp_path / "export.jsonl", rows)

    said = run.redistill(
        "store", "import", "export.jsonl", REDISTILL_STORE=str(tmp_path / "another.sqlite")
    )

    assert "3 calls added" in said
    assert "1 calls left out that were under way" in said


def test_an_export_of_an_earlier_version_which_knew_no_batches_is_taken(tmp_path: Path):
    server = Server(solving())
    run = Run(tmp_path, server.url, 2)
    run.stage("generate")
    server.close()
    run.redistill("store", "export", "export.jsonl")
    rows = [
        {name: value for name, value in row.items() if name not in ("line", "batch")}
        for row in jsonl.read_rows(tmp_path / "export.jsonl", store.EXPORTED)
    ]
    jsonl.write_rows(tmp_path / "old.jsonl", rows)
    for file in run.root.glob("store.sqlite*"):
        file.unlink()

    assert "2 calls added" in run.redistill("store", "import", "old.jsonl")
    run.stage("generate")  # the server is gone: nothing is asked
