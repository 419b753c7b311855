"""Batches by Anthropic's interface: the same requests and answers, each bought once."""

import importlib.util
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from redistill.llm import purchase, store
from tests.imports import ROOT
from tests.paid.anthropic_server import (
    MessageServer,
    Results,
    all_right,
    errored,
    succeeded,
    unserved,
)
from tests.paid.batch_server import Line
from tests.paid.run import VARIABLE, Run
from tests.paid.test_batches import PRICES, kills, once, outcomes

FOUND = importlib.util.find_spec("anthropic")
SDK = str(Path(FOUND.origin).parent.parent) if FOUND and FOUND.origin else ""
API = {
    "REDISTILL_BATCH": "anthropic",
    "REDISTILL_BATCH_SETTLED": "0.3",
    "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), SDK))),
}
WAIT = API | {"REDISTILL_BATCH_WAIT": "0.05"}
Start = Callable[..., MessageServer]
needs_sdk = pytest.mark.skipif(not SDK, reason="needs the SDK: pip install 'redistill[anthropic]'")


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[MessageServer] = []

    def new(script: Results = all_right, **more: float) -> MessageServer:
        started.append(MessageServer(script, **more))
        return started[-1]

    yield new
    for server in started:
        server.close()


@needs_sdk
def test_a_stage_orders_a_batch_and_the_next_run_fetches_the_answers(start: Start, tmp_path: Path):
    server = start(takes=600)
    run = Run(
        tmp_path, server.url, 9, spending={"prices": PRICES},
        openai={"key": VARIABLE, "system": "Be brief.", "body": {"max_tokens": 50, "stop": "END"}},
    )  # fmt: skip
    env = API | {VARIABLE: "a-key-of-some-length"}

    ordered = run.stage("generate", code=4, **env)
    waiting = run.stage("generate", code=4, **env)
    server.batches["msgbatch_0"]["ready"] = 0.0
    run.stage("generate", **env)
    run.stage("generate", **env)

    assert "r0: 9 requests wait in batches at work: msgbatch_0 (ordered); run dvc" in ordered
    assert "msgbatch_0 (in_progress, 0 of 9)" in waiting
    assert len(run.out()) == 9
    once(server, 9)
    (row,) = json.loads(run.redistill("ledger", "--json"))
    assert (row["outcome"], row["calls"], row["batched"]) == ("answered", 9, 9)
    assert row["nano"] == 9 * (1000 * (10 * 1.0 + 5 * 2.0)) / 2
    (headers,) = server.seen
    assert "a-key-of-some-length" in headers["authorization"]
    asked = server.batches["msgbatch_0"]["lines"][0]["params"]
    assert (asked["system"], asked["stop_sequences"]) == ("Be brief.", ["END"])
    assert [turn["role"] for turn in asked["messages"]] == ["user"]


@pytest.mark.slow
@needs_sdk
def test_an_answer_is_that_of_the_live_call_and_the_original_is_kept(start: Start, tmp_path: Path):
    server = start()
    run = Run(tmp_path, server.url, 2)

    run.stage("generate", **WAIT)
    calls = len(server.calls)
    run.stage("generate")

    assert len(server.calls) == calls
    with store.reading(run.root / "store.sqlite") as known:
        bodies = [json.loads(answer.body) for _, _, answer in known.of_problems("r0")]
    assert {body["object"] for body in bodies} == {"chat.completion"}
    assert {body["anthropic"]["type"] for body in bodies} == {"message"}


@pytest.mark.slow
@needs_sdk
def test_a_temperature_is_asked_for_in_a_version_of_the_interface_that_has_one(
    start: Start, tmp_path: Path
):
    server = start()
    run = Run(tmp_path, server.url, 2, openai={"body": {"max_tokens": 50, "temperature": 0.7}})

    run.stage("generate", **WAIT)

    once(server, 2)
    assert server.batches["msgbatch_0"]["lines"][0]["params"]["temperature"] == 0.7
    assert server.seen[0]["anthropic-version"] == "2023-06-01"


def partly(number: int, lines: list[Line]) -> list[Line]:
    """The first batch is answered in part, with a line twice and one line missing."""
    if number:
        return all_right(number, lines)
    first, second, third, fourth, fifth, *others = lines
    return [
        *(succeeded(first), succeeded(first), errored(second, "overloaded_error")),
        *(errored(third, "invalid_request_error"), unserved(fourth), unserved(fifth, "canceled")),
        *(succeeded(line) for line in others[1:]),
    ]


@pytest.mark.slow
@needs_sdk
def test_what_ended_without_an_answer_is_taken_as_far_as_it_goes_and_asked_again(
    start: Start, tmp_path: Path
):
    server = start(partly)
    run = Run(tmp_path, server.url, 8)

    said = run.stage("generate", **WAIT)

    once(server, 8)
    assert [len(batch["lines"]) for batch in server.batches.values()] == [8, 5]
    assert "repeated answers of msgbatch_0, counted once: 1" in said
    assert "requests without a line in msgbatch_0, which ended as ended: 1" in said
    assert outcomes(run) == {
        "answered": 8, "server_error": 1, "bad_request": 1, "unserved": 2, "lost": 1,
    }  # fmt: skip


