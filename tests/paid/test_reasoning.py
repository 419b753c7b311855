"""Models that think before they answer: thoughts are kept, counted, and never taught."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redistill.llm import response, thought_tags
from redistill.llm import usage as usage_fields
from redistill.llm.request import Request as Call
from redistill.llm.response import Reading
from redistill.rationales import reply as replying
from tests.paid.run import Run, solution
from tests.paid.server import Action, Script, Server, answer, content

Serve = Callable[[Script], Server]
CALL = Call("https://example.org/v1", "m", [{"role": "user", "content": "q"}], {"max_tokens": 50})
DRAFT = "<rationale>\n0 + 7 = 7\n#### 7\n</rationale>"
ANALYSIS = "<|channel|>analysis<|message|>a<|end|>"  # as gpt-oss writes thoughts
GOOD = "<rationale>\n1 + 7 = 8\n#### 8\n</rationale>"


def read(text: str | None, finish: str = "stop", usage: object = None, **message: Any) -> Reading:
    body = content(text, finish=finish, usage=usage, **message)
    return response.read(200, json.dumps(body).encode())


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("no thoughts", "no thoughts"),
        (" spaces stay \n", " spaces stay \n"),
        ("<think>a</think>\n\nb", "b"),
        ("a<think>b</think>c<think>d</think>e", "ace"),
        ("a<think>b", "a"),
        ("<think>b", ""),
        ("b</think>c", "c"),
        ("<think>the tag <think> is mine</think>c", "c"),
        ("<think>the tag </think> is mine</think>c", "c"),
        ("<THINK>a</Think>b", "b"),
        ("<thinking>a</thinking>b", "b"),
        ("2 <thinks> 1", "2 <thinks> 1"),
        ("2 <think/> 1", "2 <think/> 1"),
        ("<think>a<think>b</think>c</think>d", "d"),
        ("[THINK]a[/THINK]b", "b"),
        ("<seed:think>a</seed:think>b", "b"),
        ("<think:6124c78e>a</think:6124c78e>b", "b"),
        ('<reasoning effort="low">a</reasoning>b', "b"),
        ("<thought>a</thought>b", "b"),
        ("<|begin_of_thought|>a<|end_of_thought|>b", "b"),
        ("<|START_THINKING|>a<|END_THINKING|>b", "b"),
        ("<|inner_prefix|>a<|inner_suffix|>b", "b"),
        ("◁think▷a◁/think▷b", "b"),
        ("<|channel>thought\na<channel|>b", "b"),
        (f"{ANALYSIS}<|start|>assistant<|channel|>final<|message|>b", "b"),
        (f"{ANALYSIS}<|start|>assistant<|channel|>final <|constrain|>json<|message|>b", "b"),
        (ANALYSIS, ""),
        ("analysisWe need a.assistantfinalb", "b"),
        ("analysisWe need a.", ""),
        ("analysis of a: b", "analysis of a: b"),
        ("Here is my thought process:\na\nHere is my response:\nb", "b"),
        ("b. Here is my response: c", "b. Here is my response: c"),
        ("<|im_start|>assistant/think\na<|im_end|>\n<|im_start|>assistant\nb", "b"),
        ("<think>a [/THINK] b</think>c", "c"),
    ],
)
def test_the_text_is_what_stands_outside_of_thoughts(text: str, left: str):
    assert thought_tags.outside(text) == left


@pytest.mark.parametrize(
    ("text", "taught"),
    [
        (f"<think>{DRAFT}</think>\n{GOOD}", "1 + 7 = 8\n#### 8"),
        (f"<think>{DRAFT} hmm</think>\nFirst, 1 + 1.\n#### 3", None),
        (f"{GOOD}\n<think>or rather {DRAFT}", "1 + 7 = 8\n#### 8"),
        (f"{DRAFT} hmm</think>{GOOD}", "1 + 7 = 8\n#### 8"),
    ],
)
def test_a_draft_among_thoughts_is_never_taught(text: str, taught: str | None):
    assert replying.reply(read(text), CALL).text == taught


def test_thoughts_in_a_field_or_a_part_are_not_taught_and_the_answer_beside_them_is():
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": DRAFT}]},
        {"type": "text", "text": GOOD},
    ]

    assert read(GOOD, reasoning_content=DRAFT).text == GOOD
    assert read(GOOD, reasoning=DRAFT).text == GOOD
    assert read(parts).text == GOOD  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("reading", "place"),
    [
        (read("", reasoning_content=DRAFT), "reasoning_content"),
        (read(None, reasoning=DRAFT), "reasoning"),
        (read(f"<think>{DRAFT}</think>"), "marked thoughts of the content"),
        (read(f"<think>{DRAFT}"), "marked thoughts of the content"),
    ],
)
def test_thoughts_without_an_answer_are_a_reason_of_their_own(reading: Reading, place: str):
    assert reading.outcome == "only_reasoning"
    assert reading.detail == f"there is text in {place} only"
    assert replying.reply(reading, CALL).reason == "only reasoning"
    assert read("").outcome == "refused"


@pytest.mark.parametrize(
    ("usage", "completion", "hidden"),
    [
        ({"completion_tokens": 9}, 9, 0),
        (
            {"completion_tokens": 309, "completion_tokens_details": {"reasoning_tokens": 300}},
            309,
            0,
        ),
        (
            {"completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 300}},
            309,
            300,
        ),
        ({"completion_tokens": 9, "total_tokens": 341}, 309, 300),
        ({"completion_tokens": 9, "total_tokens": 20}, 9, 0),
        ({"completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": -1}}, 9, 0),
        ({"completion_tokens": 9, "completion_tokens_details": "much"}, 9, 0),
    ],
)
def test_reasoning_tokens_are_counted_where_they_stand_beside_the_others(
    usage: dict[str, Any], completion: int, hidden: int
):
    reading = read(GOOD, usage={"prompt_tokens": 32} | usage)

    assert (reading.completion_tokens, reading.hidden_tokens) == (completion, hidden)


@given(
    st.sampled_from(["", "<think>", "</think>", "x", None, 7, [], [{"type": "text"}], [7]]),
    st.dictionaries(
        st.sampled_from(
            ["prompt_tokens", "completion_tokens", "total_tokens", "completion_tokens_details"]
        ),
        st.integers(-9, 10**10) | st.none() | st.text() | st.just({"reasoning_tokens": 10**9}),
    ),
    st.sampled_from(["", "thoughts", None, 7, ["x"]]),
)
def test_whatever_a_message_and_its_usage_hold_is_read(text: Any, usage: object, thoughts: Any):
    reading = read(text, usage=usage, reasoning_content=thoughts)

    assert reading.hidden_tokens >= 0
    assert (reading.completion_tokens or 0) <= usage_fields.MAX_COUNT


def hiding(number: int, request: dict[str, Any]) -> Action:
    usage = {
        "prompt_tokens": 32, "completion_tokens": 9, "total_tokens": 341,
        "completion_tokens_details": {"reasoning_tokens": 300},
    }  # fmt: skip
    return answer(solution(request["messages"][-1]["content"]), usage=usage)


def test_hidden_tokens_are_in_the_ledger_and_the_budget_holds_once_they_are_known(
    serve: Serve, tmp_path: Path
):
    server = serve(hiding)
    limits = {"calls": None, "tokens": 20_000, "cost": None}
    run = Run(tmp_path, server.url, 60, spending={"budget": limits})

    said = run.stage("generate", code=3, REDISTILL_CONCURRENCY="1")
    run.stage("generate", code=3, REDISTILL_CONCURRENCY="1")

    (row,) = json.loads(run.redistill("ledger", "--json"))
    assert row["completion_tokens"] == 309 * len(server.calls)
    assert 341 * len(server.calls) <= 20_000
    assert "billed by reasoning_tokens" in said
    assert "more output than the limit of 50 tokens" in said


@pytest.mark.parametrize(
    ("finish", "detail"),
    [("stop", "text in reasoning_content only"), ("length", "spent on thoughts in reasoning_con")],
)
def test_a_run_whose_first_answers_are_thoughts_alone_stops_with_the_way_out(
    finish: str, detail: str, serve: Serve, tmp_path: Path
):
    server = serve(lambda number, request: answer("", finish=finish, reasoning_content="Let me"))
    run = Run(tmp_path, server.url, 60)

    said = run.stage("generate", code=78, REDISTILL_CONCURRENCY="1")

    assert len(server.calls) == 5
    assert detail in said
    assert "max_completion_tokens" in said
    assert "reasoning_effort" in said


def test_some_answers_that_are_thoughts_alone_are_rejected_and_told_of(
    serve: Serve, tmp_path: Path
):
    def script(number: int, request: dict[str, Any]) -> Action:
        text = solution(request["messages"][-1]["content"])
        return answer("", reasoning_content=text) if number % 3 else answer(text)

    server = serve(script)
    run = Run(tmp_path, server.url, 30, teach={"attempts": 1}, generate={"max_loss": 0.9})

    said = run.stage("generate", REDISTILL_CONCURRENCY="1")
    run.stage("generate", REDISTILL_CONCURRENCY="1")

    assert len(server.calls) == 30
    assert run.metrics()["attempts"]["rejected"] == {"only reasoning": 20}
    assert len(run.out()) == 10
    assert "max_completion_tokens" in said


@pytest.mark.parametrize(("setting", "taken"), [("reject", 0), ("take", 1)])
def test_of_wrapped_drafted_and_unmarked_replies_the_rationales_are_taught(
    setting: str, taken: int, serve: Serve, tmp_path: Path
):
    def script(number: int, request: dict[str, Any]) -> Action:
        prompt = request["messages"][-1]["content"]
        right = solution(prompt)
        inner = right.partition("<rationale>\n")[2].removesuffix("\n</rationale>")
        if "Number 0:" in prompt:
            return answer(f"<rationale>\n```\n{inner}<|im_end|>\n```\n</rationale>")
        if "Number 1:" in prompt:
            return answer(f"<think>Maybe {right} hmm</think>\nFirst, 1 + 1.\n#### 3")
        if "Number 2:" in prompt:
            return answer(f"{right}\nI put it between <rationale> and </rationale>.")
        return answer(f"[THINK]<rationale>1\n#### 1</rationale>[/THINK]{inner}")

    run = Run(tmp_path, serve(script).url, 4, teach={"attempts": 1, "unmarked": setting},
              generate={"max_loss": 0.9})  # fmt: skip

    run.stage("generate")

    found, told = {row.problem: row.text for row in run.out()}, run.metrics()["attempts"]
    assert {name: found.get(name) for name in ("p00000", "p00001", "p00002")} == {
        "p00000": "First 0 + 7 = 7.\n#### 7", "p00001": None, "p00002": "First 2 + 7 = 9.\n#### 9"
    }  # fmt: skip
    assert ("p00003" in found, told.get("unmarked", 0)) == (bool(taken), taken)
    right = {} if taken else {"right, but not between the markers": 1}
    assert told["rejected"] == {"no rationale between the markers": 1} | right
