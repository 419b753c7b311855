"""Refusals of stores, batches and endpoints that no other test comes by."""

import asyncio
import copy
import os
import signal
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from redistill.console.exceptions import CONFIG, DATA, IO, PERMISSION, TRY_AGAIN, RefusedError
from redistill.llm import (
    anthropic_batches,
    batch_orders,
    client,
    exported_row,
    openai_batches,
    store,
    store_import,
)
from redistill.llm.client import Occasion
from redistill.llm.endpoint import Policy, Raw
from redistill.rationales.teacher import Sitting
from redistill.records.types import Problem
from redistill.teachers import openai
from tests.paid import test_calling as calling
from tests.paid.batch_server import BatchServer, Ending, wrong
from tests.paid.server import always, answer, in_turn
from tests.paid.test_batch_lists import BATCH as LISTED
from tests.paid.test_batch_lists import Pages, page
from tests.paid.test_calling import FREE, Serve, request, settings
from tests.paid.test_store import BATCH, chat, put
from tests.paid.test_store import request as stored
from tests.paid.test_store_place import found, git, repository

ONCE = Policy(attempts=1, deadline=5.0)


def refused(call: Callable[[], object], told: str, code: int = DATA) -> None:
    """Hold *call* to a refusal that tells *told* and ends in *code*."""
    with pytest.raises(RefusedError) as refusal:
        call()
    assert told in str(refusal.value)
    assert refusal.value.code == code


class Answers(Pages):
    """Answers with one page after the other, whatever is asked, uploaded or ordered."""

    async def get(self, path: str, **_: object) -> Raw:
        return await super().get(path)

    async def upload(self, *_: object, **__: object) -> Raw:
        return await self.get("/files")


# Batches by Anthropic's interface

OTHER = {"id": "msgbatch_1", "created_at": "2027-01-02T00:00:00Z", "processing_status": "ended"}


def find(*pages: object) -> Callable[[], object]:
    """Look for a lost order in a list of *pages*, the last of which comes again and again."""
    batch = replace(LISTED, kind="anthropic", file="2027-01-01T00:00:00+00:00")

    async def call() -> object:
        service = anthropic_batches.Service(Answers(pages), ONCE, asyncio.Event())  # type: ignore[arg-type]
        return await service.find(batch, ["a-key"], ())

    return lambda: asyncio.run(call())


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        (OTHER | {"created_at": "soon"}, "it has no time"),
        (OTHER | {"results_url": None}, "its results are not there, or no longer"),
        (OTHER | {"results_url": "https://a.example.org/r"}, "its results name no request"),
    ],
)
def test_a_batch_that_may_be_a_lost_order_and_does_not_tell_is_refused_with_the_way_out(
    row: dict[str, Any], fault: str
):
    told = f"the server's batch msgbatch_1: {fault}; dvc repro tries again, and redistill store"

    refused(find(page(row), {"no": "result"}), told, code=TRY_AGAIN)


