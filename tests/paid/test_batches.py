"""Batches that a server answers: each request bought once, whatever happens on the way."""

import json
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from redistill.llm import store
from tests.paid.batch_server import (
    BatchServer,
    Ending,
    Line,
    Script,
    all_right,
    right,
    unserved,
    wrong,
)
from tests.paid.run import Run

API = {"REDISTILL_BATCH": "api", "REDISTILL_BATCH_SETTLED": "0.3"}
WAIT = API | {"REDISTILL_BATCH_WAIT": "0.05"}
PRICES = {"input": 1.0, "output": 2.0, "batch": 0.5}
Start = Callable[..., BatchServer]


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[BatchServer] = []

    def new(script: Script = all_right, **more: float) -> BatchServer:
        started.append(BatchServer(script, **more))
        return started[-1]

    yield new
    for server in started:
        server.close()


def outcomes(run: Run) -> dict[str, int]:
    found: dict[str, int] = {}
    for row in json.loads(run.redistill("ledger", "--json")):
        found[row["outcome"]] = found.get(row["outcome"], 0) + row["calls"]
    return found


def once(server: BatchServer, count: int) -> None:
    """Every one of *count* requests was billed, and none twice."""
    server.finish()
    assert len(server.billed) == count
    assert set(server.billed.values()) == {1}


def test_a_stage_orders_a_batch_and_ends_and_the_next_run_fetches_the_answers(
    start: Start, tmp_path: Path
):
    server = start(takes=0.6)
    run = Run(tmp_path, server.url, 9, spending={"prices": PRICES})

    ordered = run.stage("generate", code=4, **API)
    waiting = run.stage("generate", code=4, **API)
    time.sleep(0.6)
    run.stage("generate", **API)
    run.stage("generate", **API)

    assert len(ordered.strip().splitlines()) == 1
    assert "r0: 9 requests wait in batches at work: batch_0 (ordered); run dvc repro" in ordered
    assert "REDISTILL_BATCH_WAIT" in ordered
    assert "batch_0 (in_progress, 0 of 9)" in waiting
    assert len(run.out()) == 9
    once(server, 9)
    (row,) = json.loads(run.redistill("ledger", "--json"))
    assert (row["outcome"], row["calls"], row["batched"]) == ("answered", 9, 9)
    assert row["nano"] == 9 * (1000 * (10 * 1.0 + 5 * 2.0)) / 2
    assert server.calls.count("POST /batches") == 1


def test_a_stage_waits_where_it_is_asked_to_and_splits_what_is_too_much(
    start: Start, tmp_path: Path
):
    server = start(takes=0.3)
    run = Run(tmp_path, server.url, 10)

    run.stage("generate", **WAIT, REDISTILL_BATCH_LINES="4")

    assert [len(batch["lines"]) for batch in server.batches.values()] == [4, 4, 2]
    once(server, 10)


def test_two_rounds_have_batches_at_once_and_each_gets_its_own(start: Start, tmp_path: Path):
    server = start(takes=0.8)
    run = Run(tmp_path, server.url, 6)

    run.stage("generate", code=4, **API)
    run.stage("refine", code=4, **API)
    time.sleep(0.8)
    run.stage("generate", **API)
    run.stage("refine", **API)

    assert len(server.batches) == 2
    once(server, 12)


def partly(number: int, lines: list[Line]) -> Ending:
    """The first batch expires half done, the next is cancelled, the third fails, then all goes."""
    if number == 0:
        half = len(lines) // 2
        return Ending(
            [right(line) for line in lines[:half]],
            [*(unserved(line) for line in lines[half:-1]), wrong(lines[-1], 500)],
            "expired",
        )
    if number == 1:
        return Ending([right(lines[0]), right(lines[0])], [], "cancelled")
    if number == 2:
        return Ending([], [], "failed", "too many tokens are enqueued")
    return all_right(number, lines)


def test_what_ended_without_an_answer_is_taken_as_far_as_it_goes_and_asked_again(
    start: Start, tmp_path: Path
):
    server = start(partly)
    run = Run(tmp_path, server.url, 8)

    said = run.stage("generate", **WAIT)

    once(server, 8)
    assert [len(batch["lines"]) for batch in server.batches.values()] == [8, 4, 3, 3]
    assert "too many tokens are enqueued: 3" in said
    assert "repeated answers of batch_1, counted once: 1" in said
    assert outcomes(run) == {"answered": 8, "unserved": 3 + 3 + 3, "server_error": 1}
    with store.reading(run.root / "store.sqlite") as known:
        assert known.committed().tokens == 8 * 15


