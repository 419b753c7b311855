"""Engines in this process: one record shape, and in fp32 the same answers, whoever computes."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from redistill.console.exceptions import RefusedError
from redistill.problems.sets import ProblemSet
from redistill.records.types import Completion
from redistill.students.answer import continuous, engine, engines, local
from redistill.students.base import make
from redistill.students.model import load, precision
from tests.students.test_students import ASKED, PROBLEMS, SHAPE, answer, exam

SETS = {
    "train": ProblemSet(PROBLEMS[:5], "train"),
    "test": ProblemSet(PROBLEMS[5:], "test"),
}


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student of chance weights that ends two in three of its answers, each another one."""
    folder = tmp_path_factory.mktemp("students") / "r0"
    model, words, _, _ = make.begin("embedded", SHAPE, seed=1)
    torch.manual_seed(3)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.normal_(0, 0.4)
        model.get_output_embeddings().weight[words.eos_token_id] *= 1.5
    load.save(model, words, folder, {"model": "embedded"})
    return folder


def completed(student: Path, **changes: object) -> dict[str, list[Completion]]:
    return answer(student, SETS, ASKED, exam(**changes), seed=1).completions


class StandIn(ModuleType):
    """A module with what is used of vLLM's interface, whose model is opened by transformers."""

    def __init__(self, reason: str | None = None) -> None:
        super().__init__("vllm")
        self.made: list[dict[str, Any]] = []
        self.asked: list[dict[str, Any]] = []
        self.reason = reason

    def SamplingParams(self, **wanted: Any) -> dict[str, Any]:
        self.asked.append(wanted)
        return wanted

    def LLM(self, **options: Any) -> SimpleNamespace:
        self.made.append(options)
        model = load.model(options["model"])

        def generate(prompts: list[Any], params: list[Any], use_tqdm: bool) -> list[Any]:
            assert not use_tqdm
            pairs = zip(prompts, params, strict=True)
            return [self._one(model, prompt["prompt_token_ids"], how) for prompt, how in pairs]

        return SimpleNamespace(generate=generate)

    def _one(self, model: Any, prompt: list[int], how: dict[str, Any]) -> SimpleNamespace:
        [eos] = how["stop_token_ids"]
        [found] = engine.answer(
            model, [prompt], eos=eos, pad=eos, max_new_tokens=how["max_tokens"], batch_size=1
        )
        written = SimpleNamespace(
            token_ids=(*found.ids, *[eos] * found.eos),  # the end token is among them
            finish_reason=self.reason or ("stop" if found.eos else "length"),
        )
        return SimpleNamespace(prompt_token_ids=prompt, outputs=[written])


@pytest.fixture
def vllm(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    module = StandIn()
    monkeypatch.setitem(sys.modules, "vllm", module)
    return module


@pytest.mark.usefixtures("vllm")
@pytest.mark.parametrize("engine", ["transformers", "vllm", "auto"])
@pytest.mark.parametrize("batch_size", [3, "auto"])
def test_every_engine_writes_the_records_of_local(
    student: Path, engine: str, batch_size: int | str
):
    ours = completed(student)

    assert completed(student, engine=engine, batch_size=batch_size) == ours
    outputs = [completion.output for found in ours.values() for completion in found]
    assert {output.eos for output in outputs} == {True, False}
    assert all(output.tokens == 40 for output in outputs if not output.eos)


def test_transformers_draws_what_local_draws(student: Path):
    ours = completed(student, samples=2)

    assert completed(student, engine="transformers", samples=2, batch_size=3) == ours
    assert ours["train"][0].drawn[0] != ours["train"][0].drawn[1]


def test_vllm_is_told_rows_numbers_and_ends_and_draws_by_seeds_of_their_own(
    student: Path, vllm: StandIn
):
    completed(student, engine="vllm", samples=2, batch_size=3)

    [made] = vllm.made
    assert (made["dtype"], made["max_num_seqs"]) == ("float32", 3)
    assert made["generation_config"] == "vllm"
    greedy, drawn = vllm.asked[:12], vllm.asked[12:]
    assert {how["temperature"] for how in greedy} == {0.0}
    assert {(how["temperature"], how["top_p"]) for how in drawn} == {(0.7, 0.95)}
    assert len({how["seed"] for how in drawn}) == 10
    assert all(how["ignore_eos"] and how["max_tokens"] == 40 for how in vllm.asked)


def test_vllm_plans_its_rows_itself_with_auto(student: Path, vllm: StandIn):
    completed(student, engine="vllm", batch_size="auto")

    assert "max_num_seqs" not in vllm.made[0]


def test_an_answer_that_vllm_broke_off_is_refused(student: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "vllm", StandIn(reason="abort"))

    with pytest.raises(RefusedError, match=r"ended a prompt of .* 'abort'") as told:
        completed(student, engine="vllm")
    assert told.value.code == 70


def test_vllm_that_is_not_installed_is_refused_with_the_way_out(
    student: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "vllm", None)

    with pytest.raises(RefusedError, match=r"vllm cannot be imported .*engine: server") as told:
        completed(student, engine="vllm")
    assert told.value.code == 78


@pytest.mark.parametrize("won", ["local", "transformers"])
@pytest.mark.parametrize("gpu", [False, True])
def test_auto_takes_what_won_on_the_device_at_hand(
    student: Path, monkeypatch: pytest.MonkeyPatch, won: Any, gpu: bool
):
    monkeypatch.setattr(precision, "on_gpu", lambda: gpu)
    monkeypatch.setitem(engines.WON, "cuda" if gpu else "cpu", won)
    for module in (local, continuous):
        name = module.__name__.rpartition(".")[2]
        monkeypatch.setattr(module, name, lambda *_, name=name, **__: name)

    taken = engines.opened(student, None, None, ASKED, exam(engine="auto"))

    assert taken == {"local": "local", "transformers": "continuous"}[won]


def test_every_engine_completes_nothing_where_nothing_is_asked(student: Path, vllm: StandIn):
    words = load.tokenizer(student)
    encoder = engines.Encoder.of(words, ASKED)
    for name in ("local", "transformers", "vllm"):
        with engines.opened(student, words, encoder, ASKED, exam(engine=name)) as complete:
            assert complete([], None, "r0") == []
