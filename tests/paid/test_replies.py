"""What a paid teacher said of a problem is shown reply by reply, each with what became of it."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from redistill.cli import replies
from redistill.console.exceptions import RefusedError
from redistill.records import jsonl
from redistill.records.types import Problem, Rationale
from tests.paid.run import Run, solution
from tests.paid.server import Action, Script, Server, always, answer, status

Serve = Callable[[Script], Server]


def in_turn(*replied: Action) -> Script:
    """A server that answers with each of *replied*, then with what is right."""

    def script(number: int, request: dict[str, Any]) -> Action:
        right = answer(solution(request["messages"][-1]["content"]))
        return [*replied, *[right] * 99][number]

    return script


def test_every_reply_is_shown_whole_with_its_attempt_and_the_reason_against_it(
    serve: Serve, tmp_path: Path
):
    long = "Let me see. " * 800
    server = serve(
        in_turn(
            answer(f"{long}It is seven."),
            answer("<rationale>\nSeven.\n#### 8\n</rationale>"),
            answer("<rationale>I am still", finish="length"),
        )
    )
    run = Run(tmp_path, server.url, 1, teach={"attempts": 4})
    run.stage("generate")
    os.replace(tmp_path / "out.jsonl", tmp_path / "data/rationales/r0.jsonl")

    said = run.redistill("show", "p00000", "--replies")

    assert "p00000: Number 0: add 0 and 7.\ngold answer: 7\n" in said
    assert "== generate r0, attempt 1, draw 0, by m\n" in said
    assert f"rejected: no rationale between the markers:\n    {long}It is seven." in said
    assert "attempt 2, draw 1, by m\nrejected: wrong answer:\n    <rationale>\n    Seven." in said
    assert "attempt 3, draw 2, by m\nrejected: truncated:\n    {" in said
    assert "attempt 4, draw 3, by m\naccepted, and taught:\n    I think." in said
    assert len(server.calls) == 4


def test_a_call_that_brought_no_reply_is_not_shown_as_a_text_that_was_rejected(
    serve: Serve, tmp_path: Path
):
    busy = {"error": {"message": "slow down"}}
    server = serve(in_turn(status(429, busy, **{"Retry-After": "0"})))
    run = Run(tmp_path, server.url, 1)
    run.stage("generate")
    os.replace(tmp_path / "out.jsonl", tmp_path / "data/rationales/r0.jsonl")

    said = run.redistill("show", "p00000", "--replies")

    assert "no reply (rate limited): it is asked again:\n" in said
    assert "accepted, and taught:" in said
    assert "rejected" not in said


def test_a_rewrite_is_judged_as_refine_judges_it(serve: Serve, tmp_path: Path):
    given = ["<rationale>\n#### 7\n</rationale>", "<rationale>\n7.\n#### 7\n</rationale>"]
    server = serve(in_turn(*map(answer, given)))
    run = Run(tmp_path, server.url, 1, teach={"draws": 2}, guard={"max_growth": 20.0})
    run.stage("refine", REDISTILL_CONCURRENCY="1")
    os.replace(tmp_path / "out.jsonl", tmp_path / "data/rationales/r1.jsonl")

    said = run.redistill("show", "p00000", "--replies")

    assert "== refine r1, attempt 1, draw 0, by m\nrejected: unchanged:\n    <rationale>" in said
    assert "== refine r1, attempt 1, draw 1, by m\naccepted, and taught:\n" in said

    file = tmp_path / "data/rationales/r0.jsonl"
    (old,) = jsonl.read(file, Rationale)
    jsonl.write(file, [old.model_copy(update={"text": "It is now another.\n#### 7"})])
    assert said.count("not judged") == 0
    assert run.redistill("show", "p00000", "--replies").count("not judged: it was asked about") == 2


def test_what_was_set_aside_and_what_is_of_a_round_that_is_gone_is_not_judged(
    serve: Serve, tmp_path: Path
):
    server = serve(always(answer("nothing")))
    run = Run(tmp_path, server.url, 1, teach={"attempts": 1})
    run.stage("refine")
    (tmp_path / "data/errors/r0.jsonl").unlink()

    said = run.redistill("show", "p00000", "--replies")
    run.redistill("retry", "--where", "round=r1")
    aside = run.redistill("show", "p00000", "--replies")

    assert "not judged: r1 asks nothing about this problem as things are:\n    nothing" in said
    assert "set aside by redistill retry" in aside


def test_a_problem_of_no_call_and_one_that_is_none_are_refused(serve: Serve, tmp_path: Path):
    run = Run(tmp_path, serve(always(answer("nothing"))).url, 1)

    assert "holds no call about 'p00000'" in run.redistill("show", "p00000", "--replies", code=65)
    assert "there is no problem 'x'" in run.redistill("show", "x", "--replies", code=65)
    run.redistill("show", "--replies", code=2)


def test_only_lines_that_name_the_problem_are_read(tmp_path: Path):
    file = tmp_path / "problems.jsonl"
    own = Problem(id="p", question="q of p", answer="1").model_dump_json()
    file.write_text(f"no row at all\n{own}\n", encoding="utf-8")

    assert [row.question for row in replies.rows(file, Problem, "p", field="id")] == ["q of p"]
    assert not list(replies.rows(tmp_path / "none", Problem, "p", field="id"))
    file.write_text(json.dumps({"id": "p"}), encoding="utf-8")
    with pytest.raises(RefusedError, match=r'problems\.jsonl:1: field "question": missing'):
        list(replies.rows(file, Problem, "p", field="id"))
