"""The budget is a wall (rows B1 to B4): also for many calls at once, also across kills."""

import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from redistill.console.exceptions import RefusedError
from redistill.llm import budget as llm_budget
from redistill.llm import client, store
from redistill.llm.budget import Amount, Budget, Prices
from redistill.llm.client import Occasion, Policy
from redistill.llm.request import Request
from redistill.teachers import openai
from tests.paid.run import Run, solution
from tests.paid.server import Action, Script, Server, after, always, answer

Serve = Callable[[Script], Server]
PRICES = Prices(input=0.5, output=1.5, batch=None)


def greatest(request: dict, delay: float = 0.0) -> Action:
    """An answer that is billed at the most that the request allows."""
    prompt = sum(16 + len(v.encode()) for m in request["messages"] for v in m.values())
    usage = {"prompt_tokens": prompt, "completion_tokens": request["max_tokens"]}
    text = solution(request["messages"][-1]["content"])
    return after(delay, answer(text, usage=usage))


def billed(server: Server) -> int:
    """What the server counts for all calls, in billionths: each at its most."""
    total = 0
    for call in server.calls:
        prompt = sum(16 + len(v.encode()) for m in call["messages"] for v in m.values())
        total += llm_budget.price(PRICES, prompt, call["max_tokens"]) or 0
    return total


def request(number: int) -> Request:
    messages = [{"role": "user", "content": f"question {number}"}]
    return Request("http://127.0.0.1/v1", "m", messages, {"max_tokens": 20})


def limits(**budget: object) -> llm_budget.SpendingSettings:
    unset = {"calls": None, "tokens": None, "cost": None}
    return llm_budget.SpendingSettings(
        prices=PRICES, budget=Budget(**unset | budget), strict_model=False
    )


def sending(server: Server) -> openai.Sender:
    """What sends requests to *server*, and nothing besides."""
    bare = {"key": None, "system": None, "examples": [], "seed": None, "together": False}
    return openai.Sender(openai.Settings(base_url=server.url, model="m", body={}, **bare), "")


