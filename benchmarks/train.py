"""
Training tokens a second and peak memory, ours against TRL's SFTTrainer.

A Llama of random weights is trained on the same ids and labels, in the same batches and precision,
by both in turns, each in a process of its own, so that they meet the same load of the machine. TRL
lives in an environment of its own, whose Python is --trl-python. It is asked twice: with rows
grouped by length as ours are, and in the random order that it comes with. Tokens are those of the
rows, padding left out; seconds are those of the training loop, once by the clock and once of the
processor, which other work on the machine does not lengthen. On a GPU the share of the
hardware's peak (--peak-tflops) that 6 x parameters x tokens comes to is given as mfu.
"""

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import click

from redistill.records import json_file
from redistill.students.base.settings import Shape

OURS = """
import json, os, resource, sys, time
from pathlib import Path
import torch
from redistill.students.model import load
from redistill.students.model.tokens import Example
from redistill.students.train import loop

folder, steps, batch, precision, packed = Path(sys.argv[1]), *map(int, sys.argv[2:4]), *sys.argv[4:]
load.quiet()
rows = [Example(**row) for row in json.loads((folder / "rows.json").read_text())]
attention = "flash_attention_2" if packed == "packed" and torch.cuda.is_available() else None
model = load.model(folder / "model", attention=attention)
plan = loop.Plan(
    steps=steps, batch_size=batch, accumulate=1, learning_rate=1e-4, warmup=0.0, weight_decay=0.0,
    precision=precision, seed=1, packed=packed == "packed",
)
before = time.process_time()
found, timing = loop.train(model, rows, plan, pad=0, say="ours")
used = time.process_time() - before
tokens, loss = found["tokens"], found["losses"]
seconds = timing.seconds
"""
TRL = """
import json, os, resource, sys, time
from pathlib import Path
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, set_seed
from trl import SFTConfig, SFTTrainer

folder, steps, batch, precision, order = Path(sys.argv[1]), *map(int, sys.argv[2:4]), *sys.argv[4:]
rows = json.loads((folder / "rows.json").read_text())
data = Dataset.from_list([
    {"input_ids": row["ids"], "completion_mask": [int(label != -100) for label in row["labels"]],
     "length": len(row["ids"])} for row in rows
])
packed = order == "packed"
flash = packed and torch.cuda.is_available()
options = {"attn_implementation": "flash_attention_2"} if flash else {}
model = AutoModelForCausalLM.from_pretrained(folder / "model", dtype=torch.float32, **options)
set_seed(1)
trainer = SFTTrainer(
    model=model, train_dataset=data,
    processing_class=AutoTokenizer.from_pretrained(folder / "model"),
    args=SFTConfig(
        output_dir=str(folder / "trl"), max_steps=steps, per_device_train_batch_size=batch,
        learning_rate=1e-4, lr_scheduler_type="cosine", warmup_steps=0, weight_decay=0.0,
        optim="adamw_torch_fused", adam_beta2=0.98, bf16=precision == "bf16",
        activation_checkpointing=False, completion_only_loss=True, max_length=None,
        train_sampling_strategy="random" if order == "random" else "group_by_length",
        length_column_name="length", padding_free=packed, use_cpu=not torch.cuda.is_available(),
        save_strategy="no", report_to=[], logging_steps=1, disable_tqdm=True, seed=1, data_seed=1,
        dataloader_pin_memory=False, include_num_input_tokens_seen="non_padding",
    ),
)
started, before = time.monotonic(), time.process_time()
trainer.train()
seconds, used = time.monotonic() - started, time.process_time() - before
tokens = trainer.state.num_input_tokens_seen
loss = [log["loss"] for log in trainer.state.log_history if "loss" in log]
"""
TOLD = """
gpu = torch.cuda.is_available()
peak = torch.cuda.max_memory_allocated() if gpu else (
    resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
)
device = torch.cuda.get_device_name() if gpu else f"CPU, {torch.get_num_threads()} thread"
print("FIGURES", json.dumps({"tokens": int(tokens), "seconds": seconds, "cpu": used,
    "peak": peak,
    "first_loss": loss[0], "last_loss": loss[-1], "device": device}))
"""


