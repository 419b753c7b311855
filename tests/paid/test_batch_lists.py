"""A server's list of batches: only what was read to its end says that a batch is not there."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from redistill.console.exceptions import RefusedError
from redistill.llm import anthropic_batches, batch_list, budget
from redistill.llm.batch_records import Batch
from redistill.llm.batch_service import DAY
from redistill.llm.endpoint import Policy, Raw
from redistill.llm.openai_batches import Service
from tests.paid.batch_server import BatchServer
from tests.paid.run import Run

NOW = 1_800_000_000.0
PRICES = budget.Prices(input=None, output=None, batch=None)
BATCH = Batch(
    "token", "api", "https://example.org", "generate", "r0", NOW, "ordering", "file-1", None, PRICES
)
OWN = {"id": "batch_7", "metadata": {"redistill": "token"}, "created_at": NOW}


def other(number: int, age: float = 0.0) -> dict[str, Any]:
    """A batch that is not ours, *age* days old."""
    return {"id": f"o-{number}", "created_at": NOW - age * DAY, "metadata": {"a": "b"}}


def page(*rows: object, more: object = False) -> dict[str, Any]:
    return {"data": list(rows), "has_more": more}


class Pages:
    """Answers with one page after the other, whatever is asked."""

    def __init__(self, pages: Sequence[object]) -> None:
        self.pages = [json.dumps(content).encode() for content in pages]
        self.paths: list[str] = []

    async def get(self, path: str) -> Raw:
        self.paths.append(path)
        return Raw(200, self.pages[min(len(self.paths), len(self.pages)) - 1])


def find(*pages: object, batch: Batch = BATCH) -> object:
    async def found() -> object:
        service = Service(Pages(pages), Policy(attempts=1), asyncio.Event())  # type: ignore[arg-type]
        return await service.find(batch, (), ())

    return asyncio.run(found())


@pytest.mark.parametrize(
    "pages",
    [
        [page(OWN)],
        [page(other(1), more=True), page(other(2), OWN)],
        [page(other(1) | {"metadata": ["x"]}, OWN)],
        [page({"id": "batch_7", "input_file_id": "file-1", "metadata": ["x"]})],
        [{"data": [other(1)]}, {"data": [OWN]}],
        [page(other(1, age=10), more=True), page(OWN)],
        [page(other(1, age=9), other(2, age=8), more=True), page(OWN)],
        [page(other(1) | {"created_at": None}, other(2, age=9), more=True), page(OWN)],
    ],
)
def test_a_batch_is_found_wherever_it_stands(pages: list[object]):
    assert find(*pages) == "batch_7"


@pytest.mark.parametrize(
    "pages",
    [
        [page()],
        [page(other(1))],
        [page(other(1), more=True), page(other(2))],
        [{"data": [other(1)]}, {"data": []}],
        [page(other(1), other(2, age=2), more=True), page(other(3, age=3), more=True)],
    ],
)
def test_a_batch_that_a_list_read_to_its_end_lacks_is_not_there(pages: list[object]):
    assert find(*pages) is None


@pytest.mark.parametrize(
    ("pages", "fault"),
    [
        ([{}], "no list of batches"),
        ([{"data": {"a": 1}, "has_more": False}], "no list of batches"),
        ([{"data": None, "has_more": False}], "no list of batches"),
        ([page("batch_7")], "no list of batches"),
        ([page({**OWN, "id": None})], "has the id None"),
        ([page({**OWN, "id": "../files"})], "has the id '../files'"),
        ([page({"created_at": NOW}, more=True)], "has the id None"),
        ([page(more=True)], "has_more True"),
        ([page(other(1), more="yes")], "has_more 'yes'"),
        ([{"data": [other(1)]}], "is the page before"),
        ([page(other(1), more=True)], "is the page before"),
    ],
)
def test_a_list_that_cannot_be_read_is_refused_with_the_way_out(pages: list[object], fault: str):
    with pytest.raises(RefusedError, match="redistill store abandon") as refused:
        find(*pages)

    assert fault in str(refused.value)
    assert refused.value.code == 75


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"data": {"a": 1}, "has_more": False},
        {"data": [{"id": "m", "created_at": "2027-01-02T00:00:00Z", "processing_status": "x"}]},
    ],
)
def test_a_list_of_anthropics_that_cannot_be_read_is_refused(content: dict[str, Any]):
    batch = replace(BATCH, kind="anthropic", file="2027-01-01T00:00:00+00:00")

    async def found() -> object:
        pages = Pages([content])
        service = anthropic_batches.Service(pages, Policy(attempts=1), asyncio.Event())  # type: ignore[arg-type]
        return await service.find(batch, (), ())

    with pytest.raises(RefusedError) as refused:
        asyncio.run(found())

    assert refused.value.code == 75


def test_a_list_that_has_no_end_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(batch_list, "PAGES", 3)

    with pytest.raises(RefusedError, match="more than 3 pages"):
        find(*(page(other(n), more=True) for n in range(9)))


def test_a_batch_without_a_file_is_not_taken_for_one_without_a_file():
    assert find(page({"id": "x", "input_file_id": None}), batch=replace(BATCH, file=None)) is None


def test_a_list_that_cannot_be_read_leads_to_no_second_order(tmp_path: Path):
    server = BatchServer()
    server.breaks["after POST /batches"] = lambda: 502
    server.lists = lambda rows: {"data": {str(n): row for n, row in enumerate(rows["data"])}}
    run = Run(tmp_path, server.url, 3)
    api = {"REDISTILL_BATCH": "api", "REDISTILL_BATCH_SETTLED": "0.1"}

    said = run.stage("generate", code=75, **api)
    run.stage("generate", code=75, **api)

    assert "redistill store abandon" in said
    assert len(server.batches) == 1
    server.close()
