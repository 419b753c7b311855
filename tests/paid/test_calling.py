"""What becomes of a call, whatever the endpoint does with it (rows A1 to A14 of the matrix)."""

import email.utils
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redistill.console.exceptions import RefusedError
from redistill.llm import attempt_row, budget, client, endpoint, store
from redistill.llm.budget import Budget, Prices
from redistill.llm.client import Occasion, Policy
from redistill.llm.request import Request
from redistill.llm.response import FINAL, Reading
from redistill.teachers import openai
from tests.paid.server import (
    Action,
    Script,
    Server,
    after,
    always,
    answer,
    content,
    drip,
    half_body,
    hang_up,
    in_turn,
    status,
)

Serve = Callable[[Script], Server]
QUICK = Policy(concurrency=4, deadline=1.0, attempts=3, backoff=0.01, cap=0.3)
FREE = budget.SpendingSettings(
    prices=Prices(input=None, output=None, batch=None),
    budget=Budget(calls=10_000, tokens=None, cost=None),
    strict_model=False,
)
KEY = "sk-CANARY-0123456789abcdef"


def settings(server: Server, **changes: object) -> openai.Settings:
    return openai.Settings(
        **{
            "base_url": server.url,
            "key": None,
            "model": "m",
            "system": None,
            "examples": [],
            "seed": None,
            "together": False,
            "body": {"max_tokens": 20},
        }
        | changes
    )


def request(number: int = 0, **changes: object) -> Request:
    base = Request(
        endpoint="http://127.0.0.1/v1",
        model="m",
        messages=[{"role": "user", "content": f"question {number}"}],
        body={"max_tokens": 20},
        problem=f"p{number}",
    )
    return replace(base, **changes)


def ask(
    server: Server,
    requests: Sequence[Request],
    *,
    policy: Policy = QUICK,
    limits: budget.SpendingSettings = FREE,
    key: str = "",
) -> dict[str, Reading]:
    sender = openai.Sender(settings(server), key)
    with store.writing(store.path()) as writer:
        return client.ask(requests, sender, writer, limits, policy, Occasion("generate", "r0"))


def outcomes() -> Counter[str]:
    with store.reading(store.path()) as known:
        return Counter({row["outcome"]: row["calls"] for row in known.ledger()})


def one(server: Server, **changes: object) -> Reading:
    return ask(server, [request()], **changes)[request().key]  # type: ignore[arg-type]


@pytest.mark.timed
@pytest.mark.parametrize("retry_after", ["0.05", "600", "nan", "-5", "soon", "date"])
def test_a1_a_busy_server_is_asked_again_and_no_wait_is_longer_than_the_cap(
    retry_after: str, serve: Serve
):
    if retry_after == "date":
        retry_after = email.utils.formatdate(time.time() + 3600)
    busy = status(429, {"error": {"message": "slow down"}}, retry_after=retry_after)
    ask(serve(in_turn(answer())), [request(1)])  # a process's first call takes longer
    server = serve(in_turn(busy, busy, answer()))

    started = time.monotonic()
    reading = one(server)

    assert reading.outcome == "answered"
    assert len(server.calls) == 3
    assert time.monotonic() - started < 2 * QUICK.cap + 1
    assert outcomes() == {"answered": 2, "rate_limited": 2}


def test_a_wait_is_what_the_server_asks_for_and_else_grows_with_jitter():
    assert endpoint.wait("0.2", 0, QUICK) == 0.2
    assert endpoint.wait("600", 0, QUICK) == QUICK.cap
    for attempt in range(4):
        waits = {endpoint.wait("nan", attempt, QUICK) for _ in range(20)}
        most = min(QUICK.cap, QUICK.backoff * 2**attempt)
        assert len(waits) > 10
        assert all(most / 2 <= wait <= most for wait in waits)


