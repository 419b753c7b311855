"""Several draws in one call: each choice is an answer of its own, and the prompt is paid once."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from redistill.llm import choices, store
from redistill.llm.endpoint import Raw
from redistill.llm.request import Request
from tests.paid.run import Run, solution
from tests.paid.server import Action, Script, Server, content, status

Serve = Callable[[Script], Server]
TOGETHER = {"teach": {"draws": 4, "attempts": 1}, "openai": {"together": True}}


def several(most: int = 99) -> Script:
    """A server that gives as many choices as asked for, up to *most*, each with its own mark."""

    def script(number: int, request: dict[str, Any]) -> Action:
        text = solution(request["messages"][-1]["content"])
        count = min(request.get("n", 1), most)
        counted = {"prompt_tokens": 10, "completion_tokens": 5 * count + 1}
        body = content(text, usage=counted)
        first = body["choices"][0]
        body["choices"] = [
            {**first, "index": n, "message": {"content": f"{number}.{n} {text}"}}
            for n in range(count)
        ]  # fmt: skip
        return status(200, body)

    return script


def ledger(run: Run) -> dict[str, dict[str, Any]]:
    return {row["outcome"]: row for row in json.loads(run.redistill("ledger", "--json"))}


def test_all_draws_of_a_prompt_come_from_one_call_and_are_stored_one_by_one(
    serve: Serve, tmp_path: Path
):
    server = serve(several())
    run = Run(tmp_path, server.url, 3, **TOGETHER)

    run.stage("generate")
    run.settings["openai"]["together"] = False
    run.save()
    run.stage("generate")

    assert [call["n"] for call in server.calls] == [4, 4, 4]
    row = ledger(run)["answered"]
    assert (row["calls"], row["prompt_tokens"], row["completion_tokens"]) == (12, 30, 63)
    assert row["measured"] == 12


def test_the_intents_of_all_draws_are_on_disk_before_the_call(serve: Serve, tmp_path: Path):
    seen: list[int] = []

    def script(number: int, request: dict[str, Any]) -> Action:
        with store.reading(tmp_path / "store.sqlite") as known:
            seen.append(sum(row["state"] == "open" for row in known.export()))
        return several()(number, request)

    run = Run(tmp_path, serve(script).url, 2, **TOGETHER)

    run.stage("generate", REDISTILL_CONCURRENCY="1")

    assert seen == [4, 4]


def test_draws_that_a_server_does_not_give_are_asked_for_again(serve: Serve, tmp_path: Path):
    server = serve(several(most=2))
    run = Run(tmp_path, server.url, 2, teach={"draws": 5, "attempts": 1}, openai={"together": True})

    run.stage("generate", REDISTILL_CONCURRENCY="1", REDISTILL_ATTEMPTS="1")

    assert [call.get("n", 1) for call in server.calls] == [5, 3, 1] * 2
    found = ledger(run)
    assert found["answered"]["calls"] == 10
    assert found["unserved"]["prompt_tokens"] + found["unserved"]["completion_tokens"] == 0


def test_only_missing_draws_are_asked_for(serve: Serve, tmp_path: Path):
    server = serve(several())
    run = Run(tmp_path, server.url, 2, teach={"draws": 1, "attempts": 1}, openai={"together": True})
    run.stage("generate")
    run.settings["teach"]["draws"] = 4
    run.save()

    run.stage("generate")

    assert [call.get("n") for call in server.calls] == [None, None, 3, 3]


def test_the_budget_holds_all_draws_of_a_call_before_it_is_made(serve: Serve, tmp_path: Path):
    server = serve(several())
    limits = {"calls": 7, "tokens": None, "cost": None}
    run = Run(tmp_path, server.url, 3, spending={"budget": limits}, **TOGETHER)

    run.stage("generate", code=3, REDISTILL_CONCURRENCY="3")

    assert len(server.calls) == 1


def test_a_call_that_fails_fails_for_all_its_draws_and_counts_as_one(serve: Serve, tmp_path: Path):
    def script(number: int, request: dict[str, Any]) -> Action:
        return status(500, {}) if number == 0 else several()(number, request)

    server = serve(script)
    run = Run(tmp_path, server.url, 1, **TOGETHER)

    run.stage("generate")

    assert {name: row["calls"] for name, row in ledger(run).items()} == {
        "answered": 4, "server_error": 4
    }  # fmt: skip


def test_a_seed_and_one_call_for_all_draws_do_not_go_together(serve: Serve, tmp_path: Path):
    server = serve(several())
    run = Run(tmp_path, server.url, 1, openai={"together": True, "seed": 1})

    assert "openai.together" in run.stage("generate", code=78)
    assert server.calls == []


def test_requests_that_differ_in_more_than_the_draw_are_calls_of_their_own():
    def call(text: str, draw: int) -> Request:
        return Request("e", "m", [{"role": "user", "content": text}], {}, draw, text)

    groups = choices.together([call("a", 0), call("b", 0), call("a", 1)])

    assert [[r.draw for r in group] for group in groups] == [[0, 1], [0]]
    assert choices.as_one(groups[0]).content["n"] == 2
    assert "n" not in choices.as_one(groups[1]).content


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_shares_of_the_tokens_add_up_with_what_is_hidden(count: int):
    usage = {"prompt_tokens": 7, "completion_tokens": 8, "total_tokens": 26}
    body = content("x", usage=usage)
    body["choices"] *= count

    found = choices.divided(Raw(200, json.dumps(body).encode()), count)

    shares = [json.loads(raw.body)["usage"] for raw in found if raw]
    assert sum(share["prompt_tokens"] for share in shares) == 7
    assert sum(share["completion_tokens"] for share in shares) == 8
    assert sum(share["total_tokens"] for share in shares) == 26


@pytest.mark.parametrize(
    "body", [b"<html>", b"{}", b'{"choices": []}', b'{"error": "x", "choices": [1]}']
)
def test_what_is_no_answer_is_the_same_for_every_draw(body: bytes):
    assert choices.divided(Raw(200, body), 2) == [Raw(200, body)] * 2


def test_one_answer_is_not_touched():
    raw = Raw(200, json.dumps(content("x")).encode())

    assert choices.divided(raw, 1) == [raw]