def test_a_request_that_no_batch_answers_ends_the_run_after_so_many(start: Start, tmp_path: Path):
    server = start(lambda number, lines: Ending(errors=[unserved(x) for x in lines]))
    run = Run(tmp_path, server.url, 3)

    said = run.stage("generate", code=75, **WAIT, REDISTILL_ATTEMPTS="3")

    assert "3 requests have no answer after 3 batches" in said
    assert len(server.batches) == 3
    assert not server.billed


def test_a_line_that_is_missing_may_have_been_billed_and_stays_reserved(
    start: Start, tmp_path: Path
):
    server = start(lambda number, lines: Ending([right(line) for line in lines[number == 0 :]]))
    run = Run(tmp_path, server.url, 4)

    run.stage("generate", **WAIT)

    assert outcomes(run) == {"answered": 4, "lost": 1}


@pytest.mark.parametrize(
    ("spoils", "fault"),
    [
        (lambda content: b"<html>\ntry later</html>", "batch_0-output_file_id:1: not JSON"),
        (lambda content: b'{"error": {"message": "busy"}}', "output_file_id:1: no custom_id"),
        (lambda content: b"", "batch_0-output_file_id: 0 lines, and the server counts 4"),
        (lambda content: content[: content.rindex(b"{", 0, -1)], "output_file_id:4: not JSON"),
        (lambda content: content.split(b"\n", 1)[0], "1 lines, and the server counts 4"),
    ],
)
def test_an_output_that_does_not_come_whole_is_fetched_again_and_not_bought_again(
    spoils: Callable[[bytes], bytes], fault: str, start: Start, tmp_path: Path
):
    server = start()
    server.spoils = spoils
    run = Run(tmp_path, server.url, 4)

    said = run.stage("generate", code=75, **WAIT)

    assert fault in said
    assert "redistill store import" in said
    assert "redistill store abandon batch_0" in said
    server.spoils = lambda content: content
    run.stage("generate", **WAIT)
    once(server, 4)
    assert len(server.batches) == 1


def test_an_output_that_never_comes_is_brought_in_by_hand(start: Start, tmp_path: Path):
    server = start()
    server.spoils = lambda content: b"gone"
    run = Run(tmp_path, server.url, 4)
    run.stage("generate", code=75, **WAIT)
    output = tmp_path / "output.jsonl"
    output.write_bytes(server.files["batch_0-output_file_id"])

    run.redistill("store", "import", str(output))
    run.stage("generate", **WAIT)

    once(server, 4)
    assert outcomes(run) == {"answered": 4}


@pytest.mark.parametrize(("body", "times"), [({"choices": []}, 3), ({"object": "none"}, 2)])
def test_a_failure_in_the_place_of_an_answer_is_not_bought_without_end_and_ends_no_stage_well(
    body: dict[str, Any], times: int, start: Start, tmp_path: Path
):
    def script(number: int, lines: list[Line]) -> Ending:
        answers = [right(line) for line in lines]
        answers[0]["response"]["body"] = body | {"usage": {}}
        return Ending(answers)

    server = start(script)
    run = Run(
        tmp_path, server.url, 3, teach={"attempts": 1, "draws": 1}, generate={"max_loss": 0.5}
    )

    said = run.stage("generate", code=75, REDISTILL_ATTEMPTS="3", **WAIT)

    assert len(server.batches) == times
    assert f"1 requests have no answer after {times} batches" in said
    assert not (run.root / "out.jsonl").exists()


def test_requests_that_the_server_calls_malformed_stop_the_run(start: Start, tmp_path: Path):
    server = start(lambda number, lines: Ending(errors=[wrong(x, 400, "no such") for x in lines]))
    run = Run(tmp_path, server.url, 6)

    said = run.stage("generate", code=78, **WAIT)

    assert "refused all 6 requests of the batch batch_0 as malformed" in said
    assert len(server.batches) == 1


