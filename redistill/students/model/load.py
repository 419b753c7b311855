"""Opening and saving students: Hugging Face directories, safetensors only, no remote code."""

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, set_seed
from transformers.utils import logging

from redistill.console.exceptions import CONFIG, INTERNAL, RefusedError
from redistill.records import manifest
from redistill.students.model.note import NOTE, save_note
from redistill.students.model.precision import device, precision
from redistill.students.model.settings import Attention, Precision

ADAPTER = "adapter_config.json"  # what marks a directory of peft as an adapter


def quiet() -> None:
    """Keep transformers' own bars and hints out of the stages' lines, and set the threads."""
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    threads = os.environ.get("REDISTILL_THREADS")
    if threads:
        torch.set_num_threads(int(threads))


def tokenizer(student: Path | str, *, revision: str | None = None) -> Any:
    """Load the tokenizer of *student*; its padding token is its EOS where it has none."""
    _verify(Path(student))
    try:
        found = AutoTokenizer.from_pretrained(
            str(student), trust_remote_code=False, **_given(revision=revision)
        )
    except (OSError, ValueError) as problem:
        raise RefusedError(f"student {student}: has no tokenizer: {_told(problem)}") from None
    return _padded(found)


def model(
    student: Path | str,
    *,
    dtype: Precision = "fp32",
    attention: Attention | None = None,
    revision: str | None = None,
) -> Any:
    """
    Load the causal LM of *student* on `device`; raises RefusedError where it is none.

    A directory with a manifest is held to it first. Weights are read from safetensors alone, and
    no code comes with them; an adapter of peft is no student until it is merged into its model.
    """
    _verify(Path(student))
    if _is_adapter(str(student), revision):
        raise RefusedError(
            f"student {student}: is an adapter ({ADAPTER}), not a model; merge it into its model "
            "and save that (peft: merge_and_unload)",
            code=CONFIG,
        )
    used = precision(dtype)
    if attention == "flash_attention_2" and torch.device(device()).type != "cuda":
        raise RefusedError("student.attention: flash_attention_2 needs a GPU", code=CONFIG)
    try:
        found = AutoModelForCausalLM.from_pretrained(
            str(student),
            dtype={"fp32": torch.float32, "bf16": torch.bfloat16}[used],
            use_safetensors=True,
            trust_remote_code=False,
            **_given(revision=revision, attn_implementation=attention),
        )
    except (OSError, ValueError, ImportError) as problem:
        told = _told(problem)
        raise RefusedError(f"student {student}: not a causal LM directory or id: {told}") from None
    return found.to(device())


def pretrained(name: str, *, revision: str | None = None) -> tuple[Any, Any]:
    """
    Load the model and tokenizer of a student from elsewhere.

    *name* is a Hugging Face directory or hub id, or the path of a ``.gguf`` file, whose weights
    are dequantised to fp32. *revision* is a commit, tag or branch of a hub id.
    """
    if not name.endswith(".gguf"):
        return model(name, revision=revision), tokenizer(name, revision=revision)
    return _from_gguf(_gguf(name))


def commit(name: str, revision: str | None) -> str | None:
    """
    Find the commit of the hub id *name* that *revision* stands for now; None for what lies here.

    Raises RefusedError for a revision of a file or directory, and for a repository or revision
    that cannot be had.
    """
    if name.endswith(".gguf") or Path(name).exists():
        if revision is not None:
            raise RefusedError(
                f"student.revision: {name} is a file or directory here; only a hub id has "
                "revisions, so set it to null",
                code=CONFIG,
            )
        return None
    from transformers.utils import cached_file
    from transformers.utils.hub import extract_commit_hash

    try:
        config = cached_file(name, "config.json", **_given(revision=revision))
    except OSError as problem:
        raise RefusedError(
            f"student {name}: not a causal LM directory or id: {_told(problem)}"
        ) from None
    return str(extract_commit_hash(config, None) or "") or None


