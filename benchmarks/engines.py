"""
Answers a second of the engines in this process, side by side on one student and one device.

`local` is ours, `transformers` its continuous batching, `generate` a loop over `model.generate` in
batches of prompts of like length. They take turns, so that they meet the same load of the machine,
and each is tried with several rows at once. In fp32 all must write the same texts. On a GPU it is
the whole measurement that `auto` waits for:

    python -m benchmarks.engines --student data/students/r0 --problems data/problems/test.jsonl \\
        --precision bf16 --rows 64 --rows 256 --rows 768 --seconds 420 --out engines-gpu.json
"""

import json
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import click
import torch
import transformers

from redistill.console.exceptions import RefusedError
from redistill.records import json_file, jsonl
from redistill.records.types import Problem
from redistill.settings import sections
from redistill.students.answer import engines
from redistill.students.answer.local import Engine
from redistill.students.answer.settings import EvaluateSettings
from redistill.students.model import load, tokens
from redistill.students.model.precision import precision
from redistill.students.model.settings import StudentSettings

FILE = click.Path(exists=True, path_type=Path)
Way = tuple[str, int]
Ids = Sequence[Sequence[int]]


@click.command()
@click.option("--student", type=FILE, required=True, help="The student that answers.")
@click.option("--problems", type=FILE, required=True, help="What it is asked.")
@click.option("--settings", type=FILE, default=Path("params.yaml"), help="How it is asked.")
@click.option("--precision", "dtype", type=click.Choice(["fp32", "bf16"]), default="fp32")
@click.option("--rows", type=int, multiple=True, default=(16, 64, 256), help="Rows at once.")
@click.option("--most", type=int, default=None, help="Problems that are asked, at most.")
@click.option("--tokens", "new", type=int, default=None, help="New tokens, at most.")
@click.option("--turns", default=3, help="Turns of each, at most.")
@click.option("--seconds", default=420.0, help="No turn begins later than that.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Where figures go.")
def main(
    student: Path,
    problems: Path,
    settings: Path,
    dtype: Literal["fp32", "bf16"],
    rows: Sequence[int],
    most: int | None,
    new: int | None,
    turns: int,
    seconds: float,
    out: Path,
) -> None:
    """Measure the engines in turns, and write what came out after each of them."""
    load.quiet()
    started = time.monotonic()
    params = sections.read(settings)
    asked = params.section("student", StudentSettings)
    rules = params.section("evaluate", EvaluateSettings).model_copy(update={"precision": dtype})
    rules = rules.model_copy(update={"max_new_tokens": new or rules.max_new_tokens})
    tokenizer = load.tokenizer(student)
    encoder = tokens.Encoder.of(tokenizer, asked)
    prompts = [encoder.prompt(problem) for problem in jsonl.read(problems, Problem)[:most]]
    setting = {
        "student": student.name,
        "problems": len(prompts),
        "max_new_tokens": rules.max_new_tokens,
        "precision": precision(dtype),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    with ExitStack() as stack:
        ways = _ways(stack, student, tokenizer, encoder, asked, rules, rows)
        model = load.model(student, dtype=dtype).eval()
        setting["device"] = _device(model)
        for count in rows:
            ways["generate", count] = _plain(model, tokenizer, encoder, rules, count)
        found: dict[Way, list[dict[str, float]]] = {way: [] for way in ways}
        texts: dict[Way, list[str]] = {}
        for turn in range(turns):
            for way, answer in ways.items():
                if turn and time.monotonic() - started > seconds:
                    continue
                figure, texts[way] = _measured(answer, prompts, model.device)
                found[way].append(figure)
                click.echo(f"turn {turn + 1}: {way[0]}, {way[1]} rows: {figure}")
                same = {
                    " ".join(map(str, w)): t == texts["local", rows[0]] for w, t in texts.items()
                }
                json_file.write_json(
                    out, {"setting": setting, "ways": _figures(found), "same_texts": same}
                )
    click.echo(json.dumps(_figures(found), indent=2))


def _ways(
    stack: ExitStack,
    student: Path,
    tokenizer: Any,
    encoder: tokens.Encoder,
    asked: StudentSettings,
    rules: EvaluateSettings,
    rows: Sequence[int],
) -> dict[Way, Engine]:
    """The engines of the stage, each with each number of *rows*; vLLM where it is installed."""
    ways: dict[Way, Engine] = {}
    for name in ("local", "transformers", "vllm"):
        for count in rows:
            own = rules.model_copy(update={"engine": name, "batch_size": count})
            try:
                opened = engines.opened(student, tokenizer, encoder, asked, own)
                ways[name, count] = stack.enter_context(opened)
            except RefusedError as refusal:
                click.echo(f"left out: {refusal}")
                break
            if name == "vllm":
                break  # it takes most of a GPU's memory, once
    return ways


def _plain(
    model: Any, tokenizer: Any, encoder: tokens.Encoder, rules: EvaluateSettings, size: int
) -> Engine:
    """A loop over `model.generate`, prompts of like length together."""

    def answer(prompts: Ids, draws: object, say: str) -> Any:
        texts: dict[int, str] = {}
        order = sorted(range(len(prompts)), key=lambda place: -len(prompts[place]))
        for start in range(0, len(order), size):
            places = order[start : start + size]
            batch = [prompts[place] for place in places]
            written = _generated(model, batch, encoder.eos, tokenizer.pad_token_id, rules)
            texts |= dict(zip(places, map(encoder.decode, written), strict=True))
        return [texts[place] for place in range(len(prompts))]

    return answer


def _generated(
    model: Any, batch: Ids, eos: int, pad: int, rules: EvaluateSettings
) -> list[list[int]]:
    width = max(len(row) for row in batch)
    ids = torch.tensor([[pad] * (width - len(row)) + list(row) for row in batch])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in batch])
    with torch.inference_mode():
        out = model.generate(
            ids.to(model.device),
            attention_mask=mask.to(model.device),
            max_new_tokens=rules.max_new_tokens,
            do_sample=False,
            eos_token_id=eos,
            pad_token_id=pad,
        )[:, width:].tolist()
    return [row[: row.index(eos)] if eos in row else row for row in out]


def _measured(
    answer: Callable[..., Any], prompts: Ids, device: torch.device
) -> tuple[dict[str, float], list[str]]:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    started, used = time.monotonic(), time.process_time()
    outputs = answer(prompts, None, "asked")
    clock, processor = time.monotonic() - started, time.process_time() - used
    figure = {"by_the_clock": len(prompts) / clock, "by_processor_time": len(prompts) / processor}
    if device.type == "cuda":
        figure["peak_gib"] = torch.cuda.max_memory_allocated(device) / 2**30
    return (
        {name: round(value, 2) for name, value in figure.items()},
        [getattr(output, "text", output) for output in outputs],
    )


def _figures(found: dict[Way, list[dict[str, float]]]) -> list[dict[str, Any]]:
    """The median answers a second of each way, and those of every turn."""
    return [
        {"engine": name, "rows": rows}
        | {key: round(statistics.median(turn[key] for turn in turns), 2) for key in turns[0]}
        | {"turns": [turn["by_the_clock"] for turn in turns]}
        for (name, rows), turns in found.items()
        if turns
    ]


def _device(model: Any) -> str:
    if model.device.type == "cuda":
        return torch.cuda.get_device_name(model.device)
    return str(model.device)


if __name__ == "__main__":
    main()
