"""Missing requests as files of a batch: written, answered by others, and brought in again."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redistill.llm import batch_file, store
from redistill.llm.request import Request
from tests.paid.answering import answer
from tests.paid.run import Run, solution, solving
from tests.paid.server import content

FILES = {"REDISTILL_BATCH": "files"}
PRICES = {"input": 1.0, "output": 2.0, "batch": 0.5}
NOWHERE = "http://127.0.0.1:9/v1"  # nobody listens there: a batch of files calls nobody


def batches(run: Run) -> list[Path]:
    return sorted((run.root / "batches").glob("*.jsonl"))


def rows(*files: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def answered(row: dict[str, Any]) -> dict[str, Any]:
    """A line of `vllm run-batch` with the right answer to *row*, a line of its input."""
    body = content(solution(row["body"]["messages"][-1]["content"]), reasoning_content=None)
    body |= {"prompt_logprobs": None, "kv_transfer_params": None}
    response = {"status_code": 200, "request_id": "vllm-batch-1", "body": body}
    return {
        "id": "vllm-1", "custom_id": row["custom_id"], "response": response, "error": None
    }  # fmt: skip


def failed(row: dict[str, Any]) -> dict[str, Any]:
    """A line of `vllm run-batch` for a request that its engine refused."""
    error = {"error": {"message": "too long", "type": "BadRequestError", "code": 400}}
    response = {"status_code": 400, "request_id": "vllm-batch-2", "body": None}
    return {"id": "vllm-2", "custom_id": row["custom_id"], "response": response, "error": error}


def output(run: Run, lines: list[dict[str, Any]], name: str = "output.jsonl") -> Path:
    file = run.root / name
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


def test_a_stage_writes_what_is_missing_and_says_in_one_line_what_to_do(tmp_path: Path):
    run = Run(tmp_path, NOWHERE, 7)

    said = run.stage("generate", code=4, **FILES)

    (file,) = batches(run)
    assert len(said.strip().splitlines()) == 1
    assert f"7 requests have no answer; those in {file} wait for one" in said
    assert f"vllm run-batch -i {file} -o OUTPUT.jsonl" in said
    assert "redistill store import OUTPUT.jsonl, then dvc repro" in said
    first = rows(file)[0]
    assert list(first) == ["custom_id", "method", "url", "body"]
    assert (first["method"], first["url"]) == ("POST", "/v1/chat/completions")
    assert first["body"]["model"] == "m"
    assert first["body"]["max_tokens"] == 50
    assert len(first["custom_id"]) == 64  # the most that OpenAI takes
    assert file.stat().st_mode & 0o777 == 0o600


def test_the_output_of_vllm_run_batch_is_brought_in_and_the_stage_goes_on(tmp_path: Path):
    run = Run(tmp_path, NOWHERE, 7, spending={"prices": PRICES})
    run.stage("generate", code=4, **FILES)
    (file,) = batches(run)

    said = run.redistill("store", "import", str(output(run, [answered(r) for r in rows(file)])))
    run.stage("generate", **FILES)

    assert "7 answers added, 0 failures" in said
    assert len(run.out()) == 7
    assert batches(run) == []
    (row,) = json.loads(run.redistill("ledger", "--json"))
    assert (row["outcome"], row["calls"], row["batched"]) == ("answered", 7, 7)
    assert row["nano"] == 7 * (1000 * (10 * 1.0 + 5 * 2.0)) / 2


def test_an_answer_bought_by_batch_is_that_of_the_live_request_and_the_reverse(
    serve: Callable, tmp_path: Path
):
    server = serve(lambda number, request: pytest.fail("asked again"))
    run = Run(tmp_path, server.url, 3)
    run.stage("generate", code=4, **FILES)
    run.redistill("store", "import", str(output(run, [answered(r) for r in rows(*batches(run))])))

    run.stage("generate")
    run.stage("generate", REDISTILL_BATCH="api")

    assert server.calls == []


def test_a_line_holds_what_the_live_call_sends(serve: Callable, tmp_path: Path):
    server = serve(solving())
    changes = {"seed": 5, "system": "You teach.", "examples": [{"user": "2+2?", "assistant": "4"}]}
    run = Run(tmp_path, server.url, 3, openai=changes)
    run.stage("generate", code=4, **FILES)

    answer(server.url, *batches(run), tmp_path / "output.jsonl")
    run.redistill("store", "import", str(tmp_path / "output.jsonl"))
    run.stage("generate", **FILES)
    by_file, server.calls[:] = list(server.calls), []
    run.stage("generate", REDISTILL_STORE=str(tmp_path / "another.sqlite"))

    assert len(run.out()) == 3
    live = sorted(json.dumps(call, sort_keys=True) for call in server.calls)
    assert live == sorted(json.dumps(call, sort_keys=True) for call in by_file)


def test_failed_lines_are_asked_again_and_repeated_answers_count_once(tmp_path: Path):
    run = Run(tmp_path, NOWHERE, 5)
    run.stage("generate", code=4, **FILES)
    asked = rows(*batches(run))
    good = [answered(row) for row in asked[:3]]
    unserved = {
        "custom_id": asked[4]["custom_id"],
        "response": None,
        "error": {"code": "batch_expired", "message": "could not be run in time"},
    }

    lines = [failed(asked[0]), *good, good[0], failed(asked[3]), unserved]
    said = run.redistill("store", "import", str(output(run, lines)))
    again = run.redistill("store", "import", str(output(run, lines)))
    run.stage("generate", code=4, **FILES)

    assert "3 answers added, 2 failures, which are asked again, 1 repeated" in said
    assert "0 answers added, 0 failures, which are asked again, 4 repeated" in again
    assert [r["custom_id"] for r in rows(*batches(run))] == [r["custom_id"] for r in asked[3:]]
    outcomes = {r["outcome"]: r["calls"] for r in json.loads(run.redistill("ledger", "--json"))}
    assert outcomes == {"answered": 3, "bad_request": 1, "unserved": 1, "in_batch": 2}


def test_what_two_batches_refuse_is_a_failure_of_its_problem_and_can_be_asked_again(tmp_path: Path):
    run = Run(tmp_path, NOWHERE, 5, teach={"attempts": 1, "draws": 1}, generate={"max_loss": 0.5})
    for _ in range(2):
        run.stage("generate", code=4, **FILES)
        first, *others = rows(*batches(run))
        lines = [failed(first), *(answered(row) for row in others)]
        run.redistill("store", "import", str(output(run, lines)))

    run.stage("generate", **FILES)
    said = run.redistill("retry", "--where", "outcome=bad_request")

    assert run.metrics()["attempts"]["rejected"] == {"bad request": 1}
    assert "2 answers are set aside" in said
    run.stage("generate", code=4, **FILES)
    assert len(rows(*batches(run))) == 1


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda line: line | {"custom_id": "f" * 64}, "of no request that a batch"),
        (lambda line: line | {"custom_id": 7}, "no custom_id"),
        (lambda line: line | {"response": None}, "neither a response nor an error"),
        (lambda line: line | {"response": {"status_code": 200, "body": {}}}, "no chat completion"),
        (
            lambda line: line | {"response": {"status_code": 200, "body": {"choices": []}}},
            "no chat",
        ),
        (lambda line: line | {"response": {"status_code": "x", "body": {}}}, "no HTTP status"),
        (lambda line: line | {"response": "text"}, "the response is no object"),
        (lambda line: 7, "no custom_id"),
    ],
)
def test_a_hostile_line_is_refused_with_its_number_and_nothing_is_added(
    change: Callable[[dict], object], fault: str, tmp_path: Path
):
    run = Run(tmp_path, NOWHERE, 3)
    run.stage("generate", code=4, **FILES)
    lines = [answered(row) for row in rows(*batches(run))]
    file = output(run, [*lines[:2], change(lines[2])])  # type: ignore[list-item]

    said = run.redistill("store", "import", str(file), code=65)

    assert f"{file}:3: " in said
    assert fault in said
    with store.reading(run.root / "store.sqlite") as known:
        assert {row["state"] for row in known.export()} == {"batched"}


def test_a_file_that_was_lost_is_written_again_and_one_half_answered_holds_the_rest(
    tmp_path: Path,
):
    run = Run(tmp_path, NOWHERE, 4)
    run.stage("generate", code=4, **FILES)
    (file,) = batches(run)
    whole = file.read_bytes()
    file.unlink()

    run.stage("generate", code=4, **FILES)
    assert file.read_bytes() == whole

    run.redistill("store", "import", str(output(run, [answered(r) for r in rows(file)[:3]])))
    run.stage("generate", code=4, **FILES)
    assert file.read_bytes() == whole.splitlines(keepends=True)[3]


def test_only_what_the_budget_holds_is_written_at_the_price_of_a_batch(tmp_path: Path):
    run = Run(tmp_path, NOWHERE, 9, spending={"prices": PRICES})
    run.stage("generate", code=4, **FILES)
    with store.reading(run.root / "store.sqlite") as known:
        half = known.committed().cost
    (tmp_path / "other").mkdir()
    other = Run(
        tmp_path / "other",
        NOWHERE,
        9,
        spending={
            "prices": PRICES,
            "budget": {"calls": None, "tokens": None, "cost": 0.7 * (half or 0)},
        },
    )

    planned = json.loads(other.redistill("plan", "--json", **FILES))[0]
    live = json.loads(other.redistill("plan", "--json"))[0]
    said = other.stage("generate", code=3, **FILES)

    assert live["nano"] == pytest.approx(2 * planned["nano"], rel=0.001)
    (file,) = batches(other)
    assert 4 <= len(rows(file)) <= 7
    assert "the budget is reached" in said
    assert str(file) in said


def test_a_budget_in_money_needs_the_share_that_a_batch_costs(tmp_path: Path):
    run = Run(
        tmp_path,
        NOWHERE,
        3,
        spending={
            "prices": PRICES | {"batch": None},
            "budget": {"calls": None, "tokens": None, "cost": 1.0},
        },
    )

    assert "prices.batch" in run.stage("generate", code=78, **FILES)
    assert batches(run) == []


def test_nothing_that_waits_in_a_file_is_asked_live_until_it_is_let_go(
    serve: Callable, tmp_path: Path
):
    server = serve(lambda number, request: pytest.fail("bought twice"))
    run = Run(tmp_path, server.url, 3)
    run.stage("generate", code=4, **FILES)
    (file,) = batches(run)

    said = run.stage("generate", code=4)
    name = said.rpartition(" ")[2].strip()
    before = rows(file)
    run.redistill("store", "abandon", "unknown", code=2)
    released = run.redistill("store", "abandon", name)

    assert "3 of the requests wait in the batch" in said
    assert "3 requests wait in it no longer" in released
    assert server.calls == []
    run.stage("generate", code=4, **FILES)
    (other,) = batches(run)
    assert other != file
    assert rows(other) == before


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["choices", "message", "error", "code"]), inner)
    ),
    max_leaves=9,
)


@given(
    st.fixed_dictionaries(
        {"custom_id": JSON | st.just("k")},
        optional={
            "error": JSON,
            "response": JSON
            | st.fixed_dictionaries({}, optional={"status_code": JSON, "body": JSON}),
        },
    )
)
def test_no_line_whatever_it_holds_is_more_than_an_answer_a_failure_or_a_fault(row: dict):
    ((number, found),) = batch_file.outputs([json.dumps(row).encode()])

    assert number == 1
    assert isinstance(found, str | batch_file.Line)


def test_a_line_that_nests_too_deep_is_a_fault():
    for depth in (300, 900, 990, 5000):
        body = b'{"choices": [{"message": {}}], "x": ' + b"[" * depth + b"]" * depth + b"}"
        line = b'{"custom_id": "k", "response": {"body": ' + body + b"}}"
        assert len(list(batch_file.outputs([line]))) == 1


def test_requests_are_split_by_their_number_and_by_their_bytes():
    requests = [Request("e", "m", [{"role": "user", "content": "x" * n}], {}) for n in (1, 2, 300)]
    size = len(batch_file.line(requests[2]))

    assert [len(p) for p in batch_file.split(requests, 2, 10**6)] == [2, 1]
    assert [len(p) for p in batch_file.split(requests, 9, size)] == [2, 1]
    assert [len(p) for p in batch_file.split(requests, 9, 2 * size)] == [3]
    with pytest.raises(Exception, match="takes"):
        batch_file.split(requests, 9, size - 1)


def test_another_word_for_the_manner_is_refused(tmp_path: Path):
    run = Run(tmp_path, NOWHERE, 1)

    assert "expected api, anthropic or files" in run.stage(
        "generate", code=78, REDISTILL_BATCH="on"
    )
