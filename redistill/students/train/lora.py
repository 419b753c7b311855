"""LoRA: small matrices beside frozen weights, trained alone and merged into them at the end."""

import warnings
from typing import Any

from redistill.console.exceptions import CONFIG, RefusedError
from redistill.students.train.settings import LoraSettings


def adapted(model: Any, settings: LoraSettings, seed: int) -> Any:
    """Give *model* untrained LoRA matrices drawn by *seed*; raises RefusedError without peft."""
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError:
        raise RefusedError(
            "train.method: lora needs peft (pip install 'redistill[lora]')", code=CONFIG
        ) from None
    from transformers import set_seed

    if settings.rank < 1 or not 0 <= settings.dropout < 1:
        raise RefusedError("lora: rank is from 1, dropout from 0 and below 1", code=CONFIG)
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,  # type: ignore[arg-type]  # any number does
        lora_dropout=settings.dropout,
        target_modules=settings.targets,
        task_type="CAUSAL_LM",
    )
    set_seed(seed)
    warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated")  # peft asks it
    try:
        return get_peft_model(model, config)
    except ValueError as problem:
        told = " ".join(str(problem).split())[:200]
        raise RefusedError(f"lora.targets: {told}", code=CONFIG) from None


def merged(model: Any) -> Any:
    """
    Merge what *model* learnt into the weights of the plain model.

    So that a student is a directory like any other, which needs neither peft nor its base to be
    evaluated, published or started from. The sums are done in the weights' own precision.
    """
    return model.merge_and_unload(safe_merge=True)
