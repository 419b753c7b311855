"""Answers in odd writings: usage, ends, errors, filters and reasons, wherever a server has them."""

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from redistill.llm import attempt_row, response, settlement, usage
from redistill.llm.request import Request
from tests.paid.run import VARIABLE, Run, solution, solving
from tests.paid.server import Script, Server, answer, content, status

Serve = Callable[[Script], Server]
KEY = "sk-/a+b/c3D4e5F6g7H8"
RIGHT = "<rationale>\n#### 1\n</rationale>"


def asked(request: dict[str, Any]) -> str:
    return solution(request["messages"][-1]["content"])


def reading(body: object, code: int = 200) -> response.Reading:
    return response.read(code, json.dumps(body).encode())


def test_an_answer_counted_at_no_tokens_is_counted_at_its_reservation(serve: Serve, tmp_path: Path):
    nothing = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    server = serve(solving(usage=nothing))
    budget = {"calls": None, "tokens": 5000, "cost": None}
    run = Run(tmp_path, server.url, 20, spending={"budget": budget})

    run.stage("generate", code=3, REDISTILL_CONCURRENCY="1")  # 910 are reserved for each

    assert len(server.calls) <= 5


@pytest.mark.parametrize(
    ("text", "finish"),
    [
        ("I think long and", "max_tokens"),
        ("[THINK]x[/THINK]", "stop"),
        ("partial <ra", "error"),
    ],
)  # fmt: skip
def test_an_export_of_answers_that_an_earlier_version_kept_is_imported(
    text: str, finish: str, serve: Serve, tmp_path: Path
):
    run = Run(tmp_path, serve(solving()).url, 3)
    run.stage("generate")
    run.redistill("store", "export", "own.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "own.jsonl").read_text().splitlines()]
    body = json.dumps(content(text, finish=finish))
    told = attempt_row.checksum(rows[0]["key"], "answered", 200, body.encode())
    rows[0] |= {"body": body, "checksum": told, "finish_reason": finish}  # as 88f87c7 wrote it
    (tmp_path / "old.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    said = run.redistill("store", "import", "old.jsonl", REDISTILL_STORE=str(tmp_path / "2.sqlite"))

    assert "3 calls added" in said


def test_a_whole_answer_counts_where_another_to_its_request_is_none_today(
    serve: Serve, tmp_path: Path
):
    server = serve(solving())
    run = Run(tmp_path, server.url, 1)
    run.stage("generate")
    with sqlite3.connect(tmp_path / "store.sqlite") as store:
        names = [row[1] for row in store.execute("pragma table_info(attempts)")]
        row = dict(zip(names, store.execute("select * from attempts").fetchone(), strict=True))
        body = json.dumps(content("part", finish="error")).encode()
        told = attempt_row.checksum(row["key"], "answered", 200, body)
        row |= {"id": 1, "uid": "0" * 32, "body": body, "checksum": told}
        store.execute("update attempts set id = 2")
        marks = ", ".join("?" * len(row))
        store.execute(f"insert into attempts values ({marks})", [*row.values()])  # noqa: S608
    (tmp_path / "out.jsonl").unlink()

    run.stage("generate")

    assert len(server.calls) == 1


@pytest.mark.parametrize(
    ("told", "output"),
    [
        (
            {
                "completion_tokens": 27, "reasoning_tokens": 900,
                "completion_tokens_details": {"reasoning_tokens": 0},
            },
            927,
        ),
        (
            {
                "completion_tokens": 27, "completion_tokens_details": {},
                "output_tokens_details": {"reasoning_tokens": 900},
            },
            927,
        ),
        ({"completion_tokens": "12000"}, 12000),
        ({"completion_tokens": 20_000_000}, 20_000_000),
    ],
)  # fmt: skip
def test_what_is_billed_is_read_wherever_it_stands(told: dict[str, Any], output: int):
    assert usage.read({"usage": {"prompt_tokens": 10, **told}}).completion == output


def test_audio_of_the_prompt_stands_beside_what_it_is_larger_than():
    told = {"prompt_tokens": 10, "prompt_tokens_details": {"audio_tokens": 900}}
    assert usage.read({"usage": told | {"completion_tokens": 5}}).prompt == 910


def test_output_beyond_the_limit_is_counted_where_several_draws_share_it(
    serve: Serve, tmp_path: Path
):
    def script(number: int, request: dict[str, Any]) -> Any:
        whole = content(asked(request), usage={"completion_tokens": 12000})
        return status(200, whole | {"choices": whole["choices"] * request.get("n", 1)})

    run = Run(
        tmp_path, serve(script).url, 1, teach={"draws": 2, "choose": "shortest"},
        openai={"together": True},
    )  # fmt: skip
    run.stage("generate")

    rows = json.loads(run.redistill("ledger", "--json"))
    assert sum(row["completion_tokens"] for row in rows) >= 12000


@pytest.mark.parametrize("manner", ["parts", "thoughts"])
def test_a_key_that_an_answer_has_in_pieces_is_not_taught(
    manner: str, serve: Serve, tmp_path: Path
):
    def script(number: int, request: dict[str, Any]) -> Any:
        before, after = asked(request).split("First")
        one, other = f"{before}First, {KEY[:9]}", f"{KEY[9:]}{after}"
        if manner == "thoughts":
            return answer(f"{KEY[:9]}<think>x</think>{KEY[9:]} {asked(request)}")
        return answer([{"type": "text", "text": text} for text in (one, other)])  # type: ignore[arg-type]

    run = Run(tmp_path, serve(script).url, 2, openai={"key": VARIABLE})
    said = run.stage("generate", code=75, **{VARIABLE: KEY})

    assert "the answer has the key in pieces" in said
    assert KEY[:9].encode() not in (tmp_path / "store.sqlite").read_bytes()


@pytest.mark.parametrize("finish", ["ERROR", "Error", "error_toxic", "failed", "timeout"])
def test_an_end_by_an_error_is_one_however_it_is_written(finish: str):
    found = reading(content("partial", finish=finish)).outcome
    assert found == ("filtered" if finish == "error_toxic" else "upstream_error")


@pytest.mark.parametrize(
    ("finish", "outcome"), [("LENGTH", "truncated"), ("CONTENT_FILTER", "filtered")]
)
def test_the_end_of_an_answer_is_known_in_capitals(finish: str, outcome: str):
    assert reading(content("partial", finish=finish)).outcome == outcome


@pytest.mark.parametrize(
    "body",
    [
        {"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 5}},
        content("") | {"usage": None},
        content(None) | {"usage": {}},
    ],
)
def test_no_choice_and_no_text_that_is_billed_is_no_refusal(body: dict[str, Any]):
    assert reading(body).outcome in response.RETRIED


@pytest.mark.parametrize("code", [499, 425, 424, 400])
def test_a_failure_on_the_way_does_not_drop_a_problem(code: int, serve: Serve, tmp_path: Path):
    def script(number: int, request: dict[str, Any]) -> Any:
        return status(code, "") if number == 3 else answer(asked(request))

    run = Run(tmp_path, serve(script).url, 30)
    run.stage("generate")  # not one that ends well with 29 texts, where another run has 30

    assert len(run.out()) == 30


@pytest.mark.parametrize(
    "error",
    [
        [{"error": {"code": "content_filter", "message": "m"}}],
        {"code": "content_filter", "message": "m"},
        {"error": {"code": "content_filter_error"}},
        {"error": {"code": "moderation_error"}},
        {"error": {"error": {"code": "content_filter"}}},
        {"error": {"code": "bad", "innererror": {"innererror": {"code": "content_filter"}}}},
        {
            "error": {
                "code": None,
                "message": "The response was filtered due to the prompt triggering Azure OpenAI's "
                "content management policy.",
            }
        },
    ],
)
def test_a_prompt_is_filtered_in_whatever_shape_it_is_said(error: object):
    assert reading(error, 400).outcome == "filtered"


def test_a_part_of_text_without_a_type_is_read():
    assert reading(content([{"text": RIGHT}])).text == RIGHT  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "body",
    [
        [{"error": {"code": 429, "message": "daily quota of 50 reached"}}],  # Gemini
        {"message": "daily quota of 50 reached"},  # Mistral
        {"detail": "daily quota of 50 reached"},  # FastAPI
        {"errors": [{"message": "daily quota of 50 reached"}]},  # Cloudflare
        "daily quota of 50 reached",
    ],
)
def test_the_reason_of_a_429_is_told_in_whatever_shape_it_comes(body: object):
    raw = (body if isinstance(body, str) else json.dumps(body)).encode()
    assert "daily quota of 50 reached" in response.read(429, raw).detail


def test_the_reason_of_an_error_with_a_good_status_is_told():
    assert "daily quota" in reading({"code": 429, "message": "daily quota reached"}).detail


def test_a_model_of_two_lines_makes_a_message_of_one(serve: Serve, tmp_path: Path):
    server = serve(lambda n, q: answer(asked(q), model="a\nb"))
    run = Run(tmp_path, server.url, 1, spending={"strict_model": True})

    said = run.stage("generate", code=65)

    assert not [line for line in said.splitlines() if line.startswith("b")]


@pytest.mark.parametrize(
    ("prompt", "counted"), [("word " * 3500, 2048), ("这是一个很长的问题没有空格" * 300, 128)]
)
def test_prompts_that_are_cut_to_a_context_are_noticed(prompt: str, counted: int):
    messages = [{"role": "user", "content": prompt}]
    request = Request("http://127.0.0.1/v1", "m", messages, {"max_tokens": 50}, 0, "p")
    found = reading(content(usage={"prompt_tokens": counted, "completion_tokens": 5}))
    raw = settlement.Raw(200, b"")
    prices = settlement.budget.Prices(input=None, output=None, batch=None)
    ended = settlement.result(1, request, raw, found, prices)
    assert settlement.remarks(request, found, ended)