@pytest.mark.parametrize(
    ("budget", "most"),
    [({"calls": 17}, 17), ({"tokens": 1000}, 15), ({"cost": 0.00080}, 17)],
)
def test_b1_eight_at_once_never_go_over_by_one_unit(budget: dict, most: int, serve: Serve):
    def full(number: int, body: dict) -> Action:
        prompt = sum(16 + len(v.encode()) for m in body["messages"] for v in m.values())
        return after(0.01, answer(usage={"prompt_tokens": prompt, "completion_tokens": 20}))

    server = serve(full)
    sender = sending(server)

    with store.writing(store.path()) as writer, pytest.raises(RefusedError) as refusal:
        client.ask(
            [request(n) for n in range(100)],
            sender,
            writer,
            limits(**budget),
            Policy(concurrency=8),
            Occasion("generate", "r0"),
        )

    assert refusal.value.code == 3
    assert "the budget is reached" in str(refusal.value)
    cost = llm_budget.reservation(request(0), PRICES)
    most_calls = {"calls": 17, "tokens": 1000 // cost.tokens, "cost": None}
    with store.reading(store.path()) as known:
        committed = known.committed()
    assert llm_budget.exceeded(limits(**budget).budget, committed, Amount()) is None
    if "cost" in budget:
        assert billed(server) <= budget["cost"] * llm_budget.NANO
    else:
        assert len(server.calls) in range(most_calls[next(iter(budget))] - 1, most + 1)


def test_b1_a_budget_that_calls_give_back_is_used_up(serve: Serve):
    """Answers cost a tenth of their reservation: waiting for them buys more calls."""
    server = serve(always(after(0.01, answer(usage={"prompt_tokens": 3, "completion_tokens": 2}))))
    sender = sending(server)
    tokens = llm_budget.reservation(request(0), PRICES).tokens * 3

    with store.writing(store.path()) as writer, pytest.raises(RefusedError):
        client.ask(
            [request(n) for n in range(200)],
            sender,
            writer,
            limits(tokens=tokens),
            Policy(concurrency=8),
            Occasion("generate", "r0"),
        )

    assert 20 < len(server.calls) <= tokens // 5


def kills(serve: Serve, root: Path, count: int, budget: float) -> tuple[int, int, int]:
    """Kill *count* runs on a tight budget; returns budget, billed, and kills that hit a run."""
    chance = random.Random(count)
    server = serve(lambda n, body: greatest(body, 0.01))
    prices = PRICES.model_dump()
    run = Run(
        root,
        server.url,
        3000,
        spending={"prices": prices, "budget": {"calls": None, "tokens": None, "cost": budget}},
    )
    hit = 0
    for _ in range(count):
        process = run.start("generate", REDISTILL_CONCURRENCY="8")
        seen, started = len(server.calls), time.monotonic()
        while len(server.calls) == seen and time.monotonic() - started < 8:
            if process.poll() is not None:
                break
            time.sleep(0.005)
        time.sleep(chance.uniform(0, 0.05))
        hit += process.poll() is None
        process.kill()
        process.communicate()
        assert billed(server) <= budget * llm_budget.NANO
    for _ in range(20):
        process = run.start("generate", REDISTILL_CONCURRENCY="8")
        process.communicate(timeout=120)
        if process.returncode == 3:
            break
    assert process.returncode == 3
    return int(budget * llm_budget.NANO), billed(server), hit


def test_b2_kills_never_overspend(serve: Serve, tmp_path: Path):
    budget, spent, hit = kills(serve, tmp_path, 8, budget=0.2)

    print(f"\nB2: 8 kills ({hit} in mid-run), 8 at once: billed {spent} of {budget}, overspend 0")
    assert spent <= budget
    assert hit > 2


@pytest.mark.slow
def test_b2_two_hundred_kills_never_overspend(serve: Serve, tmp_path: Path):
    budget, spent, hit = kills(serve, tmp_path, 200, budget=1.5)

    print(f"\nB2: 200 kills ({hit} in mid-run), 8 at once: billed {spent} of {budget}")
    assert spent <= budget


def test_b3_without_a_budget_nothing_is_asked(serve: Serve, tmp_path: Path):
    server = serve(always(answer()))
    none = {"calls": None, "tokens": None, "cost": None}
    run = Run(tmp_path, server.url, 2, spending={"budget": none})

    said = run.stage("generate", code=78)

    assert "no budget is set" in said
    assert server.calls == []


@pytest.mark.parametrize(
    ("budget", "prices", "body", "fault"),
    [
        ({"cost": 1.0}, {"input": None, "output": None}, {"max_tokens": 5}, "needs prices"),
        ({"cost": 1.0}, {"input": 1.0, "output": 1.0}, {}, "output limit"),
        ({"tokens": 9}, {"input": 1.0, "output": 1.0}, {"temperature": 1}, "output limit"),
    ],
)
def test_b3_a_budget_that_cannot_be_kept_is_refused(
    budget: dict, prices: dict, body: dict, fault: str
):
    unset = {"calls": None, "tokens": None, "cost": None}
    settings = llm_budget.SpendingSettings(
        prices=Prices(**prices, batch=None), budget=Budget(**unset | budget), strict_model=False
    )

    with pytest.raises(RefusedError, match=fault):
        llm_budget.check(settings, body, what="openai")


def test_a_budget_is_never_rounded_in_favour_of_spending():
    assert llm_budget.price(Prices(input=0.1, output=0.1, batch=None), 1, 0) == 100
    assert llm_budget.price(Prices(input=0.0001, output=0.0, batch=None), 1, 0) == 1
    assert llm_budget.price(Prices(input=None, output=1.0, batch=None), 1, 0) is None
    assert llm_budget.exceeded(
        Budget(calls=None, tokens=None, cost=1.0), Amount(), Amount(1, 1, None)
    )


def test_a_reservation_is_an_upper_bound_for_any_tokenizer_over_bytes():
    prompt = "Zoë's 🙂 question"
    asked = Request("e", "m", [{"role": "user", "content": prompt}], {"max_tokens": 7})

    assert asked.max_input >= len(prompt.encode("utf-8"))
    assert llm_budget.reservation(asked, PRICES).tokens == asked.max_input + 7