@pytest.mark.parametrize(
    "fatal",
    [
        status(429, {"error": {"code": "insufficient_quota", "message": "You exceeded"}}),
        status(402, {"error": {"message": "pay"}}),
        status(401, {"error": {"message": f"wrong key {KEY}"}}),
        status(403, {"error": {"message": "no"}}),
        status(404, {"error": {"message": "no such model"}}),
    ],
)
def test_a2_what_cannot_succeed_is_asked_once_and_stops_the_run(fatal: Action, serve: Serve):
    server = serve(always(fatal))

    with pytest.raises(RefusedError) as refusal:
        ask(server, [request(n) for n in range(20)], policy=replace(QUICK, concurrency=1), key=KEY)

    assert refusal.value.code == 77
    assert len(server.calls) == 1
    assert KEY not in str(refusal.value)
    assert KEY.encode() not in store.path().read_bytes()


@pytest.mark.parametrize("code", [500, 502, 503, 529])
def test_a3_a_broken_server_is_tried_as_often_as_the_policy_says_and_no_more(
    code: int, serve: Serve
):
    server = serve(always(status(code, "down")))

    with pytest.raises(RefusedError, match=r"no answer yet \(1 server error") as refusal:
        one(server)

    assert refusal.value.code == 75
    assert len(server.calls) == QUICK.attempts


def test_a3_the_breaker_opens_when_most_calls_fail(serve: Serve):
    server = serve(always(status(503, "down")))

    with pytest.raises(RefusedError, match="of the last") as refusal:
        ask(server, [request(n) for n in range(200)])

    assert refusal.value.code == 75
    assert len(server.calls) < client.WINDOW
    server.script = always(answer())
    assert len(ask(server, [request(n) for n in range(200)])) == 200


@pytest.mark.timed
@pytest.mark.parametrize(
    ("action", "outcome"),
    [
        (after(5, answer()), "timeout"),
        (drip, "timeout"),
        (half_body, "no_connection"),
        (hang_up, "no_connection"),
        (status(504, "gateway"), "timeout"),
        (status(200, content(), x="y" * 9000), "no_connection"),
    ],
)
def test_a4_no_call_outlives_its_deadline_and_each_attempt_stays_reserved(
    action: Action, outcome: str, serve: Serve
):
    server = serve(always(action))
    policy = replace(QUICK, attempts=2, deadline=0.5)

    started = time.monotonic()
    with pytest.raises(RefusedError, match="no answer yet") as refusal:
        one(server, policy=policy)

    assert refusal.value.code == 75
    assert time.monotonic() - started < 2 * (policy.deadline + 1)
    assert outcomes() == {outcome: 2}
    with store.reading(store.path()) as known:
        assert known.committed().tokens == 2 * budget.reservation(request(), FREE.prices).tokens


def test_a4_a_server_that_is_not_there_is_no_traceback(serve: Serve):
    server = serve(always(answer()))
    server.close()

    with pytest.raises(RefusedError, match="1 no connection"):
        one(server)


@pytest.mark.parametrize(
    "body",
    [
        "<html>Bad gateway</html>",
        "",
        '{"choices": [',
        "[]",
        "null",
        '{"choices": "none"}',
        '{"choices": [null]}',
        '{"choices": [{"message": "text"}]}',
        '{"choices": [{"message": {"content": ["a"]}}]}',
        b"\xff\xfe{}",
        "[" * 100_000,
    ],
)
def test_a5_an_answer_of_the_wrong_shape_is_stored_raw_tried_once_more_and_ends_no_stage_well(
    body: object, serve: Serve
):
    server = serve(always(status(200, body)))

    with pytest.raises(RefusedError, match=r"no answer yet \(1 malformed") as refusal:
        one(server)

    assert refusal.value.code == 75
    assert len(server.calls) == client.MAX_SHAPE
    with store.reading(store.path()) as known:
        kept = next(iter(known.export()))
    assert kept["outcome"] == "malformed"
    assert kept["detail"]
    assert kept["body"] or body == ""


