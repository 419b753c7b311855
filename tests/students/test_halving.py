"""What is said of bf16 where the device emulates it."""

from pathlib import Path
from typing import Any

import pytest
import torch

from redistill.students.answer import engines, local, server
from redistill.students.answer.settings import EvaluateSettings
from redistill.students.model import load
from redistill.students.model import precision as precisions
from tests.loop import training as small

BOTH: dict[str, Any] = {"train.precision": "bf16", "evaluate.precision": "bf16"}


def measuring(monkeypatch: pytest.MonkeyPatch, times: float) -> list[str]:
    """Have every product in bf16 take *times* as long; one entry for each time that one asked."""
    asked: list[str] = []
    monkeypatch.setattr(precisions, "ratio", lambda: asked.append("asked") or times)
    monkeypatch.setenv("REDISTILL_DEVICE", "cpu")
    return asked


def test_emulated_bf16_is_a_note_with_the_settings_to_change(monkeypatch: pytest.MonkeyPatch):
    measuring(monkeypatch, 8.2)

    found = precisions.finding(BOTH)

    assert found.state == "note"
    assert "8.2 times as long as fp32" in found.told
    assert "set train.precision and evaluate.precision to fp32" in found.told


def test_only_the_setting_that_asks_for_bf16_is_named(monkeypatch: pytest.MonkeyPatch):
    measuring(monkeypatch, 8.2)

    assert (
        "set evaluate.precision to" in precisions.finding(BOTH | {"train.precision": "auto"}).told
    )


def test_bf16_that_pays_holds(monkeypatch: pytest.MonkeyPatch):
    measuring(monkeypatch, 0.5)

    assert precisions.finding(BOTH).state == "holds"


def test_nothing_is_measured_where_nothing_asks_for_bf16(monkeypatch: pytest.MonkeyPatch):
    asked = measuring(monkeypatch, 8.2)

    assert precisions.finding({"train.precision": "fp32"}).state == "holds"
    assert asked == []


@pytest.mark.parametrize(("has", "state"), [(True, "holds"), (False, "note")])
def test_a_gpu_is_asked_and_not_timed(monkeypatch: pytest.MonkeyPatch, has: bool, state: str):
    asked = measuring(monkeypatch, 8.2)
    monkeypatch.setenv("REDISTILL_DEVICE", "cuda")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has)

    assert precisions.finding(BOTH).state == state
    assert asked == []


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_a_training_says_so_before_its_first_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, precision: str
):
    measuring(monkeypatch, 8.2)
    base = small.base(tmp_path / "base")

    small.fit(base, tmp_path / "r0", steps=1, save_every=0, precision=precision)

    assert ("r0: bf16 takes 8.2 times" in capsys.readouterr().err) is (precision == "bf16")


@pytest.mark.parametrize(("engine", "said"), [("local", True), ("server", False)])
def test_an_evaluation_says_so_unless_a_server_computes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture,
    engine: str, said: bool,
):  # fmt: skip
    measuring(monkeypatch, 8.2)
    monkeypatch.setattr(server, "served", lambda student, **_: None)
    monkeypatch.setattr(local, "local", lambda student, *_, **__: None)
    settings = EvaluateSettings(
        engine=engine, max_new_tokens=8, batch_size=4, precision="bf16", samples=0,
        temperature=1.0, top_p=1.0,
    )  # fmt: skip
    base = small.base(tmp_path / "r0")
    words = load.tokenizer(base)
    encoder = engines.Encoder(words, small.ASKED.prompt)

    engines.opened(base, words, encoder, small.ASKED, settings)

    assert ("r0: bf16 takes 8.2 times" in capsys.readouterr().err) is said


def test_the_products_are_timed_on_one_thread_which_then_are_as_many_as_before(
    monkeypatch: pytest.MonkeyPatch,
):
    before = torch.get_num_threads()
    seen: list[tuple[torch.dtype, int]] = []
    monkeypatch.setattr(
        precisions,
        "_seconds",
        lambda dtype: (
            seen.append((dtype, torch.get_num_threads()))
            or {torch.float32: 0.25, torch.bfloat16: 2.0}[dtype]
        ),
    )
    precisions.ratio.cache_clear()
    torch.set_num_threads(2)
    try:
        times, after = precisions.ratio(), torch.get_num_threads()
    finally:
        torch.set_num_threads(before)
        precisions.ratio.cache_clear()

    assert times == 8.0
    assert after == 2
    assert seen == [(torch.float32, 1), (torch.bfloat16, 1)]


def test_a_product_takes_time():
    assert 0 < precisions._seconds(torch.float32) < 5
