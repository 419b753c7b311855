"""LoRA: small matrices beside frozen weights, trained alone and merged into them at the end."""

import math
import re
import warnings
from typing import Any

from redistill.console.exceptions import CONFIG, INTERNAL, RefusedError
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

    refuse_tied(model, settings)
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
    except (ValueError, re.error) as problem:
        told = " ".join(str(problem).split())[:200]
        raise RefusedError(f"lora.targets: {told}", code=CONFIG) from None


def merged(model: Any) -> Any:
    """
    Merge what *model* learnt into the weights of the plain model.

    So that a student is a directory like any other, which needs neither peft nor its base to be
    evaluated, published or started from. The sums are done in the weights' own precision.
    """
    return model.merge_and_unload(safe_merge=True)


def refuse_tied(model: Any, settings: LoraSettings) -> None:
    """
    Refuse targets among the embeddings and the head where *model* has one matrix for both.

    LoRA would train one of the two alone, and merging it would change the other as well. Nothing
    but names is read, so that a model without weights does. Raises RefusedError.
    """
    ends = model.get_input_embeddings(), model.get_output_embeddings()
    if ends[1] is None or not tied(model):
        return
    names = [name for name, module in model.named_modules() if module in ends]
    if hit := sorted(name for name in names if _targeted(name, settings.targets)):
        raise RefusedError(
            f"lora.targets: {', '.join(hit)}: this student has one matrix for its embeddings and "
            "its head (tie_word_embeddings), so that the merged student would not be the trained "
            "one; leave it out of the targets (all-linear does), or set train.method to full",
            code=CONFIG,
        )


def tied(model: Any) -> bool:
    """Say whether the embeddings and the head of *model* are one matrix."""
    return bool(model.get_output_embeddings().weight is model.get_input_embeddings().weight)


def _targeted(name: str, targets: str | list[str]) -> bool:
    """Whether the layer *name* is among *targets*, as peft reads them."""
    if targets == "all-linear":  # the head is none of them for peft
        return False
    if isinstance(targets, str):
        try:
            return re.fullmatch(targets, name) is not None
        except re.error as problem:
            raise RefusedError(f"lora.targets: {targets!r}: {problem}", code=CONFIG) from None
    return any(name == target or name.endswith(f".{target}") for target in targets)


CLOSE = 1e-3  # of a loss, and of one more nat: what merging in fp32 rounds is a hundredth of it


def hold(trained: float, saved: float, rows: int) -> None:
    """
    Refuse (code 70) a merged student whose loss is not that of the trained one, but for rounding.

    Both are mean losses over the same *rows*, in nats a token, *saved* of what was read from disk.
    """
    if not math.isclose(trained, saved, rel_tol=CLOSE, abs_tol=CLOSE):
        raise RefusedError(
            f"lora: the loss of {rows} rows is {trained:.4f} by the trained student and "
            f"{saved:.4f} by the one that was merged and saved, so that is not what was trained; "
            "take layers that share weights with others out of lora.targets, or set train.method "
            "to full",
            code=INTERNAL,
        )
