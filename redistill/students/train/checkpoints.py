"""Checkpoints of a training: outside DVC's outs, and used only where they are complete."""

import fcntl
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from redistill.console import rank
from redistill.console.exceptions import TRY_AGAIN, RefusedError
from redistill.console.safe_text import safe_text
from redistill.records import manifest
from redistill.students.model import ranks
from redistill.students.model.tokens import Example

PATH = Path(".redistill/checkpoints")
VARIABLE = "REDISTILL_CHECKPOINTS"  # names another folder
CHANCE = "chance.safetensors"  # the generator's state where the epoch began, and where it was saved
LOCK = "lock"
KEPT = 2  # the last complete one stays while the next is being written


def key(examples: Sequence[Example], start: Path, how: Mapping[str, Any]) -> str:
    """
    Make the key that a checkpoint must agree on to be gone on from.

    It stands for the rows, the student that the training started from, *how* the student is
    trained, and the versions of the libraries that do it.
    """
    whole = hashlib.sha256()
    for example in examples:
        whole.update(json.dumps([example.ids, example.labels]).encode())
    versions = [torch.__version__, transformers.__version__]
    settled = [versions, manifest.digest(start), dict(how)]
    whole.update(json.dumps(settled, sort_keys=True).encode())
    return whole.hexdigest()[:16]


@contextmanager
def kept(name: str, key: str) -> Iterator[Path]:
    """
    Hold the folder for the checkpoints of the training *name* under *key* against a second run.

    Where the block ends well, the student is saved, and its checkpoints are removed. Those of
    earlier settings go with them, but not from a folder with an absolute path, in which others may
    keep theirs. Of several processes the first holds the folder for all. Raises RefusedError (75)
    where another run holds it.
    """
    root = Path(os.environ.get(VARIABLE) or PATH)
    folder = root / name / key
    if not rank.first():
        yield folder
        return
    lock = _locked(folder)
    if lock is None:
        raise RefusedError(
            f"{folder}: another process trains {name} here; wait for it to end, or end it",
            code=TRY_AGAIN,
        )
    try:
        yield folder
        shutil.rmtree(folder)
    finally:
        os.close(lock)
    if not root.is_absolute():
        _remove_idle(folder.parent)


def _locked(folder: Path) -> int | None:
    """
    Make *folder* and lock it; None where another process has it locked.

    Whoever had it may have removed it between two steps of this: then it is made once more.
    """
    place = folder / LOCK
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock = os.open(place, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return None
        if _is(lock, place):
            return lock
        os.close(lock)


def _is(opened: int, place: Path) -> bool:
    """Whether the file that is *opened* is still the one at *place*."""
    try:
        return os.path.samestat(os.fstat(opened), place.stat())
    except FileNotFoundError:
        return False


def _remove_idle(folder: Path) -> None:
    """Remove what is in *folder* of trainings that nobody is at."""
    for other in sorted(path for path in folder.iterdir() if path.is_dir()):
        lock = _locked(other)
        if lock is not None:
            shutil.rmtree(other)
            os.close(lock)


def newest(folder: Path) -> Path | None:
    """
    Find the latest checkpoint in *folder* that is as it was written; None where there is none.

    Later ones that are half-written or damaged are named on stderr with what is wrong, and
    removed, so that they are not counted among those to keep.
    """
    for checkpoint in sorted(folder.glob("checkpoint-*"), key=_step, reverse=True):
        faults = manifest.verify(checkpoint)
        if not faults:
            return checkpoint
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        print(safe_text(f"skipped {checkpoint.name}: {faults[0]}{more}"), file=sys.stderr)
        shutil.rmtree(checkpoint)
    return None


class Keeper(TrainerCallback):  # type: ignore[misc]  # transformers is not typed
    """
    Completes each checkpoint of the Trainer, and puts the order of rows back after one.

    The Trainer draws the order of an epoch from torch's generator as the epoch begins; it keeps
    the generator's state at the checkpoint, but not the one that the order came from.
    """

    def __init__(self, resumed: Path | None) -> None:
        self._chance = load_file(resumed / CHANCE) if resumed else None
        self._began = torch.get_rng_state()

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Remember what the epoch's order is drawn from, or put it back."""
        if self._chance is not None:
            between = float(state.epoch or 0).is_integer()  # saved at the end of an epoch
            torch.set_rng_state(self._chance["saved" if between else "began"])
            self._chance = None
        self._began = torch.get_rng_state()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """
        Save no checkpoint after the last step.

        There is nothing to go on with: the student itself is saved.
        """
        if state.global_step >= state.max_steps:
            control.should_save = False

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Write the manifest, without which the checkpoint does not count."""
        ranks.wait()  # each process saves the state of its own generator
        if not rank.first():
            return
        checkpoint = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
        chance = {"began": self._began, "saved": torch.get_rng_state()}
        save_file(chance, checkpoint / CHANCE)
        manifest.write(checkpoint)


def _step(checkpoint: Path) -> int:
    number = checkpoint.name.rpartition("-")[2]
    return int(number) if number.isdecimal() else -1
