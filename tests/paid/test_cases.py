"""Answers of endpoints that users met, whole: what each is worth (the cases that failed once)."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.paid.run import Run
from tests.paid.server import Script, Server, always, status

Serve = Callable[[Script], Server]
TEXT = "<rationale>\n0 + 7 = 7\n#### 7\n</rationale>"  # right for the one problem of the run
USAGE = {"prompt_tokens": 10, "completion_tokens": 40}


def body(content: object, finish: str = "stop", usage: object = None, **message: Any) -> str:
    said = {"role": "assistant", "content": content, **message}
    choice = {"index": 0, "finish_reason": finish, "message": said}
    return json.dumps({"id": "x", "model": "m", "choices": [choice], "usage": usage or USAGE})


SPENT = {"completion_tokens_details": {"reasoning_tokens": 50}, **USAGE, "completion_tokens": 50}
APART = {
    **{"prompt_tokens": 32, "completion_tokens": 9, "total_tokens": 341},
    "completion_tokens_details": {"reasoning_tokens": 300},
}
THINKING = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}], "closed": True}
FILTER = {
    **{"message": "the prompt was filtered", "type": None, "code": "content_filter"},
    "innererror": {"code": "ResponsibleAIPolicyViolation"},
}
BUSY = {"message": "Provider returned error", "code": 429, "metadata": {"provider_name": "P"}}
UPSTREAM = {"code": 502, "message": "upstream failed"}
FAILED = {
    **{"index": 0, "finish_reason": "error", "error": UPSTREAM},
    "message": {"role": "assistant", "content": ""},
}
NOTHING = {"prompt_tokens": 10, "completion_tokens": 0}
STREAM = 'data: {"choices":[{"delta":{"content":"hi"}}]}\n\ndata: [DONE]\n'
DRAFT = f"<think>Maybe {TEXT} hmm</think>\nFirst, 1 + 1.\n#### 3"


@pytest.mark.parametrize(
    ("code", "answered", "exit_code", "outcome", "tokens"),
    [
        pytest.param(200, json.dumps({"error": BUSY}), 75, "upstream_error", None, id="b01"),
        pytest.param(
            200, json.dumps({"choices": [FAILED], "usage": NOTHING}), 75, "upstream_error", None,
            id="b02",
        ),
        pytest.param(200, body("", usage=NOTHING), 75, "upstream_error", None, id="b04"),
        pytest.param(200, body("", reasoning_content=TEXT), 65, "only_reasoning", 50, id="b05"),
        pytest.param(
            200, body("", "length", SPENT, reasoning_content="Let me think"), 65, "truncated", 60,
            id="b06",
        ),
        pytest.param(
            200, body([THINKING, {"type": "text", "text": TEXT}]), 0, "answered", 50, id="b07"
        ),
        pytest.param(200, body(TEXT, usage=APART), 0, "answered", 341, id="b08"),
        pytest.param(400, json.dumps({"error": FILTER}), 65, "filtered", None, id="b10"),
        pytest.param(200, STREAM, 75, "malformed", None, id="b11"),
        pytest.param(404, "404 page not found", 77, "no_permission", 0, id="b13"),
        pytest.param(200, body(DRAFT), 65, "answered", 50, id="b16"),
    ],
)  # fmt: skip
def test_an_answer_that_users_met_is_worth_what_they_expect(
    code: int, answered: str, exit_code: int, outcome: str, tokens: int | None, serve: Serve,
    tmp_path: Path,
):  # fmt: skip
    server = serve(always(status(code, answered)))
    run = Run(tmp_path, server.url, 1, teach={"attempts": 1})

    run.stage("generate", code=exit_code, REDISTILL_ATTEMPTS="2")

    (row,) = json.loads(run.redistill("ledger", "--json"))
    assert row["outcome"] == outcome
    if tokens is not None:
        assert row["prompt_tokens"] + row["completion_tokens"] == tokens
    else:  # counted at the reservation, as often as it was asked
        assert row["completion_tokens"] == 50 * row["calls"]
    assert row["calls"] == len(server.calls) == (2 if exit_code == 75 else 1)
    assert (tmp_path / "out.jsonl").exists() == (exit_code == 0)
    if exit_code == 0:
        assert [lesson.text for lesson in run.out()] == ["0 + 7 = 7\n#### 7"]