def test_a_list_of_anthropics_without_an_end_is_not_read_for_ever(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(anthropic_batches, "PAGES", 3)
    told = "finding out whether token was ordered: the server's list has no end"

    refused(find(page(OTHER | {"processing_status": "x"}, more=True)), told, code=TRY_AGAIN)


# Batches by the other interface


def asked(
    of: Callable[[openai_batches.Service], Coroutine[Any, Any, object]], answered: object
) -> Callable[[], object]:
    async def call() -> object:
        return await of(openai_batches.Service(Answers([answered]), ONCE, asyncio.Event()))  # type: ignore[arg-type]

    return lambda: asyncio.run(call())


def test_an_upload_that_is_answered_without_an_id_is_no_file_to_order():
    told = "uploading a batch: the answer has no id"

    refused(asked(lambda s: s.prepare(LISTED, [request()]), {"id": "../x"}), told, code=TRY_AGAIN)


def test_a_batch_of_which_a_server_tells_a_list_is_refused():
    told = "the server's batch interface answers with no object"

    refused(asked(lambda s: s.look(replace(LISTED, remote="b")), []), told, code=TRY_AGAIN)


def ordered(server: BatchServer, file: Path) -> object:
    """Have *server* answer a request in a batch."""
    asks = replace(request(), endpoint=server.url)
    occasion = Occasion("generate", "r0")
    return batch_orders.ask(
        [asks], "api", lambda kind: kind(server.url, ""), FREE, ONCE, occasion, file
    )


def test_a_run_that_is_stopped_while_an_order_is_in_doubt_leaves_it_in_doubt(
    store_of_its_own: Path,
):
    server = BatchServer(takes=60)
    server.breaks["after POST /batches"] = lambda: 502
    server.breaks["GET /batches"] = lambda: os.kill(os.getpid(), signal.SIGTERM)
    server.lists = lambda rows: page()

    with pytest.raises(RefusedError, match="stopped by SIGTERM") as refusal:
        ordered(server, store_of_its_own)

    server.close()
    assert refusal.value.code == 143
    assert "stopped before it was known whether the batch" in str(refusal.value.__cause__)
    with store.reading(store_of_its_own) as known:
        assert [row["batched"] for row in known.ledger()] == [1]


def test_a_batch_whose_requests_are_refused_for_their_key_ends_the_run(
    store_of_its_own: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("REDISTILL_BATCH_WAIT", "0.01")
    server = BatchServer(
        lambda number, lines: Ending(errors=[wrong(line, 401, "no such key") for line in lines])
    )

    refused(
        lambda: ordered(server, store_of_its_own),
        "stopped: the batch batch_0: no_permission: HTTP 401: no such key",
        code=PERMISSION,
    )
    server.close()
    assert len(server.batches) == 1


# Single calls


def test_a_store_that_grows_no_more_ends_the_run_and_keeps_what_was_answered(serve: Serve):
    server, file = serve(in_turn(answer(), answer(text="x" * 900_000))), store.path()
    sender = openai.Sender(settings(server), "")

    def ask() -> object:
        with store.writing(file) as writer:
            with writer.transaction() as connection:
                (pages,) = connection.execute("pragma page_count").fetchone()
                connection.execute(f"pragma max_page_count = {pages + 100}")
            occasion = Occasion("generate", "r0")
            return client.ask([request(1)], sender, writer, FREE, ONCE, occasion)

    calling.ask(server, [request()])
    told = f"{file}: cannot be written: database or disk is full; nothing more is asked. Make room"
    refused(ask, told, code=IO)
    calling.ask(server, [request()])
    assert len(server.calls) == 2


def test_a_teacher_that_costs_money_is_not_asked_without_a_budget(serve: Serve):
    server = serve(always(answer()))
    sitting = Sitting("generate", "r0", "math", range(1))
    problem = Problem(id="p1", question="How many?", answer="7", source="here")

    refused(
        lambda: openai.explain([problem], settings(server), sitting),
        "params.yaml: the teacher needs a section 'spending'",
        code=CONFIG,
    )
    assert server.calls == []


# The store: what is brought into it, and where it lies


def test_a_batch_that_is_here_as_that_of_another_round_is_not_imported(tmp_path: Path):
    put(tmp_path / "s", 4, chat("waits"))
    with store.reading(tmp_path / "s") as known:
        (row,) = [dict(found) for found in known.export()]
    row |= dict.fromkeys(exported_row.BARE) | {"state": "batched", "measured": 0}
    row |= {"prompt_tokens": stored(4).max_input, "completion_tokens": 5}
    row["batch"] = BATCH | {"endpoint": stored(4).endpoint}
    other = copy.deepcopy(row) | {"round": "r1"}
    other["batch"]["round"] = "r1"

    with store.writing(tmp_path / "t") as writer:
        store_import.merge(writer, [row])
        refused(
            lambda: store_import.merge(writer, [other]),
            "row 1 of the export: not of a store: batch.round: the batch is here, with 'r0'; "
            "nothing is imported",
        )


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A main checkout beside what a test makes of it; no store is named."""
    monkeypatch.delenv("REDISTILL_STORE")
    return repository(tmp_path / "main")


def test_a_checkout_whose_link_to_git_cannot_be_read_says_which_link(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
):
    git(checkout, "worktree", "add", "-q", "../tree", "-b", "other")
    link = checkout.parent / "tree/.git"
    link.write_bytes(b"gitdir: \xff\n")

    refused(lambda: found(link.parent, monkeypatch), f"{link} cannot be read: ", code=CONFIG)


def test_a_worktree_whose_repository_was_moved_says_where_it_was(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
):
    git(checkout, "worktree", "add", "-q", "../tree", "-b", "other")
    (checkout / ".git/worktrees/tree/commondir").write_text("/nowhere/.git\n")

    told = "it is of /nowhere/.git, which is not there; git worktree repair mends moved checkouts"
    refused(lambda: found(checkout.parent / "tree", monkeypatch), told, code=CONFIG)


def test_a_copy_of_an_experiment_whose_project_left_git_says_which_project(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
):
    copied = repository(checkout / ".dvc/tmp/exps/tmp1")
    (checkout / ".git").rename(checkout / "git")

    told = f"{checkout}, which it was copied from, is no checkout of git any more"
    refused(lambda: found(copied, monkeypatch), told, code=CONFIG)
