"""Missing requests as files of a batch: written, answered by others, and brought in again."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redistill.console.exceptions import RefusedError
from redistill.llm import batch_file, budget, chat_service, endpoint, response, store
from redistill.llm import batches as batched
from redistill.llm.request import Request
from redistill.rationales.teacher import Sitting
from redistill.teachers import openai
from tests.paid.answering import answer
from tests.paid.batch_server import BatchServer, Ending, wrong
from tests.paid.run import Run, solution, solving
from tests.paid.server import content

FILES = {"REDISTILL_BATCH": "files"}
PRICES = {"input": 1.0, "output": 2.0, "batch": 0.5}
COUNT = itertools.count()
NOWHERE = "http://127.0.0.1:9/v1"  # nobody listens there: a batch of files calls nobody


def batches(run: Run) -> list[Path]:
    return sorted((run.root / "batches").glob("*.jsonl"))


def rows(*files: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def answered(row: dict[str, Any]) -> dict[str, Any]:
    """A line of `vllm run-batch` with the right answer to *row*, a line of its input."""
    body = content(solution(row["body"]["messages"][-1]["content"]), reasoning_content=None)
    body |= {"prompt_logprobs": None, "kv_transfer_params": None}
    return one(row, {"status_code": 200, "body": body})


def failed(row: dict[str, Any]) -> dict[str, Any]:
    """A line of `vllm run-batch` for a request that its engine refused."""
    error = {"error": {"message": "too long", "type": "BadRequestError", "code": 400}}
    return one(row, {"status_code": 400, "body": None}, error)


def one(row: dict[str, Any], response: dict[str, Any], error: object = None) -> dict[str, Any]:
    """A line with ids of its own, which no other line has."""
    number = next(COUNT)
    response = {"request_id": f"vllm-batch-{number}"} | response
    own = {"id": f"vllm-{number}", "custom_id": row["custom_id"]}
    return own | {"response": response, "error": error}


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
    assert "set aside: 2 answers" in said
    run.stage("generate", code=4, **FILES)
    assert len(rows(*batches(run))) == 1


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        ({"choices": []}, "upstream_error"),
        ({}, "malformed"),
        ({"choices": [{"text": 1}]}, "malformed"),
    ],
)
def test_a_body_of_another_shape_is_read_as_it_is_live_and_the_others_are_brought_in(
    body: dict[str, Any], outcome: str, tmp_path: Path
):
    run = Run(tmp_path, NOWHERE, 3)
    run.stage("generate", code=4, **FILES)
    odd, *others = rows(*batches(run))
    odd = {"custom_id": odd["custom_id"], "response": {"status_code": 200, "body": body}}

    run.redistill("store", "import", str(output(run, [odd, *map(answered, others)])))

    outcomes = {r["outcome"]: r["calls"] for r in json.loads(run.redistill("ledger", "--json"))}
    assert outcomes == {"answered": 2, outcome: 1}
    assert response.read(200, json.dumps(body).encode()).outcome == outcome


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda line: line | {"custom_id": "f" * 64}, "of no request that a batch"),
        (lambda line: line | {"custom_id": 7}, "no custom_id"),
        (lambda line: line | {"response": None}, "neither a response nor an error"),
        (lambda line: line | {"response": {"status_code": 200, "body": None}}, "no object"),
        (lambda line: line | {"response": {"status_code": 200, "body": []}}, "no object"),
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


def test_an_import_tells_of_answers_that_are_thoughts_alone(tmp_path: Path):
    run = Run(tmp_path, NOWHERE, 3)
    run.stage("generate", code=4, **FILES)
    lines = [answered(row) for row in rows(*batches(run))]
    for line in lines[:2]:
        message = line["response"]["body"]["choices"][0]["message"]
        message |= {"content": "", "reasoning_content": "Let me think"}

    said = run.redistill("store", "import", str(output(run, lines)))

    assert "only reasoning (there is text in reasoning_content only): raise max_compl" in said
    assert ": 2 of 3" in said


def kept(run: Run) -> tuple[list[dict[str, Any]], list[Any]]:
    """All that the store holds of calls and of batches."""
    with store.reading(run.root / "store.sqlite") as known:
        return list(known.export()), known.rows("select * from batches order by token", ())


@pytest.mark.parametrize("named", [True, False])
def test_a_failure_of_an_old_output_is_none_of_the_batch_at_work(named: bool, tmp_path: Path):
    run = Run(tmp_path, NOWHERE, 3, teach={"attempts": 1, "draws": 1}, generate={"max_loss": 0.5})
    run.stage("generate", code=4, **FILES)
    first, *others = rows(*batches(run))
    failure = failed(first)
    if not named:
        del failure["id"], failure["response"]["request_id"]
    old = output(run, [failure, *map(answered, others)])
    run.redistill("store", "import", str(old))
    run.stage("generate", code=4, **FILES)
    pretty = output(run, [{"error": line.pop("error"), **line} for line in rows(old)], "pretty")

    for file in (old, pretty):
        said = run.redistill("store", "import", str(file))
        assert "0 answers added, 0 failures, which are asked again, 2 repeated" in said
        assert "1 lines left out that were taken before" in said

    run.stage("generate", code=4, **FILES)
    new = run.redistill("store", "import", str(output(run, [failed(first)])))
    assert "0 answers added, 1 failure," in new
    run.stage("generate", **FILES)


@pytest.mark.parametrize("named", [True, False])
def test_an_answer_that_was_set_aside_does_not_come_back_from_its_old_output(
    named: bool, tmp_path: Path
):
    run = Run(tmp_path, NOWHERE, 1)
    run.stage("generate", code=4, **FILES)
    (row,) = rows(*batches(run))
    line = answered(row) if named else answered(row) | {"id": None}
    if not named:
        del line["response"]["request_id"]
    old = output(run, [line])
    run.redistill("store", "import", str(old))
    run.redistill("retry", "--where", "outcome=answered")

    for _ in range(2):  # before and after it is asked again
        said = run.redistill("store", "import", str(old))
        assert "0 answers added" in said
        assert "1 lines left out that were taken before" in said
        run.stage("generate", code=4, **FILES)
    newer = answered(row)
    newer["response"]["body"]["id"] = "another"
    both = output(run, [line, newer])
    assert "1 answer added" in run.redistill("store", "import", str(both))
    run.stage("generate", **FILES)


def test_the_output_of_a_batch_that_a_server_answered_is_known_as_well(tmp_path: Path):
    server = BatchServer(lambda number, lines: Ending(errors=[wrong(x, 400) for x in lines]))
    run = Run(tmp_path, server.url, 2)
    run.stage("generate", code=4, REDISTILL_BATCH="api")
    run.stage("generate", code=4, REDISTILL_BATCH="api")
    output = tmp_path / "errors.jsonl"
    output.write_bytes(server.files["batch_0-error_file_id"])

    said = run.redistill("store", "import", str(output))

    assert "0 answers added, 0 failures" in said
    assert "2 lines left out" in said
    server.close()


@pytest.mark.parametrize("number", range(5))
def test_an_import_that_is_killed_has_added_nothing(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run = Run(tmp_path, NOWHERE, 5)
    run.stage("generate", code=4, **FILES)
    asked = rows(*batches(run))
    run.redistill("store", "import", str(output(run, [failed(row) for row in asked])))
    late = output(run, [answered(row) for row in asked])
    before = kept(run)
    settle, calls = store.Writer.settle, iter(range(9))

    def killed(*words: Any) -> None:
        if next(calls) == number:
            raise KeyboardInterrupt
        settle(*words)

    monkeypatch.setattr(store.Writer, "settle", killed)
    with store.writing(run.root / "store.sqlite") as writer, pytest.raises(KeyboardInterrupt):
        batched.bring_in(writer, late)
    monkeypatch.undo()

    assert kept(run) == before
    assert "5 answers added" in run.redistill("store", "import", str(late))
    run.stage("generate", **FILES)


def test_what_waits_in_a_batch_that_has_ended_is_named_and_let_go(serve: Callable, tmp_path: Path):
    run = Run(tmp_path, NOWHERE, 3)
    run.stage("generate", code=4, **FILES)
    file = run.root / "store.sqlite"
    with store.writing(file) as writer, writer.transaction() as connection:
        connection.execute("update batches set state = 'done'")

    live = run.stage("generate", code=4)
    said = run.stage("generate", code=4, **FILES)
    released = run.redistill("store", "abandon", live.rpartition(" ")[2].strip())

    assert "3 requests have no answer; those in" in said
    assert "3 requests wait in it no longer" in released
    with store.reading(file) as known:
        assert {row["state"] for row in known.export()} == {"done"}


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


def test_what_another_run_puts_into_a_batch_meanwhile_is_not_asked_live(
    serve: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    server = serve(lambda number, request: pytest.fail("bought twice"))
    run = Run(tmp_path, server.url, 3)
    settings = openai.Settings(**run.settings["openai"])
    spending = budget.SpendingSettings(**run.settings["spending"])
    sitting = Sitting("generate", "r0", "math", range(1), spending=spending)
    policy = endpoint.policy

    def slowly() -> endpoint.Policy:
        if not batches(run):
            run.stage("generate", code=4, **FILES)
        return policy()

    monkeypatch.setattr(chat_service, "policy", slowly)
    with pytest.raises(RefusedError, match="3 of the requests wait in the batch"):
        openai.explain(run.problems, settings, sitting)

    assert server.calls == []


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
