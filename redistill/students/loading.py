"""Opening and saving students: Hugging Face directories, safetensors only, no remote code."""

import json
import os
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, set_seed
from transformers.utils import logging

from redistill.params import Section
from redistill.refusals import CONFIG, RefusedError

NOTE = "redistill.json"  # what we know of a student, beside its weights


class Settings(Section):
    """Section ``student``: its base weights, and how it is asked."""

    model: str
    prompt: str
    chat: bool | None


def quiet() -> None:
    """Keep transformers' own bars and hints out of the stages' lines, and set the threads."""
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    threads = os.environ.get("REDISTILL_THREADS")
    if threads:
        torch.set_num_threads(int(threads))


def device() -> str:
    """Where students are computed: REDISTILL_DEVICE, else the GPU where there is one."""
    return os.environ.get("REDISTILL_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu")


def tokenizer(student: Path | str) -> Any:
    """The tokenizer of *student*; its padding token is its EOS where it has none."""
    found = AutoTokenizer.from_pretrained(str(student), trust_remote_code=False)
    if found.pad_token_id is None:
        found.pad_token = found.eos_token
    return found


def model(student: Path | str, *, dtype: Literal["fp32", "bf16"] = "fp32") -> Any:
    """The causal LM of *student* on `device`; raises RefusedError where it is none."""
    kind = {"fp32": torch.float32, "bf16": torch.bfloat16}[dtype]
    try:
        found = AutoModelForCausalLM.from_pretrained(
            str(student), dtype=kind, use_safetensors=True, trust_remote_code=False
        )
    except (OSError, ValueError) as problem:
        told = " ".join(str(problem).split())[:300]
        raise RefusedError(f"student {student}: not a causal LM directory or id: {told}") from None
    return found.to(device())


def pretrained(name: str) -> tuple[Any, Any]:
    """
    The model and tokenizer of a student from elsewhere.

    *name* is a Hugging Face directory or hub id, or the path of a ``.gguf`` file, whose weights
    are dequantised to fp32.
    """
    if not name.endswith(".gguf"):
        return model(name), tokenizer(name)
    from transformers import GgufConfig

    file = Path(name)
    if not file.is_file():
        raise RefusedError(f"student.model: there is no file {name}", code=CONFIG)
    folder = str(file.parent)
    opened = AutoModelForCausalLM.from_pretrained(
        folder,
        gguf_file=file.name,
        dtype=torch.float32,
        quantization_config=GgufConfig(dequantize=True),
        trust_remote_code=False,
    )
    return opened.to(device()), only_tokenizer(name)


def only_tokenizer(name: str) -> Any:
    """The tokenizer of a student from elsewhere, as `pretrained` takes it, without its weights."""
    if not name.endswith(".gguf"):
        return tokenizer(name)
    file = Path(name)
    if not file.is_file():
        raise RefusedError(f"student.model: there is no file {name}", code=CONFIG)
    return AutoTokenizer.from_pretrained(str(file.parent), gguf_file=file.name)


def seeded(seed: int) -> None:
    """Seed every source of chance that a model is initialised from."""
    set_seed(seed)


def save(opened: Any, words: Any, out: Path, note: dict[str, Any]) -> None:
    """Write model, tokenizer and *note* to *out*, an ordinary Hugging Face directory."""
    out.mkdir(parents=True, exist_ok=True)
    opened.save_pretrained(out)
    words.save_pretrained(out)
    save_note(out, note)


def save_note(out: Path, note: dict[str, Any]) -> None:
    """Write only *note*: all there is to a round that was passed through."""
    out.mkdir(parents=True, exist_ok=True)
    (out / NOTE).write_text(json.dumps(note, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def read_note(student: Path) -> dict[str, Any]:
    """What `save` noted of *student*; empty for one from elsewhere."""
    file = student / NOTE
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}