@pytest.mark.slow
@needs_sdk
def test_requests_that_the_server_calls_malformed_stop_the_run(start: Start, tmp_path: Path):
    server = start(lambda n, lines: [errored(x, "invalid_request_error", "no such") for x in lines])
    run = Run(tmp_path, server.url, 6)

    said = run.stage("generate", code=78, **WAIT)

    assert "refused all 6 requests of the batch msgbatch_0 as malformed" in said
    assert "invalid_request_error: no such" in said
    assert len(server.batches) == 1


@pytest.mark.slow
@needs_sdk
def test_a_batch_that_is_cancelled_at_the_server_costs_nothing_and_is_asked_again(
    start: Start, tmp_path: Path
):
    server = start(takes=30)
    run = Run(tmp_path, server.url, 3)
    run.stage("generate", code=4, **API)
    server.cancel("msgbatch_0")
    server.takes = 0

    run.stage("generate", **WAIT)

    once(server, 3)
    assert outcomes(run) == {"answered": 3, "unserved": 3}
    with store.reading(run.root / "store.sqlite") as known:
        assert known.committed().tokens == server.tokens


@pytest.mark.slow
@needs_sdk
@pytest.mark.parametrize(
    ("call", "status", "code"),
    [
        ("POST /messages/batches", 401, 77),
        ("POST /messages/batches", 413, 78),
        ("POST /messages/batches", 429, 75),
        ("GET /messages/batches", 404, 78),
    ],
)
def test_an_order_that_is_refused_is_taken_back_and_holds_no_budget(
    call: str, status: int, code: int, start: Start, tmp_path: Path
):
    server = start()
    server.breaks[call] = lambda: status
    run = Run(tmp_path, server.url, 3)

    said = run.stage("generate", code=code, **API, REDISTILL_ATTEMPTS="2")

    assert "Traceback" not in said
    with store.reading(run.root / "store.sqlite") as known:
        assert known.committed().calls == 0
    server.breaks.clear()
    run.stage("generate", **WAIT)
    once(server, 3)


@pytest.mark.slow
@needs_sdk
def test_orders_whose_answers_were_lost_are_found_again_by_what_is_in_them(
    start: Start, tmp_path: Path
):
    server = start(takes=0.1)
    server.breaks["after POST /messages/batches"] = lambda: 529
    run = Run(tmp_path, server.url, 40)

    run.stage("generate", **WAIT, REDISTILL_BATCH_LINES="2")

    assert len(server.batches) == 20
    once(server, 40)


@pytest.mark.slow
@needs_sdk
def test_nothing_is_ordered_again_while_an_unknown_batch_may_be_the_lost_order(
    start: Start, tmp_path: Path
):
    server = start(takes=30)
    server.breaks["after POST /messages/batches"] = lambda: 502
    run = Run(tmp_path, server.url, 3)

    for _ in range(2):
        said = run.stage("generate", code=4, **API)
        assert "(perhaps ordered: known once msgbatch_0 has ended)" in said
    server.batches["msgbatch_0"]["ready"] = 0.0
    run.stage("generate", **API)

    assert len(server.batches) == 1
    once(server, 3)


@pytest.mark.slow
@needs_sdk
def test_batches_of_others_are_not_taken_for_a_lost_order(start: Start, tmp_path: Path):
    server = start()
    before, run = server.foreign(3, takes=30), Run(tmp_path, server.url, 3)
    server.batches[before]["created"] = server.batches[before]["created"].replace(year=2024)
    server.breaks["POST /messages/batches"] = lambda: server.foreign(3, takes=0.0) and 503
    run.stage("generate", code=75, **API)
    server.breaks["POST /messages/batches"] = lambda: server.foreign(4, takes=30) and 503
    run.stage("generate", code=75, **API)
    server.breaks["POST /messages/batches"] = lambda: server.foreign(3, takes=30) and 503
    said = run.stage("generate", code=4, **API)
    server.breaks.clear()
    server.batches["msgbatch_3"]["ready"] = 0.0
    run.stage("generate", **WAIT)

    assert "(perhaps ordered: known once msgbatch_3 has ended)" in said

    assert f"GET /messages/batches/{before}/results" not in server.calls
    assert server.calls.count("GET /messages/batches/msgbatch_1/results") > 0
    once(server, 3)


@pytest.mark.slow
@needs_sdk
def test_an_order_of_what_an_earlier_batch_let_expire_is_not_taken_for_that(
    start: Start, tmp_path: Path
):
    server = start(lambda n, lines: all_right(n, lines) if n else [unserved(x) for x in lines])
    run = Run(tmp_path, server.url, 3)
    run.stage("generate", code=4, **API)
    server.breaks["after POST /messages/batches"] = lambda: 502

    run.stage("generate", **WAIT)

    assert len(server.batches) == 2
    once(server, 3)


