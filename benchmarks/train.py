"""
Training tokens a second, peak memory and MFU, ours against TRL's SFTTrainer, in turns.

A model, a Llama of random weights or the one of --model, is trained on the same rows of random ids
in the same batches and precision. Every turn is a process of its own, so that all meet the same
load of the machine. TRL may live in an environment of its own, whose Python is --trl-python, or in
a folder, --trl-site, that the Python of ours is to look into.

| way | what it is |
| --- | --- |
| ours | `train` with the settings of the default run, in rows grouped by length |
| ours, tuned | with what is given of --packing, --batch-tokens, --attention, --liger, --compile |
| before | ours by the code in the folder --before, an older commit |
| trl, trl random order | rows grouped by length as ours are, and in the order that it comes with |
| trl, tuned | rows without padding with --packing, liger's kernels with --liger |

The first --warm-up steps of a turn are not counted: they compile and set up kernels. Tokens are
those of rows, padding left out; seconds are by the clock, and on a CPU those of the processor too.
MFU is (6 N + 12 L H Q T) x tokens a second / the device's peak, as in appendix B of PaLM (arXiv
2204.02311): N parameters without an embedding that is no head, L layers of H heads of width Q, and
T the length of the row that a token stands in, on average. The peak is --peak-tflops, or that of
PEAKS. Where it is not known, or precision is not bf16, there is no MFU.

A GPU's whole measurement, in at most 8 minutes, is in docs/training.md.
"""

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from redistill.records import json_file

ROOT = Path(__file__).resolve().parent.parent
# Dense bf16 products with fp32 sums, in TFLOP/s, by a part of the device's name: NVIDIA's data
# sheets of H200, H100 (SXM, PCIe, NVL), A100, L40S and L4, half of their figures for sparse ones.
PEAKS = {
    "H200": 989.0,
    "H100 NVL": 835.0,
    "H100 PCIe": 756.0,
    "H100": 989.0,
    "A100": 312.0,
    "L40S": 362.0,
    "L4": 121.0,
}
BEGIN = """
import json, os, resource, sys, time
from pathlib import Path
import torch
from transformers.trainer_callback import DefaultFlowCallback

asked = json.loads(sys.argv[1])
folder, steps, batch, warm = Path(asked["folder"]), asked["steps"], asked["batch"], asked["warm"]
half, tuned, gpu = asked["precision"] == "bf16", asked["tuned"], torch.cuda.is_available()
stored = json.loads((folder / "rows.json").read_text())
marks = []
ended = DefaultFlowCallback.on_step_end

def marked(self, args, state, control, **more):
    if state.global_step in (warm, steps):
        if gpu:
            torch.cuda.synchronize()
        marks.append((time.monotonic(), time.process_time(), int(state.num_input_tokens_seen)))
    return ended(self, args, state, control, **more)

DefaultFlowCallback.on_step_end = marked
"""
OURS = """
from redistill.students.model import load
from redistill.students.model.tokens import Example
from redistill.students.train import loop

load.quiet()
model = load.model(folder / "model", attention=tuned.pop("attention", None))
plan = loop.Plan(
    steps=steps, batch_size=batch, accumulate=1, learning_rate=1e-4, warmup=0.0, weight_decay=0.0,
    precision=asked["precision"], seed=1, **tuned,
)
found, _ = loop.train(model, [Example(**row) for row in stored], plan, pad=0, say="ours")
loss = found["losses"]
"""
TRL = """
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, set_seed
from trl import SFTConfig, SFTTrainer

data = Dataset.from_list([
    {"input_ids": row["ids"], "completion_mask": [int(label != -100) for label in row["labels"]],
     "length": len(row["ids"])} for row in stored
])
attention = tuned.get("attention")
options = {"attn_implementation": attention} if attention else {}
model = AutoModelForCausalLM.from_pretrained(folder / "model", dtype=torch.float32, **options)
set_seed(1)
trainer = SFTTrainer(
    model=model, train_dataset=data,
    processing_class=AutoTokenizer.from_pretrained(folder / "model"),
    args=SFTConfig(
        output_dir=str(folder / "trl"), max_steps=steps, per_device_train_batch_size=batch,
        learning_rate=1e-4, lr_scheduler_type="cosine", warmup_steps=0, weight_decay=0.0,
        optim="adamw_torch_fused", adam_beta2=0.98, bf16=half, fp16=False,
        activation_checkpointing=False, completion_only_loss=True, max_length=None,
        train_sampling_strategy="random" if asked["order"] == "random" else "group_by_length",
        length_column_name="length", padding_free=tuned.get("packed", False), use_cpu=not gpu,
        use_liger_kernel=tuned.get("liger", False), torch_compile=tuned.get("compiled", False),
        save_strategy="no", report_to=[], logging_steps=1, disable_tqdm=True, seed=1, data_seed=1,
        dataloader_pin_memory=gpu, include_num_input_tokens_seen="non_padding",
    ),
)
trainer.train()
loss = [log["loss"] for log in trainer.state.log_history if "loss" in log]
"""
END = """
peak = torch.cuda.max_memory_allocated() if gpu else (
    resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
)
device = torch.cuda.get_device_name() if gpu else f"CPU, {torch.get_num_threads()} thread"
(at, cpu, before), (end, cpu_end, after) = marks
print("FIGURES", json.dumps({"tokens": after - before, "seconds": end - at, "cpu": cpu_end - cpu,
    "peak": peak, "first_loss": loss[0], "last_loss": loss[-1], "device": device}))
"""


