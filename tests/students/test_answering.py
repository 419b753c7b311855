"""Answering many at once: the tokens of answering one by one, whatever joins and leaves."""

from collections.abc import Sequence
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM as Auto
from transformers import (
    Gemma2Config,
    GPT2Config,
    Lfm2Config,
    LlamaConfig,
    MistralConfig,
    PretrainedConfig,
)

from redistill.console.exceptions import RefusedError
from redistill.records.types import Completion, Output, Problem, Slip
from redistill.students.answer import engine, kv_cache, local, sampling
from redistill.students.answer.local import Draws
from redistill.students.base import make
from redistill.students.model import load
from redistill.students.train import fit
from tests.students.test_students import ASKED, FIRST, PROBLEMS, RULES, exam, examined, lesson
from tests.students.test_students import SHAPE as TINY

EOS, PAD = 0, 1
SHAPE = {
    "vocab_size": 40, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
    "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 64,
    "eos_token_id": EOS, "pad_token_id": PAD, "bos_token_id": None, "initializer_range": 0.4,
}  # fmt: skip
FAMILIES: dict[str, PretrainedConfig] = {
    "llama": LlamaConfig(**SHAPE),
    "learned positions": GPT2Config(
        vocab_size=40, n_embd=16, n_layer=2, n_head=2, n_positions=40, eos_token_id=EOS,
        pad_token_id=PAD, initializer_range=0.4,
    ),
    "sliding window": MistralConfig(**SHAPE, sliding_window=6, head_dim=8),
    "both windows": Gemma2Config(**SHAPE, sliding_window=6, head_dim=8),
    "convolutions": Lfm2Config(**SHAPE, layer_types=["conv", "full_attention"], conv_L_cache=3),
}  # fmt: skip
PROMPTS = [[2 + (7 * row + step) % 38 for step in range(1 + (5 * row) % 11)] for row in range(14)]
ASK = {"eos": EOS, "pad": PAD, "max_new_tokens": 25}


def made(family: str) -> Any:
    torch.manual_seed(3)
    return Auto.from_config(FAMILIES[family]).eval()


def generated(model: Any, prompt: Sequence[int]) -> list[int]:
    """What transformers' own greedy generation writes, EOS and beyond left out."""
    ids = torch.tensor([list(prompt)])
    out = model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=25, do_sample=False,
        eos_token_id=EOS, pad_token_id=PAD,
    )  # fmt: skip
    row = out[0, len(prompt) :].tolist()
    return row[: row.index(EOS)] if EOS in row else row


@cache
def expected(family: str) -> list[list[int]]:
    """What that writes after each prompt."""
    model = made(family)
    return [generated(model, prompt) for prompt in PROMPTS]


@pytest.fixture(params=["in turn", "mixed"])
def ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a CPU, where a batch ends before the next begins, and as on a GPU."""
    if request.param == "mixed":
        monkeypatch.setitem(engine.REFILL, "cpu", 0.7)
        monkeypatch.setitem(engine.LOOK, "cpu", 3)
        monkeypatch.setitem(engine.PREFILL, "cpu", 12)
        monkeypatch.setattr(kv_cache, "GROWTH", 3)


@pytest.mark.usefixtures("ways")
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("batch_size", [1, 4, 20])
def test_the_tokens_are_those_of_generate_for_every_kind_of_model(family: str, batch_size: int):
    theirs = expected(family)

    answers = engine.answer(made(family), PROMPTS, batch_size=batch_size, **ASK)

    assert [answer.ids for answer in answers] == theirs
    assert [answer.eos for answer in answers] == [len(ids) < 25 for ids in theirs]
    assert len({tuple(ids) for ids in theirs}) > 5


def test_some_stop_and_some_never_do():
    answers = engine.answer(made("llama"), PROMPTS, batch_size=4, **ASK)

    assert {answer.eos for answer in answers} == {True, False}


def test_others_join_while_some_are_at_work(monkeypatch: pytest.MonkeyPatch):
    model = made("llama")
    steps = {}
    for share in (0.0, 0.7):
        monkeypatch.setitem(engine.REFILL, "cpu", share)
        widths: list[int] = []
        hook = model.register_forward_pre_hook(
            lambda _, __, given, widths=widths: widths.append(given["input_ids"].shape[1]),
            with_kwargs=True,
        )
        engine.answer(model, PROMPTS, batch_size=4, **ASK)
        hook.remove()
        steps[share] = widths.count(1)

    assert steps[0.7] < steps[0.0]


def test_equal_prompts_are_read_once():
    model = made("llama")
    read: list[int] = []
    model.register_forward_pre_hook(
        lambda _, __, given: read.append(given["input_ids"].shape[0]), with_kwargs=True
    )

    answers = engine.answer(model, [PROMPTS[3]] * 6, batch_size=6, **ASK)

    assert read[0] == 1
    assert len(answers) == 6
    assert all(answer == answers[0] for answer in answers)
    assert answers[0].ids == expected("llama")[3]


@pytest.mark.usefixtures("ways")
def test_memory_that_was_never_written_shows_nowhere():
    model, theirs = made("llama"), expected("llama")
    torch.use_deterministic_algorithms(True)  # which fills new memory with NaN
    try:
        answers = engine.answer(model, PROMPTS, batch_size=4, **ASK)
    finally:
        torch.use_deterministic_algorithms(False)

    assert [answer.ids for answer in answers] == theirs


def test_no_prompt_has_no_answer():
    assert engine.answer(made("llama"), [], batch_size=4, **ASK) == []


def drawn(model: Any, places: Sequence[int], batch_size: int) -> list[engine.Answer]:
    pick = sampling.Nucleus(1.0, 0.9, [100 + place for place in places])
    prompts = [PROMPTS[place] for place in places]
    return engine.answer(model, prompts, batch_size=batch_size, pick=pick, **ASK)


@pytest.mark.usefixtures("ways")
def test_a_draw_depends_on_its_seed_and_not_on_its_neighbours():
    model = made("llama")

    together = drawn(model, range(14), 14)

    assert together == drawn(model, range(14), 3)
    assert [together[4]] == drawn(model, [4], 1)
    assert together[2:9] == drawn(model, range(2, 9), 7)
    assert [a.ids for a in together] != expected("llama")


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student that was taught for two steps."""
    root = tmp_path_factory.mktemp("students")
    model, words, _, _ = make.begin("embedded", TINY, seed=1)
    load.save(model, words, root / "base", {"model": "embedded"})
    known = {p.id: p for p in PROBLEMS}
    lessons = [lesson(p) for p in PROBLEMS]
    fit.fit(known, lessons, root / "base", root / "r0", FIRST, ASKED, RULES, 1, max_new_tokens=200)
    return root / "r0"


