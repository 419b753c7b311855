"""A student's folder, looked at before any of it is opened, so that a fault is told by its file."""

import json
import math
import os
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from redistill.console.exceptions import CONFIG, RefusedError

ADAPTER = "adapter_config.json"  # what marks a directory of peft as an adapter
CONFIG_FILE = "config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
POINTER = b"version https://git-lfs.github.com/spec/"
JSON = (  # what is read of a folder; whatever else lies there is nobody's business
    CONFIG_FILE, "generation_config.json", INDEX, "tokenizer.json", "tokenizer_config.json",
    "special_tokens_map.json", "added_tokens.json", "vocab.json",
)  # fmt: skip
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack")
COUNTS = re.compile(r"^(n|num)_(\w+_)?(layer|expert|block)s?$")  # of parts built one by one
MOST_PARTS = 10_000
LARGEST_HEADER = 100_000_000  # bytes, the limit of safetensors itself
FLOATS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}  # dtypes of weights that are read, in bytes
# Tables that old checkpoints hold beside what was learnt: they are computed anew.
TABLES = re.compile(r"(^|\.)(inv_freq|masked_bias|attn\.bias|attention\.bias|position_ids)$")


def located(name: str, place: str = "student.model") -> Path | None:
    """
    Find the folder or ``.gguf`` file that *name* stands for here; None where it is a hub id.

    Raises RefusedError for a path at which there is nothing, for one that opens with ``~``, and
    for a file that is none of GGUF. *place* is where *name* stands in the settings.
    """
    if os.path.isdir(name):
        return Path(name)
    if os.path.isfile(name):
        if name.endswith(".gguf"):
            return Path(name)
        raise _refused(f"{place}: {name} is a file; name the folder that it lies in")
    if name.startswith("~"):
        whole = os.path.expanduser(name)
        raise _refused(
            f"{place}: {name}: there is no such folder, as ~ is not expanded in params.yaml; "
            f"write the whole path ({whole}{'' if os.path.isdir(whole) else ', which is not there'}"
            ")"
        )
    first = name.partition("/")[0]
    if name.endswith(".gguf"):
        raise _refused(f"{place}: there is no file {name}")
    if not HUB_ID.fullmatch(name) or ("/" in name and os.path.isdir(first)):
        raise _refused(
            f"{place}: {name}: there is no such folder; name one that holds {CONFIG_FILE} and "
            f"{WEIGHTS}, a .gguf file, or a hub id (owner/name)"
        )
    return None


@contextmanager
def opened(what: str) -> Iterator[None]:
    """
    Turn whatever a library stumbles over in files from elsewhere into one line that opens *what*.

    Raises RefusedError.
    """
    try:
        yield
    except (RefusedError, MemoryError):
        raise
    except Exception as problem:  # Rust's libraries raise Exception itself
        raise RefusedError(f"{what}: {told(problem)}") from problem


def told(problem: Exception) -> str:
    """Put an error of a library on one line of at most 300 characters."""
    return " ".join(str(problem).split())[:300] or type(problem).__name__


def check(folder: Path) -> None:
    """
    Refuse a model whose files cannot be what their names say, naming the first that is not.

    Looked at are JSON files, whether a file is a pointer of git-lfs, and the headers of the
    weights; no weight is read.
    """
    where = f"student {folder}"
    if (folder / ADAPTER).is_file():
        refuse_adapter(str(folder))
    check_texts(folder)
    if not (folder / CONFIG_FILE).is_file():
        raise RefusedError(
            f"{where}: not a causal LM directory: there is no {CONFIG_FILE} in it; name the folder "
            "that save_pretrained wrote"
        )
    if _mapping(folder / CONFIG_FILE).get("quantization_config") is not None:
        raise RefusedError(
            f"{folder / CONFIG_FILE}: quantization_config: quantised weights cannot be trained; "
            "name the model that was quantised, or save it dequantised",
            code=CONFIG,
        )
    for file in _shards(folder):
        _check_weights(file)


def refuse_adapter(student: str) -> NoReturn:
    """Refuse *student*, which peft saved without the model that it belongs to."""
    raise RefusedError(
        f"student {student}: is an adapter ({ADAPTER}), not a model; merge it into its model and "
        "save that (peft: merge_and_unload)",
        code=CONFIG,
    )


def check_texts(folder: Path) -> None:
    """Refuse a folder in which a file of text is empty, no JSON, or a pointer of git-lfs."""
    for name in JSON:
        if (folder / name).is_file():
            content = _mapping(folder / name)
            if name == CONFIG_FILE:
                _refuse_absurd(folder / name, content)
    for file in sorted([*folder.glob("*.model"), *folder.glob("*.txt"), *folder.glob("*.jinja")]):
        _refuse_pointer(file)


