"""Whether a student can be saved: tried on its small files before anything is trained."""

from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Any

from redistill.console import disk
from redistill.console.exceptions import CONFIG, RefusedError
from redistill.students.model.folder import told

TOKENS = ("eos_token_id", "bos_token_id", "pad_token_id")
FIRST = (*TOKENS, "do_sample")  # others are refused without it


def mended(model: Any) -> list[str]:
    """
    Leave out of *model*'s generation config whatever it cannot be saved with, and say it.

    Its values are hints to whoever else runs the student; none of them is read here but where an
    answer ends. Each that can be saved with those before it is kept, those of tokens first.
    transformers saves a config that is as it was loaded with anything in it, but not one in which
    the end of an answer was changed, as after a training.
    """
    config, size = model.generation_config, int(model.get_input_embeddings().num_embeddings)
    if config is None or _savable(config, size):
        return []
    asked = {n: v for n, v in config.to_diff_dict().items() if n != "transformers_version"}
    kept, left_out = type(config)(), []
    for name in sorted(asked, key=lambda name: (name not in FIRST, name)):
        before = getattr(kept, name, None)
        setattr(kept, name, asked[name])
        if not _savable(kept, size):
            setattr(kept, name, before)
            left_out.append(f"{name}: {asked[name]!r}")
    model.generation_config = kept
    return [f"generation_config.json cannot be saved as it is; left out: {', '.join(left_out)}"]


def try_out(model: Any, tokenizer: Any, student: str) -> None:
    """
    Save all of *student* but the weights into a folder that is thrown away.

    Raises RefusedError with the file that could not be written, so that no training is lost to it.
    """
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        _try(lambda: model.config.save_pretrained(folder), student, "config.json")
        if model.generation_config is not None:
            _try(
                lambda: model.generation_config.save_pretrained(folder),
                student,
                "generation_config.json",
            )
        _try(lambda: tokenizer.save_pretrained(folder), student, "its tokenizer")


def _try(saves: Any, student: str, what: str) -> None:
    try:
        saves()
    except Exception as problem:  # whatever a library makes of odd files
        _refuse_full(problem)
        raise RefusedError(
            f"student {student}: {what} cannot be saved: {told(problem)}; mend it in the model's "
            "folder, since a trained student could not be saved either",
            code=CONFIG,
        ) from problem


def _savable(config: Any, vocabulary: int) -> bool:
    """Whether *config* passes transformers' checks, and its tokens are among *vocabulary*."""
    try:
        config.validate(strict=True)
        with TemporaryDirectory() as scratch:
            config.save_pretrained(scratch)
            type(config).from_pretrained(scratch)
    except Exception as problem:  # its kind does not matter: `mended` says what cannot be saved
        _refuse_full(problem)
        return False
    return all(_tokens(getattr(config, name), vocabulary) for name in TOKENS)


def _refuse_full(problem: Exception) -> None:
    """Refuse (74) where *problem* is one of the disk of the temporary folder, not of a student."""
    refusal = disk.refusal(problem, Path(gettempdir()))
    if refusal and disk.number(problem) in disk.WAYS:
        raise refusal from problem


def _tokens(value: Any, vocabulary: int) -> bool:
    """Whether *value* is the id of a token, a list of some, or none."""
    many = value if isinstance(value, list) else [] if value is None else [value]
    return all(type(one) is int and 0 <= one < vocabulary for one in many)