@click.command()
@click.option("--steps", default=20, help="Optimiser steps of a turn.")
@click.option("--batch", default=8, help="Rows a step.")
@click.option("--turns", default=3, help="Turns of each.")
@click.option("--precision", type=click.Choice(["fp32", "bf16"]), default="fp32")
@click.option("--packing", is_flag=True, help="Pack rows (padding_free in TRL); for a GPU.")
@click.option("--hidden", default=384, help="Width of the model; its other sizes follow.")
@click.option("--layers", default=6, help="Layers of the model.")
@click.option("--vocabulary", default=8192, help="Tokens that the model knows.")
@click.option("--threads", default=1, help="Threads of each on a CPU.")
@click.option("--peak-tflops", default=989.0, help="The GPU's peak, for mfu.")
@click.option("--trl-python", type=click.Path(path_type=Path), help="The Python that has TRL.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Where figures go.")
def main(
    steps: int,
    batch: int,
    turns: int,
    precision: str,
    packing: bool,
    hidden: int,
    layers: int,
    vocabulary: int,
    threads: int,
    peak_tflops: float,
    trl_python: Path | None,
    out: Path,
) -> None:
    """Measure them in turns, and write what came out."""
    packed = "packed" if packing else "padded"
    clients = {"ours": (Path(sys.executable), OURS, packed)}
    if trl_python:
        clients["trl"] = (trl_python, TRL, "packed" if packing else "grouped")
        if not packing:
            clients["trl, random order"] = (trl_python, TRL, "random")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        parameters = _made(folder, hidden, layers, vocabulary, steps * batch)
        asked = [str(folder), str(steps), str(batch), precision]
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in clients}
        for turn in range(turns):
            for name, (python, program, order) in clients.items():
                figures = _run(python, program, [*asked, order], threads)
                found[name].append(figures)
                rate = figures["tokens"] / figures["seconds"]
                click.echo(f"turn {turn + 1}: {name}: {rate:.0f} tokens/s")
    told = {name: _told(rows, parameters, peak_tflops) for name, rows in found.items()}
    for name in told:
        ratio = told["ours"]["tokens_per_second"] / told[name]["tokens_per_second"]
        told[name]["ours_is_times"] = round(ratio, 2)
        by_cpu = told["ours"]["tokens_per_cpu_second"] / told[name]["tokens_per_cpu_second"]
        told[name]["ours_is_times_by_cpu"] = round(by_cpu, 2)
    setting = {
        "steps": steps, "batch": batch, "turns": turns, "precision": precision, "packing": packing,
        "parameters": parameters, "hidden": hidden, "layers": layers, "vocabulary": vocabulary,
        "device": found["ours"][0]["device"],
    }  # fmt: skip
    if trl_python:
        setting["versions"] = _versions(trl_python)
    json_file.write_json(out, {"setting": setting, "trainers": told})
    click.echo(json.dumps(told, indent=2))


def _made(folder: Path, hidden: int, layers: int, vocabulary: int, rows: int) -> int:
    """Lay out the model and *rows* rows of random ids; how many parameters it has."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from redistill.students.base import embedded

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
    model.save_pretrained(folder / "model")
    shape = Shape(
        architecture="llama",
        hidden=2, layers=1, heads=1, feed_forward=1, vocabulary=300, context=1024, texts=1,
        batch_size=1, steps=1, learning_rate=0.001,
    )  # fmt: skip
    embedded.tokenizer(shape, 1).save_pretrained(folder / "model")
    chance = random.Random(1)  # noqa: S311 - data, not a secret
    made = []
    for _ in range(rows):  # as long as rows of GSM8K with their solutions are
        prompt, completion = chance.randint(60, 180), chance.randint(40, 240)
        ids = [chance.randrange(2, vocabulary) for _ in range(prompt + completion)]
        made.append({"ids": ids, "labels": [-100] * prompt + ids[prompt:]})
    (folder / "rows.json").write_text(json.dumps(made), encoding="utf-8")
    return int(model.num_parameters())


def _run(python: Path, program: str, words: list[str], threads: int) -> dict[str, Any]:
    ran = subprocess.run(  # noqa: S603 - our own programs, in the environments that were named
        [str(python), "-c", program + TOLD, *words],
        env={
            **os.environ,
            "OMP_NUM_THREADS": str(threads),
            "PYTHONPATH": str(Path(__file__).resolve().parent.parent),
            "HF_HUB_OFFLINE": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    line = [line for line in ran.stdout.split("\n") if line.startswith("FIGURES ")]
    if not line:
        raise SystemExit(f"{python} failed:\n{ran.stdout[-2000:]}\n{ran.stderr[-4000:]}")
    return dict(json.loads(line[0].removeprefix("FIGURES ")))


def _told(rows: list[dict[str, Any]], parameters: int, peak_tflops: float) -> dict[str, Any]:
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
    if not rows[0]["device"].startswith("CPU"):
        figures["mfu"] = round(6 * parameters * rate / (peak_tflops * 1e12), 3)
    return figures


def _versions(python: Path) -> str:
    names = ["trl", "transformers", "torch"]
    each = "(n + ' ' + m.version(n) for n in " + repr(names) + ")"
    code = f"import importlib.metadata as m; print(*{each}, sep=', ')"
    ran = subprocess.run(  # noqa: S603
        [str(python), "-c", code], capture_output=True, text=True, check=True
    )
    return ran.stdout.strip()


if __name__ == "__main__":
    main()