@dataclass(frozen=True)
class Way:
    """A way to train: the *program*, the *python* that runs it where it finds packages, and how."""

    program: str
    python: Path
    paths: tuple[Path, ...] = ()
    tuned: dict[str, Any] = field(default_factory=dict)
    order: str = "grouped"


PATH = click.Path(path_type=Path)


@click.command()
@click.option(
    "--model", type=PATH, help="A Hugging Face directory or .gguf file, not a random one."
)
@click.option("--steps", default=20, help="Optimiser steps of a turn.")
@click.option("--warm-up", "warm", default=5, help="Of these, not counted.")
@click.option("--batch", default=8, help="Rows a step.")
@click.option("--turns", default=3, help="Turns of each, at most.")
@click.option("--seconds", default=1e9, help="No turn but the first begins later than that.")
@click.option("--precision", type=click.Choice(["fp32", "bf16"]), default="fp32")
@click.option("--packing", "packed", is_flag=True, help="Tuned: rows without padding.")
@click.option("--attention", help="Tuned: as train.attention, but auto.")
@click.option("--batch-tokens", type=int, help="Tuned: as train.batch_tokens.")
@click.option("--liger", is_flag=True, help="Tuned: liger's kernels.")
@click.option("--compile", "compiled", is_flag=True, help="Tuned: torch.compile.")
@click.option("--hidden", default=384, help="Width of the random model; other sizes follow.")
@click.option("--layers", default=6, help="Layers of the random model.")
@click.option("--vocabulary", default=8192, help="Tokens that the random model knows.")
@click.option("--threads", default=1, help="Threads of each on a CPU.")
@click.option("--peak-tflops", type=float, help="The device's peak, where PEAKS has none.")
@click.option("--before", type=PATH, help="A folder with older code of ours.")
@click.option("--trl-python", type=PATH, help="The Python that has TRL.")
@click.option("--trl-site", type=PATH, help="A folder with TRL, for the Python of ours.")
@click.option("--out", type=PATH, required=True, help="Where figures go.")
def main(
    model: Path | None,
    steps: int,
    warm: int,
    batch: int,
    turns: int,
    seconds: float,
    precision: str,
    hidden: int,
    layers: int,
    vocabulary: int,
    threads: int,
    peak_tflops: float | None,
    before: Path | None,
    trl_python: Path | None,
    trl_site: Path | None,
    out: Path,
    **tuned: Any,
) -> None:
    """Measure the ways in turns, and write what came out after each of them."""
    if not 0 < warm < steps:
        raise click.UsageError("--warm-up: from 1 to less than --steps")
    ways = _ways(
        {name: value for name, value in tuned.items() if value}, before, trl_python, trl_site
    )
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        size = _made(folder, model, hidden, layers, vocabulary, steps * batch)
        asked = {"folder": scratch, "steps": steps, "batch": batch, "warm": warm}
        setting = {**asked, "precision": precision, "turns": turns, "tuned": tuned, **size}
        del setting["folder"]
        setting["model"] = model.name if model else f"a Llama of {layers} layers, {hidden} wide"
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in ways}
        for turn in range(turns):
            for name, way in ways.items():
                if turn and time.monotonic() - started > seconds:
                    continue
                figures = _run(way, {**asked, "precision": precision}, threads)
                found[name].append(figures)
                rate = figures["tokens"] / figures["seconds"]
                click.echo(f"turn {turn + 1}: {name}: {rate:.0f} tokens/s")
                _write(out, setting, found, peak_tflops)
    click.echo(out.read_text(encoding="utf-8"))


def _ways(
    tuned: dict[str, Any], before: Path | None, python: Path | None, site: Path | None
) -> dict[str, Way]:
    """The ways that are asked for, by their names."""
    own = Path(sys.executable)
    ways = {"ours": Way(OURS, own, (ROOT,))}
    if tuned:
        ways["ours, tuned"] = Way(OURS, own, (ROOT,), tuned)
    if before:
        ways["before"] = Way(OURS, own, (before.resolve(),))
    if python or site:
        with_trl = (python or own, (site.resolve(),) if site else ())
        ways["trl"] = Way(TRL, *with_trl)
        ways["trl, random order"] = Way(TRL, *with_trl, order="random")
        shared = {name: value for name, value in tuned.items() if name != "batch_tokens"}
        if shared:
            ways["trl, tuned"] = Way(TRL, *with_trl, shared)
    return ways