@pytest.mark.slow
@needs_sdk
def test_a_batch_whose_results_are_gone_is_let_go_of_by_hand(start: Start, tmp_path: Path):
    server = start(takes=600)
    run = Run(tmp_path, server.url, 3)
    run.stage("generate", code=4, **API)
    server.batches["msgbatch_0"]["ready"] = server.takes = 0.0
    server.archived.add("msgbatch_0")

    said = run.stage("generate", code=75, **API)
    assert "msgbatch_0: its results are not there, or no longer" in said
    assert "redistill store abandon" in said
    run.redistill("store", "abandon", "msgbatch_0")
    run.stage("generate", **WAIT)

    assert len(server.batches) == 2
    assert outcomes(run) == {"answered": 3, "lost": 3}


@pytest.mark.slow
@needs_sdk
def test_nothing_is_asked_otherwise_while_it_waits_in_a_batch(start: Start, tmp_path: Path):
    server = start(takes=30)
    run = Run(tmp_path, server.url, 3)
    run.stage("generate", code=4, **API)

    for env in ({}, {"REDISTILL_BATCH": "api"}):
        said = run.stage("generate", code=4, **env)
        assert "msgbatch_0 (anthropic); set REDISTILL_BATCH=anthropic to have its answers" in said


@pytest.mark.slow
@needs_sdk
@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("seed", {"max_tokens": 50, "seed": 1}),
        ("max_tokens", {}),
        ("logit_bias", {"max_tokens": 50, "logit_bias": {"1": 2}}),
    ],
)
def test_what_a_message_cannot_say_is_refused_by_its_name_and_nothing_is_ordered(
    name: str, body: dict[str, Any], start: Start, tmp_path: Path
):
    server = start()
    seed = body.pop("seed", None)
    run = Run(tmp_path, server.url, 3, openai={"body": body, "seed": seed})

    said = run.stage("generate", code=78, **API, REDISTILL_BATCH_LINES="1")

    assert f"{name}: cannot be asked for in a batch of Anthropic's" in said
    assert not server.batches
    with store.reading(run.root / "store.sqlite") as known:
        assert known.committed().calls == 0


def test_without_the_sdk_a_stage_says_what_to_install_and_orders_nothing(
    start: Start, tmp_path: Path
):
    server = start()
    run = Run(tmp_path, server.url, 3)
    (tmp_path / "without").mkdir()
    absent = 'raise ModuleNotFoundError("No module named \'anthropic\'", name="anthropic")\n'
    (tmp_path / "without/anthropic.py").write_text(absent)
    env = API | {"PYTHONPATH": f"{tmp_path / 'without'}{os.pathsep}{ROOT}"}

    said = run.stage("generate", code=78, **env)

    assert "pip install 'redistill[anthropic]'" in said
    assert len(said.strip().splitlines()) == 1
    assert not server.calls


def test_their_own_host_has_batches_of_their_own(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("REDISTILL_BATCH", "api")

    assert purchase.manner_at("https://api.anthropic.com/v1") == "anthropic"
    assert purchase.manner_at("https://api.anthropic.com.example/v1") == "api"
    assert purchase.terms("anthropic").lines == 100_000
    monkeypatch.delenv("REDISTILL_BATCH")
    assert purchase.manner_at("https://api.anthropic.com/v1") is None


def hard(number: int, lines: list[Line]) -> list[Line]:
    """Every third batch is answered in part, with a line twice, and the rest expires."""
    if number % 3:
        return all_right(number, lines)
    first, *others = lines
    return [succeeded(first), succeeded(first), *(unserved(line) for line in others)]


@pytest.mark.slow
@needs_sdk
def test_twenty_kills_at_random_moments_never_buy_a_request_twice(start: Start, tmp_path: Path):
    figures = kills(start, tmp_path, 20, hard, WAIT)

    print(f"\nanthropic: {figures}")
    assert figures["kills"] == 20


@needs_sdk
@pytest.mark.slow
def test_a_hundred_kills_at_random_moments_never_buy_a_request_twice(start: Start, tmp_path: Path):
    figures = kills(start, tmp_path, 100, hard, WAIT)

    print(f"\nanthropic: {figures}")
    assert figures["kills"] == 100


@pytest.mark.slow
@needs_sdk
@pytest.mark.parametrize("number", range(8))
def test_a_kill_right_after_each_call_to_the_server_buys_nothing_twice(
    number: int, start: Start, tmp_path: Path
):
    server = start(takes=0.02)
    run = Run(tmp_path, server.url, 4)
    env = WAIT | {"REDISTILL_BATCH_LINES": "2"}
    process = run.start("generate", **env)
    while len(server.calls) <= number and process.poll() is None:
        time.sleep(0.0005)
    process.kill()
    process.communicate()

    run.stage("generate", **env)

    once(server, 4)