NO_TOKENS = {"prompt_tokens": 0, "completion_tokens": 0}
FAILED = {"index": 0, "message": {"role": "assistant", "content": ""}, "finish_reason": "error"}


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "overloaded"}},
        {"error": {"message": "Provider returned error", "code": 429}},
        {"error": {"message": "upstream", "code": "502"}, "usage": NO_TOKENS},
        {"object": "error", "message": "overloaded", "code": 500},
        content() | {"error": "overloaded"},
        content() | {"choices": [FAILED]},
        content() | {"choices": [FAILED | {"finish_reason": "stop", "error": {"code": 502}}]},
        content("half of it", finish="insufficient_system_resource"),
        content("half of it", finish="abort"),
        content("", usage=NO_TOKENS),
        content(None, usage=NO_TOKENS),
        content(usage=NO_TOKENS) | {"choices": []},
        {"choices": []},
    ],
)
def test_a_good_status_that_carries_an_error_is_asked_again_as_a_busy_server_is(
    body: object, serve: Serve
):
    server = serve(always(status(200, body)))

    with pytest.raises(RefusedError, match=r"no answer yet \(1 upstream error") as refusal:
        one(server)

    assert refusal.value.code == 75
    assert len(server.calls) == QUICK.attempts
    with store.reading(store.path()) as known:
        each = budget.reservation(request(), FREE.prices).tokens
        assert known.committed().tokens == QUICK.attempts * each
    server.script = always(answer())
    assert one(server).outcome == "answered"


@pytest.mark.parametrize(
    ("code", "refused"), [(401, 77), (403, 77), (402, 77), ("insufficient_quota", 77)]
)
def test_an_error_that_will_stay_stops_the_run_even_with_a_good_status(
    code: object, refused: int, serve: Serve
):
    server = serve(always(status(200, {"error": {"message": "no", "code": code}})))

    with pytest.raises(RefusedError, match="stopped: no_") as refusal:
        one(server)

    assert refusal.value.code == refused
    assert len(server.calls) == 1


@pytest.mark.parametrize("code", [201, 203, 206])
def test_a_whole_answer_counts_with_any_status_that_says_success(code: int, serve: Serve):
    server = serve(always(status(code, content())))

    first, second = one(server), one(server)

    assert first.outcome == second.outcome == "answered"
    assert len(server.calls) == 1
    with store.reading(store.path()) as known:
        assert known.committed().tokens == 15


def test_what_an_earlier_version_took_for_an_answer_is_asked_again_once(serve: Serve):
    server = serve(always(answer("", usage=NO_TOKENS)))
    with pytest.raises(RefusedError, match="no answer yet"):
        one(server)
    with store.writing(store.path()) as writer, writer.transaction() as connection:
        (kept,) = connection.execute("select body, key, status from attempts limit 1").fetchall()
        right = attempt_row.checksum(kept[1], "refused", kept[2], kept[0])
        connection.execute(
            "update attempts set outcome = 'refused', checksum = ? where id = 1", (right,)
        )
    before, server.script = len(server.calls), always(answer())

    assert one(server).outcome == one(server).outcome == "answered"

    assert len(server.calls) == before + 1


INNER = {"code": "ResponsibleAIPolicyViolation"}


@pytest.mark.parametrize(
    ("action", "outcome"),
    [
        (answer(None), "refused"),
        (answer(""), "refused"),
        (answer(None, refusal="I cannot"), "refused"),
        (answer("text", finish="content_filter"), "filtered"),
        (answer("text", finish="SAFETY"), "filtered"),
        (answer("half", finish="MAX_TOKENS"), "truncated"),
        (answer("half a pair \ud800"), "unwritable"),
        (status(400, {"error": {"code": "content_filter", "message": "filtered"}}), "filtered"),
        (status(400, {"error": {"code": None, "innererror": INNER}}), "filtered"),
        (status(403, {"error": {"code": 403, "metadata": {"flagged_input": "x"}}}), "filtered"),
        (status(200, {"error": {"code": "data_inspection_failed"}}), "filtered"),
        (answer("<rationale>half", finish="length"), "truncated"),
    ],
)
def test_a6_a7_what_was_paid_for_without_a_use_is_kept_and_not_asked_again(
    action: Action, outcome: str, serve: Serve
):
    server = serve(always(action))

    first, second = one(server), one(server)

    assert first.outcome == second.outcome == outcome
    assert first.text == ""
    assert len(server.calls) == 1


