"""Opening and saving students: Hugging Face directories, safetensors only, no remote code."""

import os
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_model
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig, set_seed
from transformers.utils import logging

from redistill.console import drafts
from redistill.console.exceptions import CONFIG, INTERNAL, RefusedError
from redistill.records import manifest
from redistill.students.model import folder, saving, weights
from redistill.students.model.folder import ADAPTER, opened
from redistill.students.model.note import NOTE, save_note
from redistill.students.model.precision import device, precision
from redistill.students.model.settings import Precision

NOT_A_MODEL = "not a causal LM directory or id"


@dataclass(frozen=True)
class Sketch:
    """What is known of a model whose weights were not read: each has a name and a shape."""

    vocabulary: int
    context: int | None
    bytes: int
    mended: list[str]
    model: Any


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
    if Path(student).is_dir():
        folder.check_texts(Path(student))
        _configured(Path(student))
    files = "tokenizer.json, tokenizer_config.json"
    with opened(f"student {student}: has no tokenizer that can be opened ({files})"):
        found = AutoTokenizer.from_pretrained(
            str(student), trust_remote_code=False, **_given(revision=revision)
        )
        found.decode(found("Add 3.")["input_ids"])  # odd values are stumbled over in use alone
        return _padded(found)


def model(
    student: Path | str,
    *,
    dtype: Precision = "fp32",
    attention: str | None = None,
    revision: str | None = None,
) -> Any:
    """
    Load the causal LM of *student* on `device`; raises RefusedError where it is none.

    A directory with a manifest is held to it first. Weights are read from safetensors alone, each
    that the model has and no other, and no code comes with them; an adapter of peft is no student
    until it is merged into its model.
    """
    _refuse_unread(student, revision)
    if Path(student).is_dir() and not (Path(student) / NOTE).is_file():
        # before odd sizes take all memory
        _from_pretrained(str(student), dtype=torch.float32, device_map="meta")
    used = precision(dtype)
    if attention == "flash_attention_2" and torch.device(device()).type != "cuda":
        raise RefusedError("student.attention: flash_attention_2 needs a GPU", code=CONFIG)
    asked = _given(revision=revision, attn_implementation=attention)
    return _from_pretrained(
        str(student), dtype={"fp32": torch.float32, "bf16": torch.bfloat16}[used], **asked
    ).to(device())


def sketch(student: Path, tokenizer: Any) -> Sketch:
    """
    Open the model of the folder *student* without its weights, and try to save it.

    The weights' names and shapes are read, which takes a second however many there are. Raises
    RefusedError for all that `model` refuses but weights that are not finite.
    """
    _refuse_unread(student, None)
    found = _from_pretrained(str(student), dtype=torch.float32, device_map="meta")
    mended = saving.mended(found)
    saving.try_out(found, tokenizer, str(student))
    size = sum(weight.numel() * weight.element_size() for weight in found.parameters())
    return Sketch(
        int(found.get_input_embeddings().num_embeddings), context(found.config), size, mended, found
    )


def context(config: Any) -> int | None:
    """Return how many tokens a model of *config* takes at most; None where that does not say."""
    most = getattr(config.get_text_config(), "max_position_embeddings", None)
    return most if isinstance(most, int) and most > 0 else None


def context_of(student: Path) -> int | None:
    """Return how many tokens *student*, a folder, takes at most; None where it does not say."""
    with opened(f"student {student}: {folder.CONFIG_FILE}"):
        return context(AutoConfig.from_pretrained(student, trust_remote_code=False))


def pretrained(
    name: str, *, revision: str | None = None, place: str = "student.model"
) -> tuple[Any, Any]:
    """
    Load the model and tokenizer of a student from elsewhere.

    *name* is a Hugging Face directory or hub id, or the path of a ``.gguf`` file, whose weights
    are dequantised to fp32. *revision* is a commit, tag or branch of a hub id. *place* is where
    *name* stands in the settings.
    """
    folder.located(name, place)
    if not name.endswith(".gguf"):
        return model(name, revision=revision), tokenizer(name, revision=revision)
    return _from_gguf(Path(name))


