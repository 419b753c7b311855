"""One small training, in processes of its own that can be killed at a chosen moment."""

import hashlib
import json
import os
import resource
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from redistill.console.exceptions import RefusedError
from redistill.records import manifest
from redistill.records.types import Problem, Rationale
from redistill.rounds.branches import Branch
from redistill.students.base import embedded
from redistill.students.base.settings import Shape
from redistill.students.model import load
from redistill.students.model.settings import StudentSettings
from redistill.students.train import checkpoints, shares
from redistill.students.train import fit as fitting
from redistill.students.train.settings import LoraSettings, TrainSettings
from tests.settings import PLAIN

SHAPE = Shape(
    architecture="llama",
    hidden=32, layers=2, heads=2, feed_forward=64, vocabulary=400, context=8192,
    texts=200, batch_size=8, steps=3, learning_rate=0.002,
)  # fmt: skip
ASKED = StudentSettings(
    model="embedded", revision=None, prompt="[[question]]\n", chat=None, system=None,
    attention=None, template=None, template_arguments={},
)  # fmt: skip
RULES = TrainSettings(
    method="full", steps=14, batch_size=4, accumulate=2, learning_rate=0.01, warmup=0.1,
    weight_decay=0.01, precision="fp32", packing=False, checkpointing=False, save_every=3,
    max_tokens=200, nll_rows=4, max_loss=0.5, batch_tokens=None, attention=None, liger=False,
    compile=False,
)  # fmt: skip
LORA = LoraSettings(rank=4, alpha=8.0, dropout=0.1, targets="all-linear")
FIRST = Branch(from_="r0", rationales="r0", start="base", times=1, **PLAIN)
PROBLEMS = {
    f"p{n}": Problem(
        id=f"p{n}", question=f"{'Ines has 4 eggs. ' * (1 + n % 3)}Add {n}.", answer="7"
    )
    for n in range(18)
}
LESSONS = [
    Rationale(id=p, problem=p, text=f"<<4+{p[1:]}=7>>\n#### 7", round="r0", teacher="t",
              status="first")
    for p in PROBLEMS
]  # fmt: skip


def base(folder: Path, vocabulary: int | None = None) -> Path:
    """A student of random weights, as stage base leaves one; *vocabulary* is that of its head."""
    tokenizer = embedded.tokenizer(SHAPE, 1)
    load.seeded(1)
    ends = tokenizer.eos_token_id, tokenizer.pad_token_id
    load.save(embedded.untrained(SHAPE, vocabulary or len(tokenizer), *ends), tokenizer, folder, {})
    return folder


def fit(start: Path, out: Path, **changes: Any) -> dict[str, Any]:
    """Train `RULES` with *changes* from *start* into *out*."""
    rules = RULES.model_copy(update=changes)
    return fitting.fit(
        PROBLEMS, LESSONS, start, out, FIRST, ASKED, rules, 1, LORA, max_new_tokens=150
    ).figures


def digest(student: Path) -> str:
    """What tells two students' weights apart."""
    return hashlib.sha256((student / "model.safetensors").read_bytes()).hexdigest()


def in_child(work: Callable[[], Any]) -> tuple[int, Any, str]:
    """Run *work* in a fork: its exit code (negative: the signal), what it returned and stderr."""
    out, back = os.pipe()
    told, tell = os.pipe()
    child = os.fork()
    if not child:
        os.dup2(tell, 2)
        code, answer = 0, None
        try:
            answer = work()
        except RefusedError as refusal:
            code, answer = refusal.code, str(refusal)
        os.write(back, json.dumps(answer).encode())
        os._exit(code)
    os.close(back)
    os.close(tell)
    with open(out, "rb") as answers, open(told, encoding="utf-8") as words:
        answer, stderr = answers.read(), words.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return status, json.loads(answer) if answer else None, stderr


def die(*_: Any, **__: Any) -> None:
    """End as a machine does that loses its power."""
    os.kill(os.getpid(), signal.SIGKILL)


def dying_in_step(step: int) -> None:
    """Have the training die while it computes *step*."""
    real = shares.Trainer.training_step

    def training_step(self: Any, *rest: Any, **options: Any) -> Any:
        if self.state.global_step + 1 == step:
            die()
        return real(self, *rest, **options)

    shares.Trainer.training_step = training_step