@pytest.mark.parametrize(
    "usage",
    [
        {},
        {"prompt_tokens": -1, "completion_tokens": 5},
        {"prompt_tokens": 10**12, "completion_tokens": 5},
        {"prompt_tokens": 5, "completion_tokens": 10**9},
        {"prompt_tokens": "five", "completion_tokens": 5},
        "much",
    ],
)
def test_a8_a_count_that_cannot_be_is_replaced_by_the_reservation(
    usage: object, serve: Serve, capsys: pytest.CaptureFixture[str]
):
    server = serve(always(answer(usage=usage)))

    assert one(server).outcome == "answered"

    with store.reading(store.path()) as known:
        assert known.committed().tokens == budget.reservation(request(), FREE.prices).tokens
    assert "without a usable count of tokens" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("usage", "prompt", "output", "told"),
    [
        (
            {"completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 900}},
            10, 909, "reasoning_tokens",
        ),
        ({"completion_tokens": 9, "reasoning_tokens": 900}, 10, 909, "reasoning_tokens"),
        ({"completion_tokens": 9, "total_tokens": 919}, 10, 909, "total_tokens"),
        (
            {"completion_tokens": 9, "completion_tokens_details": {"audio_tokens": 700, "b": 3}},
            10, 712, "audio_tokens",
        ),
        ({"completion_tokens": 9, "completion_tokens_details": {"a": 6, "b": 6}}, 10, 12, "a"),
        (
            {"completion_tokens": 9, "prompt_tokens_details": {"cached_tokens": 1000}},
            1010, 9, "cached_tokens",
        ),
        ({"completion_tokens": 9, "prompt_tokens_details": {"cached_tokens": 8}}, 10, 9, ""),
        (
            {"output_tokens": 9, "prompt_tokens_details": {"audio_tokens": 9, "text_tokens": 8}},
            17, 9, "audio_tokens",
        ),
        ({"completion_tokens": 9, "cache_read_input_tokens": 500}, 510, 9, "cache_read"),
        ({"completion_tokens": 12_000}, 10, 12_000, "more output than the limit of 20"),
        ({"completion_tokens": 5.0}, 10, 5, ""),
        ({"output_tokens": 7}, 10, 7, ""),
    ],
)  # fmt: skip
def test_what_is_billed_is_counted_whatever_field_says_so(
    usage: dict[str, object], prompt: int, output: int, told: str, serve: Serve,
    capsys: pytest.CaptureFixture[str],
):  # fmt: skip
    server = serve(always(answer(usage={"prompt_tokens": 10} | usage)))

    assert one(server).outcome == "answered"

    with store.reading(store.path()) as known:
        (row,) = known.ledger()
    assert (row["prompt_tokens"], row["completion_tokens"]) == (prompt, output)
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("total", [5, 30, 53_000])
def test_where_only_the_sum_is_billed_the_sum_is_counted(total: int, serve: Serve):
    limits = FREE.model_copy(update={"budget": Budget(calls=None, tokens=5000, cost=None)})
    server = serve(always(answer(usage={"total_tokens": total})))

    assert one(server, limits=limits).outcome == "answered"

    with store.reading(store.path()) as known:
        assert known.committed().tokens == total
    if total > 5000:
        with pytest.raises(RefusedError, match="budget is reached"):
            ask(server, [request(1)], limits=limits)
        assert len(server.calls) == 1