def _refuse_absurd(file: Path, content: Any) -> None:
    """Refuse counts of layers or experts in the config *file* that could only be slips."""
    parts = content.items() if isinstance(content, dict) else ()
    for name, value in parts:
        _refuse_absurd(file, value)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if number and COUNTS.search(name) and not value <= MOST_PARTS:
            raise RefusedError(f"{file}: {name}: {value} is no size that a model has; mend it")


def check_gguf(file: Path) -> None:
    """Refuse a ``.gguf`` file that is empty, a pointer of git-lfs, or none of GGUF."""
    _refuse_pointer(file)
    with file.open("rb") as opened_file:
        if opened_file.read(4) != b"GGUF":
            raise RefusedError(f"student {file}: cannot be read: it is no GGUF file")


def _shards(folder: Path) -> list[Path]:
    """The files of the weights, each of which is there."""
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if (folder / INDEX).is_file():
        index = _mapping(folder / INDEX)
        names = index.get("weight_map")
        named: list[Any] = list(names.values()) if isinstance(names, dict) else [None]
        if "metadata" not in index or not all(isinstance(name, str) for name in named):
            raise RefusedError(
                f"{folder / INDEX}: has no weight_map of names, or no metadata; fetch it again"
            )
        files = [folder / str(name) for name in sorted(set(named))]
        if missing := [file for file in files if not file.is_file()]:
            raise RefusedError(
                f"{missing[0]}: missing, {len(missing)} of the {len(files)} files that {INDEX} "
                "names; fetch the model again, whole"
            )
        return files
    pickled = sorted(file.name for kind in PICKLES for file in folder.glob(kind))
    why = f", only {pickled[0]}, and opening a pickle runs code" if pickled else ""
    raise RefusedError(
        f"student {folder}: not a causal LM directory: there is no {WEIGHTS} in it{why}; save it "
        "with save_pretrained (safetensors)"
    )


def _check_weights(file: Path) -> None:
    _refuse_pointer(file)
    size = file.stat().st_size
    tensors, end = _header(file, size)
    last = 0
    for name, entry in tensors.items():
        try:
            dtype, (first, behind) = entry["dtype"], entry["data_offsets"]
            values = math.prod(entry["shape"])
        except (KeyError, TypeError, ValueError):
            raise RefusedError(f"{file}: {name}: its entry is damaged; fetch it again") from None
        if dtype not in FLOATS:
            if TABLES.search(name):
                last = max(last, behind)
                continue
            raise RefusedError(
                f"{file}: {name} is of dtype {dtype}; weights are {', '.join(FLOATS)}: save the "
                "model in one of those (a quantised one dequantised)"
            )
        if behind - first != FLOATS[dtype] * values:
            raise RefusedError(f"{file}: {name}: its size is not that of its shape; fetch it again")
        last = max(last, behind)
    if end + last != size:
        raise RefusedError(
            f"{file}: has {size} bytes, its header says {end + last}: it was cut off, or written "
            "half; fetch it again"
        )


def _header(file: Path, size: int) -> tuple[dict[str, Any], int]:
    """What the header of a safetensors *file* says of each tensor, and where the header ends."""
    with file.open("rb") as opened_file:
        first = opened_file.read(8)
        length = struct.unpack("<Q", first)[0] if len(first) == 8 else 0
        if not 2 <= length <= min(size - 8, LARGEST_HEADER):
            raise RefusedError(
                f"{file}: is no safetensors file, or was cut off ({size} bytes); fetch it again"
            )
        raw = opened_file.read(length)
    try:
        tensors = json.loads(raw)
        tensors.pop("__metadata__", None)
    except (ValueError, AttributeError, TypeError, RecursionError):
        raise RefusedError(f"{file}: its header is damaged; fetch it again") from None
    if not tensors:
        raise RefusedError(f"{file}: holds no weights; fetch it again")
    return tensors, 8 + length


def _mapping(file: Path) -> dict[str, Any]:
    """The content of a JSON *file*, which must be an object."""
    _refuse_pointer(file)
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as problem:
        raise RefusedError(
            f"{file}: is not readable as JSON ({told(problem)}); mend it, or fetch it again"
        ) from None
    if not isinstance(content, dict):
        raise RefusedError(f"{file}: is no JSON object; mend it, or fetch it again")
    return content


def _refuse_pointer(file: Path) -> None:
    try:
        with file.open("rb") as opened_file:
            start = opened_file.read(len(POINTER))
    except OSError as problem:
        raise RefusedError(f"{file}: cannot be read: {problem.strerror}") from None
    if not start:
        raise RefusedError(f"{file}: is empty; fetch it again")
    if start == POINTER:
        raise RefusedError(
            f"{file}: is a pointer of git-lfs, not the file; fetch it (git lfs install, then "
            "git lfs pull)"
        )


def _refused(message: str) -> RefusedError:
    return RefusedError(message, code=CONFIG)