def dying_in_save(step: int, file: str) -> None:
    """Have the training die when half of *file* of the checkpoint of *step* is on disk."""
    import safetensors.torch
    from transformers import modeling_utils, trainer_callback

    from redistill.records import json_file

    def halved(real: Callable[..., Any], place: int) -> Callable[..., Any]:
        def write(*values: Any, **options: Any) -> Any:
            path = Path(str(values[place]))
            made = real(*values, **options)
            if path.parent.name == f"checkpoint-{step}" and path.name == file:
                whole = path.read_bytes()
                path.write_bytes(whole[: len(whole) // 2])
                die()
            return made

        return write

    torch.save = halved(torch.save, 1)
    modeling_utils.safe_save_file = halved(modeling_utils.safe_save_file, 1)
    safetensors.torch.save_file = halved(safetensors.torch.save_file, 1)
    checkpoints.save_file = halved(checkpoints.save_file, 1)
    state = trainer_callback.TrainerState
    state.save_to_json = halved(state.save_to_json, 1)
    json_file.write_json = halved(json_file.write_json, 0)


def memory(extra: int) -> None:
    """Let this process grow by *extra* bytes at most."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + extra
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def main(work: str, folder: Path) -> None:
    """Kill and resume the training in forks of this process, and print what came of it."""
    load.quiet()
    torch.set_num_threads(1)
    start = base(folder / "base")
    SCENES[work](start, folder)


def _killed(start: Path, folder: Path) -> None:
    """At steps before, between and after checkpoints, one of them saved as an epoch ended."""
    moments = {}
    for step, every in [(2, 3), (6, 5), (8, 5), (10, 3), (14, 3)]:
        arm = partial(dying_in_step, step)
        moments[f"step {step}, every {every}"] = (arm, {"save_every": every})
    _die_and_go_on(start, folder, moments, {})


def _killed_with_dropout(start: Path, folder: Path) -> None:
    """LoRA, whose dropout draws from the generator in every step."""
    _die_and_go_on(start, folder, {"step 8": (partial(dying_in_step, 8), {})}, {"method": "lora"})


def _killed_by_tokens(start: Path, folder: Path) -> None:
    """In steps by tokens, between two checkpoints and in the second epoch."""
    moments = {f"step {step}": (partial(dying_in_step, step), {}) for step in (5, 9)}
    _die_and_go_on(start, folder, moments, {"batch_tokens": 60, "accumulate": 1})


FILES = ("model.safetensors", "training_args.bin", "optimizer.pt", "scheduler.pt",
         "rng_state.pth", "trainer_state.json", checkpoints.CHANCE, manifest.NAME)  # fmt: skip


def _killed_in_save(start: Path, folder: Path, files: Sequence[str] = FILES[::3]) -> None:
    """While one of some *files* of a checkpoint, or the last of all, is half on disk."""
    files = dict.fromkeys((*files, manifest.NAME))
    moments = {file: (partial(dying_in_save, 9, file), {}) for file in files}
    _die_and_go_on(start, folder, moments, {})


def _die_and_go_on(
    start: Path,
    folder: Path,
    moments: dict[str, tuple[Callable[[], None], dict[str, Any]]],
    changes: dict[str, Any],
) -> None:
    _, whole, _ = in_child(lambda: fit(start, folder / "whole" / "r0", **changes, save_every=0))
    found = {}
    for name, (arm, more) in moments.items():
        out = folder / name.replace(" ", "-") / "r0"

        def run(arm: Callable[[], None] | None, out: Path = out, more: Any = more) -> Any:
            if arm:
                arm()
            return fit(start, out, **{**changes, **more})

        died, _, _ = in_child(lambda arm=arm, run=run: run(arm))
        code, figures, told = in_child(lambda run=run: run(None))
        found[name] = {
            "died": died,
            "code": code,
            "told": told,
            "same": digest(out) == digest(folder / "whole" / "r0"),
            "same_losses": figures["losses"] == whole["losses"],
            "same_figures": {**figures, "losses": None} == {**whole, "losses": None},
            "left": [str(path) for path in checkpoints.PATH.glob("*/*")],
        }
    print(json.dumps(found))


def _corrupted(start: Path, folder: Path) -> None:
    in_child(lambda: fit(start, folder / "whole" / "r0", save_every=0))
    found = {}
    for name, change in (
        ("optimizer.pt", lambda content: content[:-100]),
        ("model.safetensors", lambda content: content[:-1] + bytes([content[-1] ^ 1])),
        ("rng_state.pth", lambda content: content[:-64] + bytes(64)),
    ):
        out = folder / name / "r0"

        def first(out: Path = out) -> Any:
            dying_in_step(11)
            return fit(start, out)

        in_child(first)
        (file,) = checkpoints.PATH.glob(f"*/*/checkpoint-9/{name}")
        before = hashlib.sha256(file.read_bytes()).hexdigest()
        file.write_bytes(change(file.read_bytes()))
        after = hashlib.sha256(file.read_bytes()).hexdigest()
        code, _, told = in_child(lambda out=out: fit(start, out))
        found[name] = {
            "code": code,
            "told": told,
            "expected": [f"skipped checkpoint-9: {file}: ", before, after],
            "same": digest(out) == digest(folder / "whole" / "r0"),
        }
    print(json.dumps(found))


def _exhausted(start: Path, folder: Path) -> None:
    def work() -> Any:
        memory(200 * 2**20)
        global PROBLEMS
        PROBLEMS = {
            p: problem.model_copy(update={"question": "Add 4 and 3. " * 500})
            for p, problem in PROBLEMS.items()
        }
        return fit(start, folder / "r0", max_tokens=10**6, batch_size=64, accumulate=1, nll_rows=1)

    code, answer, _ = in_child(work)
    print(json.dumps({"code": code, "answer": answer}))


SCENES = {
    "killed": _killed,
    "killed with dropout": _killed_with_dropout,
    "killed by tokens": _killed_by_tokens,
    "killed in save": _killed_in_save,
    "killed in any save": partial(_killed_in_save, files=FILES),
    "corrupted": _corrupted,
    "exhausted": _exhausted,
}

if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