@pytest.mark.parametrize("code", [200, 408, 503])
def test_no_character_set_that_a_server_names_costs_what_its_body_says(code: int, serve: Serve):
    body = content(usage={"prompt_tokens": 10, "completion_tokens": 700})
    odd = status(code, body, content_type="application/json; charset=utf-16")
    server = serve(in_turn(odd, answer()))

    assert one(server).outcome == "answered"

    with store.reading(store.path()) as known:
        assert known.committed().tokens >= 710


def test_once_a_server_has_passed_the_limit_the_budget_foresees_that_it_does_again(serve: Serve):
    limits = FREE.model_copy(update={"budget": Budget(calls=None, tokens=2000, cost=None)})
    server = serve(always(answer(usage={"prompt_tokens": 10, "completion_tokens": 600})))

    with pytest.raises(RefusedError, match="budget is reached"):
        ask(
            server, [request(n) for n in range(9)], limits=limits,
            policy=replace(QUICK, concurrency=1),
        )  # fmt: skip

    assert len(server.calls) == 3


@pytest.mark.parametrize(("counted", "noticed"), [(60, True), (300, False)])
def test_a_server_that_cuts_prompts_off_in_silence_is_noticed(
    counted: int, noticed: bool, serve: Serve, capsys: pytest.CaptureFixture[str]
):
    long = request(messages=[{"role": "user", "content": "word " * 250}])
    server = serve(always(answer(usage={"prompt_tokens": counted, "completion_tokens": 5})))

    ask(server, [long])

    assert ("num_ctx" in capsys.readouterr().err) == noticed


def test_no_server_is_left_to_choose_whether_to_stream(serve: Serve):
    server = serve(always(answer()))

    one(server)

    assert server.calls[0]["stream"] is False
    assert "stream" not in request().canonical


def test_a_prompt_that_is_filtered_is_a_reason_of_its_own_and_stops_nobody_else(serve: Serve):
    blocked = status(400, {"error": {"code": "content_filter", "message": "filtered"}})
    server = serve(
        lambda number, asked: blocked if "7" in asked["messages"][0]["content"] else answer()
    )
    requests = [request(n) for n in range(20)]

    first, again = ask(server, requests), ask(server, requests)

    assert first == again
    assert Counter(r.outcome for r in first.values()) == {"answered": 18, "filtered": 2}
    assert len(server.calls) == 20


@pytest.mark.parametrize("text", ["\\ud83d", "x" * 5000, "\\u0000"])
def test_a8_a_name_that_cannot_be_written_does_not_cost_the_answer(text: str, serve: Serve):
    body = '{"model": "%s", "choices": [{"message": {"content": "hi"}, "finish_reason": "%s"}]}'
    server = serve(always(status(200, body % (text, text))))

    first = ask(server, [request(n) for n in range(4)])
    again = ask(server, [request(n) for n in range(4)])

    assert {reading.text for reading in first.values()} == {"hi"}
    assert first == again
    assert len(server.calls) == 4


def test_a9_another_model_than_asked_for_is_noted_and_refused_where_that_is_wanted(
    serve: Serve, capsys: pytest.CaptureFixture[str]
):
    server = serve(always(answer(model="m-2026-01-01")))

    assert one(server).outcome == "answered"
    assert "'m-2026-01-01' where 'm' was asked for\n" in capsys.readouterr().err
    strict = FREE.model_copy(update={"strict_model": True})
    for number in (1, 0, 1):
        with pytest.raises(RefusedError, match="strict_model"):
            ask(server, [request(number)], limits=strict)
    assert len(server.calls) == 2


def test_a10_a_redirect_is_not_followed_and_the_key_goes_nowhere_else(serve: Serve):
    elsewhere = serve(always(answer()))
    server = serve(always(status(307, "", location=f"{elsewhere.url}/chat/completions")))

    with pytest.raises(RefusedError, match="redirected") as refusal:
        one(server, key=KEY)

    assert refusal.value.code == 77
    assert elsewhere.calls == []


