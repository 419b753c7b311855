"""Rows at work: as many as memory holds, and fewer once it ran out; the answers stay the same."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from redistill.console.exceptions import RefusedError
from redistill.students.answer import engine, local, rows, sampling
from tests.students.test_answering import ASK, FAMILIES, PROMPTS, made

GPU = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
CPU = RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")


def smaller(model: Any, holds: int, problem: Exception, after: int = 0) -> list[int]:
    """Let *model* compute at most *holds* rows at once, from step *after* on; list its rows."""
    seen: list[int] = []

    def refuse(_: Any, __: Any, given: dict[str, Any]) -> None:
        seen.append(given["input_ids"].shape[0])
        if seen[-1] > holds and len(seen) > after:
            raise problem

    model.register_forward_pre_hook(refuse, with_kwargs=True)
    return seen


@pytest.mark.parametrize("problem", [GPU, CPU, MemoryError()], ids=["GPU", "CPU", "Python"])
@pytest.mark.parametrize("after", [0, 9])
def test_running_out_of_memory_halves_the_rows_and_goes_on(
    problem: Exception, after: int, capsys: pytest.CaptureFixture
):
    whole = engine.answer(made("llama"), PROMPTS, batch_size=14, **ASK)
    model = made("llama")
    seen = smaller(model, 5, problem, after)

    answers = engine.answer(model, PROMPTS, batch_size=12, say="r0", **ASK)

    told = capsys.readouterr().err.splitlines()
    assert answers == whole
    assert max(seen[after + 2 :]) <= 6
    assert told[0].startswith("r0: out of memory with 12 rows at once, going on with 6; ")
    assert told[1].startswith("r0: out of memory with 6 rows at once, going on with 3; ")
    assert len(told) == 2


def test_what_is_answered_before_memory_runs_out_is_not_answered_again(
    capsys: pytest.CaptureFixture,
):
    model = made("llama")
    whole = engine.answer(model, PROMPTS, batch_size=4, **ASK)
    seen = smaller(model, 3, GPU, after=40)

    assert engine.answer(model, PROMPTS, batch_size=4, **ASK) == whole
    assert len(seen) > 41
    left = int(capsys.readouterr().err.split("; ")[1].split(" of ")[0])
    assert 0 < left < 14


def test_draws_that_begin_again_are_the_same_draws():
    def drawn(model: Any) -> list[engine.Answer]:
        pick = sampling.Nucleus(1.0, 0.9, range(14))
        return engine.answer(model, PROMPTS, batch_size=14, pick=pick, **ASK)

    model = made("llama")
    smaller(model, 5, GPU, after=9)

    assert drawn(model) == drawn(made("llama"))


@pytest.mark.parametrize("problem", [GPU, CPU, MemoryError()], ids=["GPU", "CPU", "Python"])
def test_memory_for_not_even_one_row_is_refused_with_the_way_out(problem: Exception):
    model = made("llama")
    smaller(model, 0, problem)

    with pytest.raises(RefusedError, match="the longest of 11 tokens, with up to 25 new") as told:
        engine.answer(model, PROMPTS, batch_size=4, **ASK)
    assert "lower max_new_tokens" in str(told.value)
    assert told.value.code == 70


def test_other_errors_are_not_taken_for_a_lack_of_memory_while_answering():
    model = made("llama")
    smaller(model, 0, RuntimeError("shapes do not match"))

    with pytest.raises(RuntimeError, match="shapes do not match"):
        engine.answer(model, PROMPTS, batch_size=4, **ASK)


def test_a_row_costs_the_keys_and_values_of_its_config():
    heads = {"num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128}
    config = SimpleNamespace(
        num_hidden_layers=32, hidden_size=4096, intermediate_size=14336, vocab_size=128256, **heads
    )
    config.get_text_config = lambda: config

    cost = rows.Cost.of(config, itemsize=2)

    assert cost.token == 131072  # as is told of Llama-3-8B: 128 KiB a token in bf16
    assert cost.row(1000, 1000, at_once=False) > 2000 * cost.token + 128256 * rows.SCORES
    assert cost.row(9, 1, at_once=True) > cost.row(9, 1, at_once=False)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_planned_bytes_cover_what_the_window_of_each_kind_of_model_holds(family: str):
    config = FAMILIES[family]
    width = config.get_text_config()
    shared = getattr(width, "num_key_value_heads", None) or width.num_attention_heads
    one = 2 * shared * (width.hidden_size // width.num_attention_heads) * 4

    assert rows.Cost.of(config, 4).token >= width.num_hidden_layers * one


@pytest.mark.parametrize(
    ("free", "planned"), [(0, 1), (99, 1), (100, 1), (399, 3), (400, 4), (10**9, 512)]
)
def test_as_many_rows_are_planned_as_fit_and_never_none(free: int, planned: int):
    assert rows.planned(free, 512, lambda count: 100 * count) == planned


@pytest.mark.parametrize(
    ("limit", "used", "left"), [("max", "5", None), ("1000", "400", 600), ("10", "40", 0)]
)
def test_a_container_leaves_what_its_limit_says(
    tmp_path: Path, limit: str, used: str, left: int | None
):
    (tmp_path / "memory.max").write_text(f"{limit}\n")
    (tmp_path / "memory.current").write_text(f"{used}\n")

    assert rows._left_to_group(tmp_path) == left
    assert rows._left_to_group(tmp_path / "absent") is None


def test_processes_of_one_machine_share_its_memory(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rows, "_left_to_group", lambda _: 1000)
    alone = rows.room(torch.device("cpu"))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")

    assert (alone, rows.room(torch.device("cpu"))) == (500, 125)


def test_a_gpu_offers_what_is_free_and_what_torch_keeps_for_later(monkeypatch: pytest.MonkeyPatch):
    told = {"memory_reserved": 300, "memory_allocated": 100, "mem_get_info": (800, 10_000)}
    for name, value in told.items():
        monkeypatch.setattr(torch.cuda, name, lambda _, value=value: value)

    assert rows.room(torch.device("cuda")) == 800


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Callable[[int | str, int], int]:
    """With how many rows the prompts are answered, as asked for, with so many bytes free."""

    def ask(wanted: int | str, free: int) -> int:
        monkeypatch.setattr(rows, "room", lambda _: free)
        return local._rows(wanted, made("llama"), PROMPTS, 25)

    return ask


def test_with_auto_rows_follow_from_memory_and_a_number_stays_as_it_is(asked: Callable):
    row = rows.Cost.of(FAMILIES["llama"], 4).row(11, 25 + 32, at_once=False)

    assert asked("auto", 7 * row) == 7
    assert asked("auto", 1 << 40) == rows.MOST["cpu"]
    assert asked(48, 0) == 48
