"""Kernels and kinds of attention that a training may ask for: taken, or refused in one line."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch

from redistill.console.exceptions import RefusedError
from redistill.students.train import attention, fit, kernels, loop
from redistill.students.train.settings import TrainSettings
from tests.loop import training as small

CARD = SimpleNamespace(device=torch.device("cuda"), config=SimpleNamespace(model_type="llama"))


def asking(**changes) -> TrainSettings:
    return small.RULES.model_copy(update=changes)


def liger(monkeypatch: pytest.MonkeyPatch, *known: str) -> None:
    """Have liger-kernel installed, with kernels for models of the types *known*."""
    patch = ModuleType("liger_kernel.transformers.monkey_patch")
    patch.MODEL_TYPE_TO_APPLY_LIGER_FN = dict.fromkeys(known)
    for name in ("liger_kernel", "liger_kernel.transformers"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, patch.__name__, patch)


def test_liger_on_a_cpu_is_refused_before_a_step(tmp_path: Path):
    start = small.base(tmp_path / "base")

    with pytest.raises(RefusedError, match=r"train\.liger: liger's kernels need a GPU") as refusal:
        small.fit(start, tmp_path / "r0", liger=True, save_every=0)
    assert refusal.value.code == 78
    assert not (tmp_path / "r0").exists()


def test_liger_without_its_package_is_refused_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setitem(sys.modules, "liger_kernel", None)

    with pytest.raises(RefusedError, match=r"pip install 'redistill\[gpu\]'"):
        kernels.check_liger(CARD)


def test_a_student_that_liger_has_no_kernels_for_is_refused(monkeypatch: pytest.MonkeyPatch):
    liger(monkeypatch, "qwen2")
    with pytest.raises(RefusedError, match="no kernels for a model of type llama"):
        kernels.check_liger(CARD)

    liger(monkeypatch, "qwen2", "llama")
    kernels.check_liger(CARD)


def test_a_machine_without_a_compiler_is_refused(monkeypatch: pytest.MonkeyPatch):
    def none(*_: object) -> None:
        raise RuntimeError("no working C++ compiler\nfound")

    monkeypatch.setattr(torch, "compile", lambda work: none)

    with pytest.raises(RefusedError, match=r"this cpu: no working C\+\+ compiler found; install"):
        kernels.check_compiler(torch.device("cpu"))


@pytest.mark.slow  # minutes: every shape of a batch is compiled
def test_what_torch_compiles_has_the_losses_of_what_it_does_not(tmp_path: Path):
    start = small.base(tmp_path / "base")
    plain = small.fit(start, tmp_path / "a", steps=2, save_every=0)
    compiled = small.fit(start, tmp_path / "b", steps=2, save_every=0, compile=True)

    assert compiled["losses"] == pytest.approx(plain["losses"], abs=2e-4)
    assert compiled["compile"] is True
    assert "compile" not in plain


def test_the_trainer_is_asked_for_liger_and_for_compiling_and_keeps_fp32(tmp_path: Path):
    plan = loop.Plan(
        steps=2, batch_size=4, accumulate=1, learning_rate=1e-3, warmup=0.0, weight_decay=0.0,
        precision="fp32", seed=1, liger=True, compiled=True,
    )  # fmt: skip

    asked = loop._arguments(plan, True, None, str(tmp_path))

    assert asked.use_liger_kernel
    assert asked.torch_compile
    assert asked.tf32 is False


def test_attention_is_the_students_where_none_is_asked_for_or_rows_are_padded():
    assert attention.chosen(asking(), "eager", half=False) == "eager"
    assert attention.chosen(asking(attention="auto"), "eager", half=False) == "eager"
    assert attention.chosen(asking(attention="sdpa"), "eager", half=False) == "sdpa"


@pytest.mark.parametrize("name", ["auto", "flash_attention_2", "flex_attention"])
def test_attention_for_packed_rows_without_a_gpu_is_refused(name: str):
    with pytest.raises(RefusedError, match=rf"train\.attention: {name} needs a GPU") as refusal:
        attention.chosen(asking(attention=name, packing=True), None, half=True)
    assert refusal.value.code == 78


@pytest.mark.parametrize(
    ("capability", "here", "half", "taken"),
    [
        (9, {"flash_attention_3", "flash_attention_2"}, True, "flash_attention_3"),
        (8, {"flash_attention_3", "flash_attention_2"}, True, "flash_attention_2"),
        (9, {"flash_attention_2"}, True, "flash_attention_2"),
        (9, set(), True, "flex_attention"),
        (9, {"flash_attention_3", "flash_attention_2"}, False, "flex_attention"),
    ],
)
def test_packed_rows_take_the_best_attention_that_is_installed(
    capability: int, here: set[str], half: bool, taken: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(attention, "on_gpu", lambda: True)
    monkeypatch.setattr(attention, "installed", here.__contains__)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (capability, 0))

    assert attention.chosen(asking(attention="auto", packing=True), None, half=half) == taken


def test_flash_attention_in_fp32_or_not_installed_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(attention, "on_gpu", lambda: True)
    wanted = asking(attention="flash_attention_2", packing=True)

    with pytest.raises(RefusedError, match="flash_attention_2 needs bf16"):
        attention.chosen(wanted, None, half=False)
    with pytest.raises(RefusedError, match=r"is not installed \(pip install 'redistill\[gpu\]'"):
        attention.chosen(wanted, None, half=True)
    monkeypatch.setattr(attention, "installed", lambda name: True)
    assert attention.chosen(wanted, None, half=True) == "flash_attention_2"


def test_what_was_asked_for_is_recorded_and_nothing_where_nothing_was():
    assert fit._faster(asking(), None) == {}
    asked = asking(attention="auto", liger=True)
    assert fit._faster(asked, "flex_attention") == {"liger": True, "attention": "flex_attention"}


def test_rows_computed_at_once_without_learning_are_bounded_by_tokens_too():
    rows = [SimpleNamespace(ids=[1] * size) for size in (10, 60)]

    assert fit._at_once(asking(batch_size=8, accumulate=2), rows) == 4
    assert fit._at_once(asking(batch_size=512, batch_tokens=200), rows) == 3
    assert fit._at_once(asking(batch_size=512, batch_tokens=20), rows) == 1
