"""The continuous batching of transformers: the answers of `local`, and the same draws."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from redistill.console.exceptions import RefusedError
from redistill.students.answer import engine, rows, sampling
from redistill.students.answer.continuous import _Batching
from tests.students.test_answering import ASK, EOS, FAMILIES, PAD, PROMPTS, made

BATCHED = [name for name in FAMILIES if name != "convolutions"]
GPU = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")


def batched(model: Any, most: Any, pick: Any = None) -> list[engine.Answer]:
    return _Batching(model, EOS, PAD, 25, pick).answer(PROMPTS, most, "r0")


@pytest.mark.parametrize("family", BATCHED)
@pytest.mark.parametrize("most", [1, 4, "auto"])
def test_greedy_answers_are_those_of_local_token_for_token(family: str, most: Any):
    assert batched(made(family), most) == engine.answer(made(family), PROMPTS, batch_size=4, **ASK)


@pytest.mark.parametrize("most", [3, 14])
def test_draws_are_those_of_local_whatever_the_rows(most: int):
    def pick() -> sampling.Nucleus:
        return sampling.Nucleus(1.0, 0.9, range(100, 114))

    theirs = engine.answer(made("llama"), PROMPTS, batch_size=14, pick=pick(), **ASK)

    assert batched(made("llama"), most, pick()) == theirs
    assert theirs != engine.answer(made("llama"), PROMPTS, batch_size=14, **ASK)


@pytest.fixture
def model() -> Iterator[Any]:
    model = made("llama")
    before = model.config._attn_implementation
    yield model
    assert model.config._attn_implementation == before


def test_no_prompt_has_no_answer(model: Any):
    assert _Batching(model, EOS, PAD, 25, None).answer([], 4, "r0") == []


def test_running_out_of_memory_halves_the_rows_and_keeps_what_is_answered(
    model: Any, capsys: pytest.CaptureFixture
):
    steps: list[int] = []

    def refuse(_: Any, __: Any, given: dict[str, Any]) -> None:
        steps.append(len(given["logits_indices"]))
        if steps[-1] > 2 and len(steps) > 20:
            raise GPU

    model.register_forward_pre_hook(refuse, with_kwargs=True)

    assert batched(model, 4) == engine.answer(made("llama"), PROMPTS, batch_size=4, **ASK)
    told = capsys.readouterr().err
    assert "r0: out of memory with 4 rows at once, going on with 2; " in told
    assert int(told.split("; ")[1].split(" of ")[0]) < 14


def test_another_failure_is_not_taken_for_an_answer(model: Any):
    def fail(*_: Any) -> None:
        raise RuntimeError("shapes do not match")

    model.register_forward_pre_hook(fail)

    with pytest.raises(RuntimeError, match="shapes do not match"):
        batched(model, 4)


def test_a_student_that_it_does_not_batch_is_refused_with_the_engine_that_does():
    with pytest.raises(RefusedError, match="Invalid layer type: conv; set it to local") as told:
        batched(made("convolutions"), 4)
    assert told.value.code == 78


def test_the_rows_planned_shrink_with_the_memory_that_is_free(
    model: Any, monkeypatch: pytest.MonkeyPatch
):
    planned = []
    for free in (1 << 40, 10_000_000, 0):
        monkeypatch.setattr(rows, "room", lambda _, free=free: free)
        planned.append(_Batching(model, EOS, PAD, 25, None)._rows("auto", PROMPTS))

    assert planned[0] == rows.MOST["cpu"] > planned[1] > planned[2] == 1
