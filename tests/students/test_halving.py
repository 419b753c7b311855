"""What is said of bf16 where the device emulates it."""

import pytest
import torch

from redistill.students import halving

BOTH = {"train.precision": "bf16", "evaluate.precision": "bf16"}


def measuring(monkeypatch, times: float) -> list[str]:
    """Have every product in bf16 take *times* as long; the devices that were asked about."""
    asked: list[str] = []
    monkeypatch.setattr(halving, "ratio", lambda device: asked.append(device) or times)
    return asked


def test_emulated_bf16_is_a_note_with_the_settings_to_change(monkeypatch):
    measuring(monkeypatch, 8.2)

    found = halving.finding(BOTH)

    assert found.state == "note"
    assert "8.2 times as long as fp32" in found.told
    assert "set train.precision and evaluate.precision to fp32" in found.told


def test_only_the_setting_that_asks_for_bf16_is_named(monkeypatch):
    measuring(monkeypatch, 8.2)

    assert "set evaluate.precision to" in halving.finding(BOTH | {"train.precision": "auto"}).told


def test_bf16_that_pays_holds(monkeypatch):
    measuring(monkeypatch, 0.5)

    assert halving.finding(BOTH).state == "holds"


def test_nothing_is_measured_where_nothing_asks_for_bf16(monkeypatch):
    asked = measuring(monkeypatch, 8.2)

    assert halving.finding({"train.precision": "fp32"}).state == "holds"
    assert asked == []


@pytest.mark.parametrize(("precision", "said"), [("bf16", True), ("fp32", False)])
def test_a_stage_says_so_before_it_computes(monkeypatch, capsys, precision, said):
    measuring(monkeypatch, 8.2)

    halving.warn("r0", "train.precision", precision)

    assert ("r0: bf16 takes 8.2 times" in capsys.readouterr().err) is said


def test_the_ratio_is_that_of_two_products_and_leaves_the_threads_alone():
    before = torch.get_num_threads()

    assert 0.05 < halving.ratio("cpu") < 200
    assert torch.get_num_threads() == before