@pytest.mark.parametrize(
    ("address", "fault"),
    [
        ("https://user:pass@example.org/v1", "no user, password"),
        ("https://example.org/v1?key=abc", "no user, password"),
        ("http://example.org/v1", "plain http"),
        ("http://192.168.1.4:8000/v1", "plain http"),
        ("ftp://example.org", "no http"),
        ("example.org/v1", "no http"),
        ("http://127.0.0.1@example.org/v1", "no user, password"),
    ],
)
def test_a10_an_address_that_would_give_the_key_away_is_refused(
    address: str, fault: str, serve: Serve
):
    with pytest.raises(RefusedError, match=fault):
        openai.Sender(settings(serve(always(answer())), base_url=address), KEY)


@pytest.mark.parametrize("count", [300, pytest.param(1000, marks=pytest.mark.slow)])
def test_a11_under_random_faults_every_request_ends_in_one_state(count: int, serve: Serve):
    chance = random.Random(5)
    faults = [
        status(429, "busy"), status(500, "down"), status(200, "<html>"), answer(None),
        answer("half", finish="length"), half_body, hang_up, status(400, {"error": "no"}),
    ]  # fmt: skip
    server = serve(lambda n, r: chance.choice(faults) if chance.random() < 0.3 else answer())
    requests = [request(n) for n in range(count)]

    with pytest.raises(RefusedError, match="requests have no answer yet"):
        ask(server, requests, policy=replace(QUICK, concurrency=8))
    attempts, calls = outcomes(), len(server.calls)
    server.script = always(answer())
    readings = ask(server, requests)

    ended = Counter(reading.outcome for reading in readings.values())
    print(f"\nA11: {calls} calls for {count} requests: {dict(sorted(attempts.items()))}")
    assert set(readings) == {r.key for r in requests}
    assert ended.total() == count
    assert attempts.total() == calls <= count * QUICK.attempts
    paid = sum(attempts[outcome] for outcome in FINAL)
    assert len(server.calls) - calls == count - paid
    assert ended["answered"] == count - attempts["refused"] - attempts["truncated"]
    assert 0.8 * count < attempts["answered"] < 0.95 * count


def test_a12_the_same_requests_in_another_order_and_with_another_key_are_not_asked_again(
    serve: Serve,
):
    server = serve(always(answer()))
    requests = [request(n) for n in range(50)]
    ask(server, requests, policy=replace(QUICK, concurrency=1), key="a-key")
    shuffled = [replace(r, problem=f"q{n}") for n, r in enumerate(reversed(requests))]

    with store.writing(store.path()) as writer:
        client.ask(
            shuffled,
            openai.Sender(settings(server), "another-key"),
            writer,
            FREE,
            replace(QUICK, concurrency=16),
            Occasion("refine", "r3"),
        )

    assert len(server.calls) == 50


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "n"},
        {"messages": [{"role": "user", "content": "question 0 "}]},
        {"messages": [{"role": "system", "content": "question 0"}]},
        {"body": {"max_tokens": 20, "temperature": 0.5}},
        {"body": {"max_tokens": 21}},
        {"body": {"max_tokens": 20, "seed": 7}},
        {"draw": 1},
        {"endpoint": "https://example.org/v1"},
        {"endpoint": "http://127.0.0.1/v2"},
    ],
)
def test_a13_whatever_can_change_the_text_is_another_request(changes: dict, serve: Serve):
    server = serve(always(answer()))
    ask(server, [request()])

    ask(server, [request(), request(**changes)])

    assert len(server.calls) == 2


@given(st.floats(-5, 5), st.integers(-5, 5))
def test_a14_numbers_are_the_same_however_they_are_written(real: float, whole: int):
    def key(*pairs: tuple[str, object]) -> str:
        return request(body=dict(pairs)).key

    assert key(("a", real), ("b", whole)) == key(("b", float(whole)), ("a", real))
    assert key(("a", real)) == key(("a", float(repr(real))))


