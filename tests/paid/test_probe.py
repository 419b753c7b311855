"""The first few texts of a paid teacher are judged before the rest is asked for."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from redistill.records import jsonl
from tests.paid.run import Run, solution, solving
from tests.paid.server import Action, Script, Server, always, answer

Serve = Callable[[Script], Server]
PARTS = [{"type": "output", "text": "the answer"}]


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (answer("<rationale>I am still", finish="length"), "8 truncated"),
        (answer("", reasoning_content="Let me think"), "thoughts alone (there is text in reason"),
        (answer("I would say seven."), "8 no rationale between the markers"),
        (answer("<rationale>\nSeven.\n</rationale>"), "8 not in the answer format"),
        (answer("<rationale>\n#### 12345\n</rationale>"), "8 wrong answer"),
        (answer(PARTS), "thoughts alone (there is text in parts of the content only)"),
    ],
)
def test_a_teacher_of_whom_nothing_can_be_taught_is_paid_for_a_few_calls_only(
    reply: Action, told: str, serve: Serve, tmp_path: Path
):
    server = serve(always(reply))
    run = Run(tmp_path, server.url, 90)

    said = run.stage("generate", code=78)

    assert len(server.calls) <= 8
    assert told in said


def test_the_message_names_rows_reasons_and_the_way_out_and_a_rerun_is_free(
    serve: Serve, tmp_path: Path
):
    server = serve(always(answer("half", finish="length")))
    run = Run(tmp_path, server.url, 90, teach={"probe": 5})

    said = run.stage("generate", code=78)
    again = run.stage("generate", code=78)

    assert again in said
    assert len(server.calls) == 5
    assert "first 5 problems was accepted (5 truncated; p00000, p00001, p00002, ...)" in said
    assert "other 85 are not asked about: raise max_tokens" in said


def test_one_accepted_text_is_enough_to_go_on(serve: Serve, tmp_path: Path):
    def script(number: int, request: dict[str, Any]) -> Action:
        text = solution(request["messages"][-1]["content"])
        return answer("half", finish="length") if number % 8 else answer(text)

    server = serve(script)
    run = Run(tmp_path, server.url, 20, teach={"attempts": 1})

    said = run.stage("generate", code=65, REDISTILL_CONCURRENCY="1")

    assert len(server.calls) == 20
    assert "rows" in said


def test_a_run_that_may_lose_most_of_its_rows_is_not_stopped_for_losing_them(
    serve: Serve, tmp_path: Path
):
    server = serve(always(answer("<rationale>\n#### 12345\n</rationale>")))
    run = Run(tmp_path, server.url, 20, teach={"attempts": 1}, generate={"max_loss": 1.0})

    run.stage("generate")

    assert len(server.calls) == 20


@pytest.mark.parametrize("probe", [None, 20])
def test_null_and_a_probe_of_all_ask_about_all_at_once(
    probe: int | None, serve: Serve, tmp_path: Path
):
    server = serve(solving(0.1))
    run = Run(tmp_path, server.url, 20, teach={"probe": probe})

    run.stage("generate", REDISTILL_CONCURRENCY="20")

    assert server.most_at_once == 20


@pytest.mark.parametrize(("text", "calls", "code"), [("half", 8, 78), ("#### 7", 20, 0)])
def test_rewrites_are_stopped_for_how_the_teacher_is_asked_and_not_for_being_no_better(
    text: str, calls: int, code: int, serve: Serve, tmp_path: Path
):
    reply = f"<rationale>\n{text}\n</rationale>" if code == 0 else text
    server = serve(always(answer(reply)))
    run = Run(tmp_path, server.url, 20, teach={"attempts": 1})

    run.stage("refine", code=code)

    assert len(server.calls) == calls


def echoing(number: int, request: dict[str, Any]) -> Action:
    """A server that gives each rationale of a first round back as it was."""
    answered = solution(request["messages"][-1]["content"]).rpartition("#### ")[2]
    return answer(f"<rationale>\n#### {answered}")


def test_rewrites_that_are_all_the_text_before_are_stopped_with_the_way_out(
    serve: Serve, tmp_path: Path
):
    server = serve(echoing)
    run = Run(tmp_path, server.url, 20, teach={"attempts": 3})

    said = run.stage("refine", code=78)

    assert len(server.calls) == 8
    assert "not one text for the first 8 problems was accepted (8 unchanged; p00000" in said
    assert "word for word the text that it was to replace" in said
    assert "redistill show ID --replies" in said


def test_a_rewrite_that_is_the_text_before_is_not_asked_for_again(serve: Serve, tmp_path: Path):
    server = serve(echoing)
    run = Run(tmp_path, server.url, 20, teach={"attempts": 3, "probe": None})

    run.stage("refine")

    assert len(server.calls) == 20
    assert run.metrics()["kept"] == {"unchanged": 20}


def test_golds_that_the_grader_cannot_read_are_named_before_a_call_is_planned(
    serve: Serve, tmp_path: Path
):
    server = serve(solving())
    run = Run(tmp_path, server.url, 20)
    odd = run.problems[3].model_copy(update={"answer": "a handful"})
    jsonl.write(tmp_path / "data/problems/train.jsonl", [*run.problems[:3], odd])

    said = run.redistill("plan", code=65)

    assert f"'{odd.id}': answer 'a handful' is read as" in said
    assert "1 problem (" in said
    assert json.loads(run.redistill("ledger", "--json")) == []
