"""The attention that a student is trained under: packed rows need one that tells rows apart."""

from redistill.console.exceptions import CONFIG, RefusedError
from redistill.students.model.precision import on_gpu
from redistill.students.train.kernels import EXTRA
from redistill.students.train.settings import TrainSettings

FLASH = ("flash_attention_3", "flash_attention_2")  # the newest first
HOPPER = 9  # the major compute capability that flash attention 3 is written for
FLEX = "flex_attention"
HERE = ("sdpa", "eager")  # what every device has


def chosen(settings: TrainSettings, otherwise: str | None, *, half: bool) -> str | None:
    """
    Choose the attention to train under: that of *settings*, else what the student has *otherwise*.

    ``auto`` takes for packed rows the first that is installed of flash attention 3 and 2 (in bf16,
    *half*) and FlexAttention; for padded ones the student's own. Raises RefusedError where it needs
    a GPU, bf16 or a package that is not there.
    """
    wanted = settings.attention
    if wanted is None or (wanted == "auto" and not settings.packing):
        return otherwise
    if wanted in HERE:
        return wanted
    if not on_gpu():
        raise RefusedError(f"train.attention: {wanted} needs a GPU; set it to null", code=CONFIG)
    return _first() if wanted == "auto" and half else _one(wanted, half)


def _first() -> str:
    import torch

    hopper = torch.cuda.get_device_capability()[0] == HOPPER
    return next((name for name in FLASH[not hopper :] if installed(name)), FLEX)


def _one(wanted: str, half: bool) -> str:
    if wanted == "auto":
        return FLEX
    if wanted in FLASH and not half:
        raise RefusedError(f"train.attention: {wanted} needs bf16", code=CONFIG)
    if wanted in FLASH and not installed(wanted):
        raise RefusedError(
            f"train.attention: {wanted} is not installed ({EXTRA} brings kernels that have it)",
            code=CONFIG,
        )
    return wanted


def installed(name: str) -> bool:
    """Say whether flash attention *name* is here, by itself or in the package kernels."""
    from transformers.utils import is_flash_attn_2_available, is_flash_attn_3_available

    found = {
        "flash_attention_2": is_flash_attn_2_available,
        "flash_attention_3": is_flash_attn_3_available,
    }
    return bool(found[name](kernels_fallback_ok=True))