@pytest.mark.parametrize(
    ("call", "status", "code"),
    [
        ("POST /files", 401, 77),
        ("POST /batches", 400, 78),
        ("POST /batches", 429, 75),
        ("POST /files", 404, 78),
        ("POST /files", 500, 75),
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


def test_an_order_whose_answer_was_lost_is_found_again_and_not_repeated(
    start: Start, tmp_path: Path
):
    server = start()
    server.breaks["after POST /batches"] = lambda: 502
    run = Run(tmp_path, server.url, 12)

    run.stage("generate", **WAIT, REDISTILL_BATCH_LINES="2")

    assert len(server.batches) == 6
    once(server, 12)


def test_a_list_that_cannot_be_read_never_leads_to_a_second_order(start: Start, tmp_path: Path):
    server = start()
    server.breaks["after POST /batches"] = lambda: 502
    server.breaks["GET /batches"] = lambda: 405
    run = Run(tmp_path, server.url, 3)

    for _ in range(2):
        said = run.stage("generate", code=78, **API)
        assert "finding out whether the batch" in said
        assert "redistill store abandon" in said
    assert len(server.batches) == 1
    server.breaks.clear()
    run.stage("generate", **WAIT)
    once(server, 3)


def test_a_signal_while_a_stage_waits_ends_it_in_order(start: Start, tmp_path: Path):
    server = start(takes=30)
    run = Run(tmp_path, server.url, 3)
    process = run.start("generate", **API, REDISTILL_BATCH_WAIT="20")
    while not server.batches and process.poll() is None:
        time.sleep(0.01)
    time.sleep(0.1)

    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=20)

    assert process.returncode == 128 + signal.SIGTERM
    assert "stopped by SIGTERM" in said
    assert "Traceback" not in said
    assert "batch_0 (in_progress" in run.stage("generate", code=4, **API)


def pondering(number: int, lines: list[Line]) -> Ending:
    """Answers that are thoughts alone."""
    answers = [right(line) for line in lines]
    for answer in answers:
        message = answer["response"]["body"]["choices"][0]["message"]
        message |= {"content": None, "reasoning_content": "Let me think"}
    return Ending(answers)


def test_a_batch_whose_answers_are_thoughts_alone_stops_the_run_with_the_way_out(
    start: Start, tmp_path: Path
):
    server = start(pondering)
    run = Run(tmp_path, server.url, 6, teach={"attempts": 3})

    said = run.stage("generate", code=78, **WAIT)

    assert "all 6 answers of the batch batch_0 are thoughts alone" in said
    assert "max_completion_tokens" in said
    assert len(server.batches) == 1
    assert outcomes(run) == {"only_reasoning": 6}


def test_fewer_thoughts_alone_or_some_among_answers_stop_nothing(start: Start, tmp_path: Path):
    def script(number: int, lines: list[Line]) -> Ending:
        pondered, answered = pondering(number, lines).output, all_right(number, lines).output
        return Ending([*pondered[:-1], answered[-1]] if number == 0 else answered)

    server = start(script)
    run = Run(tmp_path, server.url, 8, teach={"attempts": 2, "draws": 1})

    run.stage("generate", **WAIT)

    assert len(server.batches) == 2
    assert outcomes(run) == {"only_reasoning": 7, "answered": 8}


def test_orders_that_the_server_lost_are_no_matter_of_the_budget(start: Start, tmp_path: Path):
    server = start()
    server.breaks["POST /batches"] = lambda: 502
    limits = {"calls": 2, "tokens": None, "cost": None}
    run = Run(tmp_path, server.url, 6, spending={"budget": limits})

    said = run.stage("generate", code=75, **API)

    assert "no batch of them reached the server" in said
    assert "budget" not in said
    server.breaks.clear()
    assert "the budget is reached" in run.stage("generate", code=3, **WAIT)


def greatest(number: int, lines: list[Line]) -> Ending:
    """Answers that are billed at the most that their requests allow."""
    answers = [right(line) for line in lines]
    for line, answer in zip(lines, answers, strict=True):
        prompt = sum(16 + len(v.encode()) for m in line["body"]["messages"] for v in m.values())
        answer["response"]["body"]["usage"] = {
            "prompt_tokens": prompt, "completion_tokens": line["body"]["max_tokens"],
        }  # fmt: skip
    return Ending(answers)


def test_as_much_as_the_budget_holds_is_ordered_and_it_is_never_exceeded(
    start: Start, tmp_path: Path
):
    server = start(greatest, takes=0.3)
    limits = {"calls": None, "tokens": 6000, "cost": None}
    run = Run(tmp_path, server.url, 40, spending={"budget": limits})

    said = run.stage("generate", code=3, **API)
    first = len(server.batches["batch_0"]["lines"])
    again = run.stage("generate", code=3, **WAIT, REDISTILL_BATCH_LINES="1")

    assert 0 < first < 40
    assert "the budget is reached" in said
    assert "batch_0 (ordered)" in said
    assert "batch_0" not in again
    assert len(server.billed) == first
    assert server.tokens <= 6000
    with store.reading(run.root / "store.sqlite") as known:
        assert known.committed().tokens <= 6000
    run.settings["spending"]["budget"]["tokens"] = 10**6
    run.save()
    run.stage("generate", **WAIT)
    once(server, 40)


def thinking(number: int, lines: list[Line]) -> Ending:
    """Answers with 100,000 tokens of reasoning each, billed beside the output limit."""
    answers = [right(line) for line in lines]
    for answer in answers:
        answer["response"]["body"]["usage"] = {
            "prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 100_015,
            "completion_tokens_details": {"reasoning_tokens": 100_000},
        }  # fmt: skip
    return Ending(answers)


@pytest.mark.parametrize("how", [WAIT, {}])
def test_reasoning_billed_in_one_stage_is_reserved_for_in_the_next(
    how: dict[str, str], start: Start, tmp_path: Path
):
    server = start(thinking)
    limits = {"calls": None, "tokens": 600_000, "cost": None}
    run = Run(tmp_path, server.url, 5, spending={"budget": limits})
    run.stage("generate", **WAIT)

    said = run.stage("refine", code=3, **how)

    assert "the budget is reached" in said
    assert len(server.batches) == 1
    assert "POST /chat/completions" not in server.calls
    with store.reading(run.root / "store.sqlite") as known:
        assert known.committed().tokens == 5 * 100_015


def test_a_batch_whose_requests_nobody_asks_for_any_more_is_fetched_and_not_sent_again(
    start: Start, tmp_path: Path
):
    server = start(takes=0.2)
    run = Run(tmp_path, server.url, 4)
    run.stage("generate", code=4, **API)
    run.settings["openai"]["body"]["temperature"] = 0.5
    run.save()

    run.stage("generate", **WAIT)

    assert len(server.batches) == 2
    assert outcomes(run) == {"answered": 8}


def kills(
    start: Start, root: Path, count: int, script: Script, waits: dict[str, str]
) -> dict[str, int]:
    """Kill the stage at *count* random moments, over as many runs as that takes."""
    chance = random.Random(count)
    figures = {"kills": 0, "runs": 0, "batches": 0, "billed": 0}
    longest = 0.5
    while figures["kills"] < count:
        server = start(script, takes=0.02, delay=0.004)
        run = Run(_folder(root, figures["runs"]), server.url, 30)
        env = waits | {"REDISTILL_BATCH_LINES": "3", "REDISTILL_ATTEMPTS": "9"}
        for _ in range(25):
            seen = len(server.calls)
            process = run.start("generate", **env)
            wait_for_call(server, seen, process)
            time.sleep(chance.uniform(0, longest))
            alive = process.poll() is None
            process.kill()
            process.communicate()
            figures["kills"] += alive
            if not alive or figures["kills"] >= count:
                break
        run.stage("generate", **env)
        once(server, 30)
        assert len(run.out()) == 30
        with store.reading(run.root / "store.sqlite") as known:
            assert known.committed().tokens == server.tokens
        figures["runs"] += 1
        figures["batches"] += len(server.batches)
        figures["billed"] += len(server.billed)
    return figures


def _folder(root: Path, number: int) -> Path:
    folder = root / str(number)
    folder.mkdir()
    return folder


def wait_for_call(server: BatchServer, seen: int, process: subprocess.Popen[str]) -> None:
    started = time.monotonic()
    while len(server.calls) == seen and process.poll() is None and time.monotonic() - started < 20:
        time.sleep(0.001)


def hard(number: int, lines: list[Line]) -> Ending:
    """Every third batch is answered in part, with a line twice, and one line fails."""
    if number % 3:
        return all_right(number, lines)
    first, *others = lines
    return Ending([right(first), right(first)], [unserved(x) for x in others], "expired")


def test_kills_at_random_moments_never_buy_a_request_twice(start: Start, tmp_path: Path):
    figures = kills(start, tmp_path, 6, hard, WAIT)

    print(f"\nbatches: {figures}")
    assert figures["kills"] == 6


@pytest.mark.slow
def test_a_hundred_kills_at_random_moments_never_buy_a_request_twice(start: Start, tmp_path: Path):
    figures = kills(start, tmp_path, 100, hard, WAIT)

    print(f"\nbatches: {figures}")
    assert figures["kills"] == 100


@pytest.mark.parametrize(
    "number",
    [pytest.param(n, marks=[] if n in (0, 3, 6) else pytest.mark.slow) for n in range(8)],
)
def test_a_kill_right_after_each_call_to_the_server_buys_nothing_twice(
    number: int, start: Start, tmp_path: Path
):
    server = start(takes=0.02)
    run = Run(tmp_path, server.url, 4)
    env: dict[str, Any] = WAIT | {"REDISTILL_BATCH_LINES": "2"}
    process = run.start("generate", **env)
    while len(server.calls) <= number and process.poll() is None:
        time.sleep(0.0005)
    process.kill()
    process.communicate()

    run.stage("generate", **env)

    once(server, 4)