def only_tokenizer(name: str, *, revision: str | None = None) -> Any:
    """
    Load the tokenizer of a student from elsewhere, without its weights.

    The student is what `pretrained` takes.
    """
    if not name.endswith(".gguf"):
        return tokenizer(name, revision=revision)
    return _tokenizer_of_gguf(_gguf(name))


def seeded(seed: int) -> None:
    """Seed every source of chance that a model is initialised from."""
    set_seed(seed)


def stop_at(model: Any, end: int) -> None:
    """Have *model* say in its files that an answer ends at *end*, for whoever else runs it."""
    known = model.generation_config.eos_token_id
    ends = known if isinstance(known, list) else [known] if known is not None else []
    if end not in ends:
        model.generation_config.eos_token_id = [end, *ends]


def save(model: Any, tokenizer: Any, out: Path, note: dict[str, Any]) -> None:
    """
    Write model, tokenizer and *note* to *out*, an ordinary Hugging Face directory.

    Its manifest is written last. Weights that are not finite are refused with their name.
    """
    for name, weight in model.state_dict().items():
        if not bool(torch.isfinite(weight).all()):
            raise RefusedError(f"{out}: not saved, {name} holds a weight that is not finite; lower "
                               "the learning rate", code=INTERNAL)  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    save_note(out, note)


def _padded(tokenizer: Any) -> Any:
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _gguf(name: str) -> Path:
    file = Path(name)
    if not file.is_file():
        raise RefusedError(f"student.model: there is no file {name}", code=CONFIG)
    return file


def _from_gguf(file: Path) -> tuple[Any, Any]:
    from transformers import GgufConfig

    with _readable(file):
        model = AutoModelForCausalLM.from_pretrained(
            str(file.parent),
            gguf_file=file.name,
            dtype=torch.float32,
            quantization_config=GgufConfig(dequantize=True),
            trust_remote_code=False,
        )
    tokenizer = _tokenizer_of_gguf(file)
    return model.to(device()), tokenizer


def _tokenizer_of_gguf(file: Path) -> Any:
    with _readable(file):
        tokenizer = AutoTokenizer.from_pretrained(
            str(file.parent), gguf_file=file.name, trust_remote_code=False
        )
    return _padded(tokenizer)


@contextmanager
def _readable(file: Path) -> Iterator[None]:
    """Refuse a GGUF file that cannot be read, in one line."""
    try:
        yield
    except (OSError, ValueError, LookupError, ImportError, struct.error) as problem:
        raise RefusedError(f"student {file}: cannot be read: {_told(problem)}") from None


def _is_adapter(student: str, revision: str | None) -> bool:
    """Whether transformers would look for an adapter in *student*, and read it its own way."""
    if Path(student).is_dir():
        return (Path(student) / ADAPTER).is_file()
    from transformers.utils import cached_file

    return bool(
        cached_file(
            student,
            ADAPTER,
            **_given(revision=revision),
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
            _raise_exceptions_for_gated_repo=False,
        )
    )


def _verify(student: Path) -> None:
    """Hold a student that was saved here to its manifest; one from elsewhere has none of ours."""
    if (student / NOTE).is_file():
        files = (file for file in student.rglob("*") if file.is_file())
        stats = tuple(sorted((str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in files))
        faults = _faults(student, stats)
        if faults:
            raise RefusedError(
                f"student {student} is not what was saved, {len(faults)} of its files differ: "
                f"{faults[0]}; delete it and make it again (dvc checkout, or dvc repro)"
            )


@lru_cache(maxsize=64)
def _faults(student: Path, stats: tuple[tuple[str, int, int], ...]) -> list[str]:
    """The faults of *student* while its files are as in *stats*: each state is hashed once."""
    return manifest.verify(student)


def _given(**options: str | None) -> dict[str, str]:
    return {name: value for name, value in options.items() if value is not None}


def _told(problem: Exception) -> str:
    return " ".join(str(problem).split())[:300]