def commit(name: str, revision: str | None, place: str = "student") -> str | None:
    """
    Find the commit of the hub id *name* that *revision* stands for now; None for what lies here.

    Raises RefusedError for a revision of a file or directory, and for a repository or revision
    that cannot be had.
    """
    if revision is not None and (name.endswith(".gguf") or os.path.exists(name)):
        raise RefusedError(
            f"{place}.revision: {name} is a file or directory here; only a hub id has revisions, "
            "so set it to null",
            code=CONFIG,
        )
    if folder.located(name, f"{place}.model") is not None:
        return None
    from transformers.utils import cached_file
    from transformers.utils.hub import extract_commit_hash

    with opened(f"student {name}: {NOT_A_MODEL}"):
        config = cached_file(name, "config.json", **_given(revision=revision))
    return str(extract_commit_hash(config, None) or "") or None


def only_tokenizer(name: str, *, revision: str | None = None) -> Any:
    """
    Load the tokenizer of a student from elsewhere, without its weights.

    The student is what `pretrained` takes.
    """
    folder.located(name)
    if not name.endswith(".gguf"):
        return tokenizer(name, revision=revision)
    return _tokenizer_of_gguf(Path(name))


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
    write(model, tokenizer, out)
    save_note(out, note)


def write(model: Any, tokenizer: Any, out: Path) -> None:
    """
    Write model and tokenizer to *out*, all but the note and the manifest that end a student.

    What its generation config cannot be saved with is left out and said on stderr. Where another
    small file cannot be saved, the weights are written by themselves before that is refused.
    What is said names the folder that *out* becomes, where it is a draft.
    """
    named = drafts.shown(out)
    for name, weight in model.state_dict().items():
        if not bool(torch.isfinite(weight).all()):
            told = f"{named}: not saved, {name} holds a weight that is not finite"
            raise RefusedError(f"{told}; lower the learning rate", code=INTERNAL)
    for line in saving.mended(model):
        print(f"{named.name}: {line}", file=sys.stderr, flush=True)
    out.mkdir(parents=True, exist_ok=True)
    try:
        saving.try_out(model, tokenizer, str(named))
    except RefusedError:
        save_model(model, str(out / folder.WEIGHTS), metadata={"format": "pt"})
        raise
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)


def _padded(tokenizer: Any) -> Any:
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _from_pretrained(name: str, **how: Any) -> Any:
    """The causal LM *name*, opened as *how* says, with every weight from its files."""
    here = f"not a causal LM directory, as its {folder.CONFIG_FILE} says it"
    with opened(f"student {name}: {here if os.path.isdir(name) else NOT_A_MODEL}"):
        found, info = AutoModelForCausalLM.from_pretrained(
            name,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are refused below, with their names
            **how,
        )
    weights.complete(name, info)
    return found


def _from_gguf(file: Path) -> tuple[Any, Any]:
    from transformers import GgufConfig

    folder.check_gguf(file)
    with opened(f"student {file}: cannot be read"):
        model, info = AutoModelForCausalLM.from_pretrained(
            str(file.parent),
            gguf_file=file.name,
            dtype=torch.float32,
            quantization_config=GgufConfig(dequantize=True),
            trust_remote_code=False,
            output_loading_info=True,
        )
    weights.complete(str(file), info)
    return model.to(device()), _tokenizer_of_gguf(file)


def _tokenizer_of_gguf(file: Path) -> Any:
    folder.check_gguf(file)
    with opened(f"student {file}: cannot be read"):
        tokenizer = AutoTokenizer.from_pretrained(
            str(file.parent), gguf_file=file.name, trust_remote_code=False
        )
    return _padded(tokenizer)


def _refuse_unread(student: Path | str, revision: str | None) -> None:
    """Refuse *student* by what can be seen of it before it is opened."""
    _verify(Path(student))
    if Path(student).is_dir():
        folder.check(Path(student))
        _configured(Path(student))
        generation = Path(student) / "generation_config.json"
        if generation.is_file():
            with opened(f"{generation}: mend or delete it, nothing but eos_token_id is read"):
                GenerationConfig.from_pretrained(student)
    elif _has_adapter(str(student), revision):
        folder.refuse_adapter(str(student))


def _configured(student: Path) -> None:
    """Refuse a folder whose config.json, where there is one, is none of transformers'."""
    file = student / folder.CONFIG_FILE
    if file.is_file():
        with opened(f"{file}: not that of a model that transformers knows"):
            AutoConfig.from_pretrained(student, trust_remote_code=False)


def _has_adapter(student: str, revision: str | None) -> bool:
    """Whether transformers would look for an adapter in *student* of the hub, and read it."""
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