SPLITS: dict[Any, list[Problem]] = {
    "train": PROBLEMS[:4],
    "dev": PROBLEMS[4:6],
    "test": PROBLEMS[6:],
}


def test_pass_rates_are_drawn_for_train_and_dev_and_never_for_test(
    student: Path, monkeypatch: pytest.MonkeyPatch
):
    asked = [p for split in SPLITS.values() for p in split]
    seeds: list[int] = []

    def complete(prompts: Any, draws: Draws | None, say: str) -> list[Output]:
        if draws is None:
            return [Output(text=f"#### {p.answer}", eos=True, tokens=3) for p in asked]
        seeds.extend(draws.seeds)
        again = [p for p in asked[:6] for _ in range(3)]
        return [
            Output(text=f"#### {p.answer if place % 3 else 0}", eos=True, tokens=3)
            for place, p in enumerate(again)
        ]

    monkeypatch.setattr(local, "local", lambda *_, **__: nullcontext(complete))
    answered, graded = examined(student, SPLITS, exam(samples=3))

    train, scores = graded.predictions["train"], graded.figures()["scores"]
    drawn = {name: [len(c.drawn) for c in found] for name, found in answered.completions.items()}
    assert drawn == {"train": [3] * 4, "dev": [3] * 2, "test": [0] * 6}
    assert [(p.samples, p.passes) for p in (*train, *graded.predictions["dev"])] == [(3, 2)] * 6
    assert {p.samples for p in graded.predictions["test"]} == {None}
    assert train[0].slips == [Slip(completion="#### 0", answer="0", verdict="wrong")]
    assert scores["train"]["accuracy"] == 1.0
    assert scores["train"]["problems_by_passes"] == [0, 0, 4, 0]
    assert "pass_rate" not in scores["test"]
    assert answered.figures["tokens"] == 4 * (12 + 18)
    assert len(set(seeds)) == 18


def test_drawing_twice_gives_the_same_and_leaves_the_greedy_answers_alone(student: Path):
    def run(**changes: object) -> dict[str, list[Completion]]:
        return examined(student, SPLITS, exam(**changes))[0].completions

    plain, once, again = run(), run(samples=2), run(samples=2, batch_size=3)

    def greedy(completions: dict[str, list[Completion]]) -> list[Output]:
        return [c.output for found in completions.values() for c in found]

    assert once == again
    assert greedy(once) == greedy(plain)
    assert {len(c.drawn) for c in once["train"]} == {2}


def test_greedy_completions_make_no_pass_rate(student: Path):
    with pytest.raises(RefusedError, match=r"evaluate\.samples: to draw 4 .* above") as refusal:
        examined(student, SPLITS, exam(samples=4, temperature=0.0))
    assert refusal.value.code == 78
