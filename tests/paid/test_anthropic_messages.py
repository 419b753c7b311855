"""A chat completion said as a message of Anthropic's, and its answer said as ours."""

import json
from typing import Any

import pytest

from redistill.console.exceptions import CONFIG, RefusedError
from redistill.llm import anthropic_messages, batch_file, response
from redistill.llm.batch_file import Line
from redistill.llm.request import Request
from tests.paid.anthropic_server import errored, message, unserved

REQUEST = {"custom_id": "k"}


def request(*turns: tuple[str, str], **body: Any) -> Request:
    messages = [{"role": role, "content": text} for role, text in turns or [("user", "Add.")]]
    return Request("https://api.anthropic.com/v1", "m", messages, body)


def read(result: dict[str, Any]) -> Line:
    """What is read of a line of results, by way of an output's line."""
    text = json.dumps({"custom_id": "k", "result": result}).encode()
    ((_, line),) = batch_file.outputs([anthropic_messages.line(text)])
    assert isinstance(line, Line)
    return line


def succeeded(*blocks: dict[str, Any], **fields: Any) -> Line:
    return read({"type": "succeeded", "message": message("", content=list(blocks), **fields)})


def test_a_request_is_said_whole():
    said = anthropic_messages.params(
        request(
            ("system", "Be brief."), ("user", "1 + 1"), ("assistant", "2"), ("user", "2 + 2"),
            max_completion_tokens=50, temperature=0.5, top_p=0.9, stop="END",
            thinking={"type": "disabled"},
        )
    )  # fmt: skip

    assert said == {
        "model": "m",
        "max_tokens": 50,
        "system": "Be brief.",
        "messages": [
            {"role": "user", "content": "1 + 1"},
            {"role": "assistant", "content": "2"},
            {"role": "user", "content": "2 + 2"},
        ],
        "temperature": 0.5,
        "top_p": 0.9,
        "stop_sequences": ["END"],
        "thinking": {"type": "disabled"},
    }


def test_several_system_turns_are_one_prompt_and_null_is_what_is_not_set():
    turns = [("system", "One."), ("developer", "Two."), ("user", "Add.")]

    said = anthropic_messages.params(request(*turns, max_tokens=5, temperature=None, stop=["a"]))

    assert said["system"] == "One.\nTwo."
    assert said["stop_sequences"] == ["a"]
    assert "temperature" not in said


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ({}, "max_tokens"),
        ({"max_tokens": 5, "max_completion_tokens": 6}, "max_tokens"),
        ({"max_tokens": 5, "temperature": 1.5}, "temperature"),
        ({"max_tokens": 5, "stop": [1]}, "stop"),
        ({"max_tokens": 5, "seed": 1}, "seed"),
        ({"max_tokens": 5, "response_format": {}}, "response_format"),
        ({"max_tokens": 5, "reasoning_effort": "low"}, "reasoning_effort"),
    ],
)
def test_what_a_message_cannot_say_is_refused_by_its_name(body: dict[str, Any], name: str):
    with pytest.raises(RefusedError, match=f"^{name}: cannot be asked for") as refused:
        anthropic_messages.params(request(**body))
    assert refused.value.code == CONFIG


def test_a_turn_that_a_message_does_not_have_is_refused():
    with pytest.raises(RefusedError, match="the role tool"):
        anthropic_messages.params(request(("tool", "4"), max_tokens=5))


def test_text_is_joined_and_the_tokens_of_a_cache_are_part_of_the_prompt():
    usage = {
        "input_tokens": 10, "cache_creation_input_tokens": 3, "cache_read_input_tokens": 4,
        "output_tokens": 5,
    }  # fmt: skip

    line = succeeded(
        {"type": "text", "text": "2 + 2 "}, {"type": "text", "text": "= 4"}, usage=usage
    )

    assert (line.key, line.reading.outcome, line.reading.text) == ("k", "answered", "2 + 2 = 4")
    assert (line.reading.prompt_tokens, line.reading.completion_tokens) == (17, 5)
    assert (line.reading.model, line.reading.finish_reason) == ("m", "stop")
    kept = json.loads(line.raw.body)["anthropic"]
    assert kept["usage"] == usage
    assert [block["text"] for block in kept["content"]] == ["2 + 2 ", "= 4"]