def _made(
    folder: Path, model: Path | None, hidden: int, layers: int, vocabulary: int, rows: int
) -> dict[str, Any]:
    """Lay out the model and *rows* rows of random ids; the sizes that MFU is computed from."""
    from redistill.students.model import load

    if model:
        laid, tokenizer = load.pretrained(str(model))
    else:
        laid, tokenizer = _random(hidden, layers, vocabulary)
    laid.cpu().save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    config = laid.config.get_text_config()
    chance = random.Random(1)  # noqa: S311 - data, not a secret
    made = []
    for _ in range(rows):  # as long as rows of GSM8K with their solutions are
        prompt, completion = chance.randint(60, 180), chance.randint(40, 240)
        ids = [chance.randrange(3, config.vocab_size) for _ in range(prompt + completion)]
        made.append({"ids": ids, "labels": [-100] * prompt + ids[prompt:]})
    (folder / "rows.json").write_text(json.dumps(made), encoding="utf-8")
    lengths = [len(row["ids"]) for row in made]
    length = sum(size * size for size in lengths) / sum(lengths)
    wide = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    attention = 12 * config.num_hidden_layers * config.num_attention_heads * wide * length
    tied = laid.get_input_embeddings().weight is laid.get_output_embeddings().weight
    embedded = 0 if tied else laid.get_input_embeddings().weight.numel()
    computed = laid.num_parameters() - embedded
    return {
        "parameters": int(laid.num_parameters()),
        "vocabulary": config.vocab_size,
        "flops_per_token": round(6 * computed + attention),
    }


def _random(hidden: int, layers: int, vocabulary: int) -> tuple[Any, Any]:
    """A Llama of random weights, and any tokenizer at all."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from redistill.students.base import embedded
    from redistill.students.base.settings import Shape

    torch.manual_seed(1)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=hidden,
            intermediate_size=hidden * 8 // 3,
            num_hidden_layers=layers,
            num_attention_heads=hidden // 64,
            num_key_value_heads=hidden // 64,
            max_position_embeddings=1024,
            tie_word_embeddings=True,
        )
    )
    shape = Shape(
        architecture="llama",
        hidden=2, layers=1, heads=1, feed_forward=1, vocabulary=300, context=1024, texts=1,
        batch_size=1, steps=1, learning_rate=0.001,
    )  # fmt: skip
    return model, embedded.tokenizer(shape, 1)


def _run(way: Way, asked: dict[str, Any], threads: int) -> dict[str, Any]:
    given = json.dumps({**asked, "tuned": way.tuned, "order": way.order})
    ran = subprocess.run(  # noqa: S603 - our own programs, in the environments that were named
        [str(way.python), "-c", BEGIN + way.program + END, given],
        env={
            **os.environ,
            "OMP_NUM_THREADS": str(threads),
            "REDISTILL_THREADS": str(threads),
            "PYTHONPATH": os.pathsep.join(map(str, way.paths)),
            "HF_HUB_OFFLINE": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    line = [line for line in ran.stdout.split("\n") if line.startswith("FIGURES ")]
    if not line:
        raise SystemExit(f"{way.python} failed:\n{ran.stdout[-2000:]}\n{ran.stderr[-4000:]}")
    return dict(json.loads(line[0].removeprefix("FIGURES ")))


def _write(
    out: Path, setting: dict[str, Any], found: dict[str, list[dict[str, Any]]], peak: float | None
) -> None:
    """Write what is known so far to *out*: a turn that fails does not take the others with it."""
    device = found["ours"][0]["device"]
    if peak is None:
        peak = next((peak for name, peak in PEAKS.items() if name in device), None)
    known = peak if setting["precision"] == "bf16" else None
    told = {
        name: _told(rows, setting["flops_per_token"], known) for name, rows in found.items() if rows
    }
    for figures in told.values():
        ratio = told["ours"]["tokens_per_second"] / figures["tokens_per_second"]
        figures["ours_is_times"] = round(ratio, 2)
        if "ours, tuned" in told:
            ratio = told["ours, tuned"]["tokens_per_second"] / figures["tokens_per_second"]
            figures["ours_tuned_is_times"] = round(ratio, 2)
    stated = {**setting, "device": device, "peak_tflops": known}
    json_file.write_json(out, {"setting": stated, "trainers": told})


def _told(rows: list[dict[str, Any]], flops: int, peak_tflops: float | None) -> dict[str, Any]:
    rates = [row["tokens"] / row["seconds"] for row in rows]
    rate = statistics.median(rates)
    figures = {
        "tokens_per_second": round(rate, 1),
        "all_turns": [round(each, 1) for each in rates],
        "tokens_per_cpu_second": round(
            statistics.median(row["tokens"] / row["cpu"] for row in rows), 1
        ),
        "peak_mib": round(statistics.median(row["peak"] for row in rows) / 2**20),
        "tokens": rows[0]["tokens"],
        "first_loss": round(rows[0]["first_loss"], 4),
        "last_loss": round(rows[0]["last_loss"], 4),
    }
    if peak_tflops:
        figures["mfu"] = round(flops * rate / (peak_tflops * 1e12), 3)
    return figures


if __name__ == "__main__":
    main()