def test_ten_problems_more_are_ten_calls_more(serve: Serve):
    server = serve(always(answer()))
    ask(server, [request(n) for n in range(200)], policy=replace(QUICK, concurrency=32))

    ask(server, [request(n) for n in range(210)])

    assert len(server.calls) == 210


def test_requests_that_the_server_refuses_in_a_row_stop_the_run(serve: Serve):
    server = serve(always(status(400, {"error": {"message": "max_tokens is not supported"}})))

    with pytest.raises(RefusedError, match="max_tokens is not supported") as refusal:
        ask(server, [request(n) for n in range(50)], policy=replace(QUICK, concurrency=1))

    assert refusal.value.code == 78
    assert "mend the section of params.yaml that asks m" in str(refusal.value)
    assert len(server.calls) == client.MAX_BAD


def test_no_more_calls_are_in_flight_than_the_policy_allows(serve: Serve):
    server = serve(always(after(0.02, answer())))

    ask(server, [request(n) for n in range(60)], policy=replace(QUICK, concurrency=5))

    assert 1 < server.most_at_once <= 5


def test_a_rate_limit_spreads_the_calls(serve: Serve):
    server = serve(always(answer()))

    started = time.monotonic()
    ask(server, [request(n) for n in range(8)], policy=replace(QUICK, rate=1200))

    assert time.monotonic() - started > 7 * 60 / 1200 - 0.05


def test_the_request_is_sent_as_it_was_configured(serve: Serve):
    server = serve(always(answer()))
    body = {"max_completion_tokens": 9, "reasoning_effort": "low", "metadata": {"a": "b"}}

    ask(server, [request(body=body)], key=KEY)

    sent = server.calls[0]
    assert sent == {"model": "m", "messages": list(request().messages), "stream": False, **body}
    assert server.paths == ["/v1/chat/completions"]
    assert {k.lower(): v for k, v in server.headers[0].items()}["authorization"] == f"Bearer {KEY}"


def test_a_variable_that_is_no_number_is_refused_by_name(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("REDISTILL_CONCURRENCY", "many")

    with pytest.raises(RefusedError, match="REDISTILL_CONCURRENCY"):
        endpoint.policy()


def test_the_raw_body_of_a_run_that_died_before_reading_it_is_read_by_the_next(
    serve: Serve, tmp_path: Path
):
    server = serve(always(answer()))
    with store.writing(store.path()) as writer, writer.transaction() as connection:
        r = request()
        number = writer.intend(
            connection, store.Intent(r.key, r.canonical, "generate", "r0", "p", "m", 50, 20, None)
        )
        writer.receive(connection, number, 200, b'{"choices": [{"message": {"content": "hi"}}]}')

    assert one(server).text == "hi"
    assert server.calls == []


def test_what_a_killed_run_bought_of_another_model_is_not_counted_at_the_prices_of_this_one(
    serve: Serve,
):
    server = serve(always(answer()))
    body = (
        b'{"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}], '
        b'"usage": {"prompt_tokens": 7, "completion_tokens": 5}}'
    )
    theirs = request(1, model="dear")
    with store.writing(store.path()) as writer, writer.transaction() as connection:
        intent = store.Intent(
            theirs.key, theirs.canonical, "generate", "r0", "p", "dear", 50, 20, 9
        )
        writer.receive(connection, writer.intend(connection, intent), 200, body)
    dear, cheap = Prices(input=10, output=20, batch=None), Prices(input=1, output=2, batch=None)

    ask(server, [request(2)], limits=FREE.model_copy(update={"prices": cheap}))
    found = ask(server, [theirs], limits=FREE.model_copy(update={"prices": dear}))

    assert found[theirs.key].text == "hi"
    assert len(server.calls) == 1
    with store.reading(store.path()) as known:
        (nano,) = [row["nano"] for row in known.ledger() if row["model"] == "dear"]
    assert nano == 1000 * (7 * 10 + 5 * 20)