def test_what_was_thought_is_kept_beside_the_text_and_never_in_it():
    thought = {"type": "thinking", "thinking": "Is it 5?", "signature": "s"}
    usage = {
        "input_tokens": 10, "output_tokens": 9, "output_tokens_details": {"thinking_tokens": 7}
    }  # fmt: skip

    line = succeeded(thought, {"type": "text", "text": "4"}, usage=usage)

    assert (line.reading.text, line.reading.thoughts) == ("4", "reasoning_content")
    assert (line.reading.completion_tokens, line.reading.hidden_tokens) == (9, 0)
    said = json.loads(line.raw.body)["choices"][0]["message"]
    assert (said["content"], said["reasoning_content"]) == ("4", "Is it 5?")


@pytest.mark.parametrize(
    "block",
    [
        {"type": "thinking", "thinking": "Is it 5?", "signature": "s"},
        {"type": "thinking", "thinking": "", "signature": "s"},
        {"type": "redacted_thinking", "data": "xyz"},
    ],
)
def test_thoughts_alone_are_a_reason_of_their_own(block: dict[str, Any]):
    assert succeeded(block).reading.outcome == "only_reasoning"
    assert succeeded(block, stop_reason="max_tokens").reading.outcome == "truncated"


@pytest.mark.parametrize(
    ("reason", "outcome"),
    [
        ("end_turn", "answered"),
        ("stop_sequence", "answered"),
        ("max_tokens", "truncated"),
        ("model_context_window_exceeded", "truncated"),
        ("pause_turn", "truncated"),
        ("refusal", "filtered"),
    ],
)
def test_why_an_answer_ended_is_said_in_our_words(reason: str, outcome: str):
    line = succeeded({"type": "text", "text": "4"}, stop_reason=reason)

    assert line.reading.outcome == outcome


@pytest.mark.parametrize(
    ("kind", "outcome"),
    [
        ("invalid_request_error", "bad_request"),
        ("request_too_large", "bad_request"),
        ("authentication_error", "no_permission"),
        ("permission_error", "no_permission"),
        ("not_found_error", "no_permission"),
        ("billing_error", "no_quota"),
        ("rate_limit_error", "rate_limited"),
        ("overloaded_error", "server_error"),
        ("timeout_error", "server_error"),
        ("api_error", "server_error"),
        ("of another kind", "server_error"),
    ],
)
def test_an_error_costs_nothing_and_is_read_as_that_of_a_live_call(kind: str, outcome: str):
    line = read(errored(REQUEST, kind, "why")["result"])

    assert line.reading.outcome == outcome
    assert line.reading.outcome not in response.MAYBE_BILLED
    assert f"{kind}: why" in line.reading.detail
    assert json.loads(line.raw.body)["anthropic"]["error"]["request_id"] == "req_1"


@pytest.mark.parametrize("kind", ["expired", "canceled"])
def test_what_a_batch_did_not_get_to_was_not_asked(kind: str):
    assert read(unserved(REQUEST, kind)["result"]).reading.outcome == "unserved"


@pytest.mark.parametrize(
    "row",
    [
        "no JSON",
        "[" * 100_000,
        '{"custom_id": "k"}',
        '{"custom_id": "k", "result": {"type": "succeeded"}}',
        '{"custom_id": "k", "result": {"type": "succeeded", "message": {"content": [1]}}}',
        '{"custom_id": "k", "result": {"type": "of another kind"}}',
        '{"result": {"type": "expired"}}',
    ],
)
def test_a_line_that_is_no_result_is_a_fault_and_no_answer(row: str):
    ((_, line),) = batch_file.outputs([anthropic_messages.line(row.encode())])

    assert isinstance(line, str)
