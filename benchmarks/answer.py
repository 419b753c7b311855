"""
Answers a second of the stage `answer`, of a loop over `model.generate`, and of one after the other.

All three answer the problems of a file greedily, in fp32, and must write the same tokens. The loop
takes them in batches of the same size in the order of the file. The three take turns, so that they
meet the same load of the machine; one by one is measured on every N-th problem, as it is slow.
"""

import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import torch

from redistill.records import json_file, jsonl
from redistill.records.types import Problem
from redistill.settings import sections
from redistill.students.answer import local
from redistill.students.answer.settings import EvaluateSettings
from redistill.students.model import load, tokens
from redistill.students.model.settings import StudentSettings

FILE = click.Path(exists=True, path_type=Path)
Ids = Sequence[Sequence[int]]


@click.command()
@click.option("--student", type=FILE, required=True, help="The student that answers.")
@click.option("--problems", type=FILE, multiple=True, required=True, help="What it is asked.")
@click.option("--settings", type=FILE, default=Path("params.yaml"), help="How it is asked.")
@click.option("--every", default=50, help="Which problems are answered one by one.")
@click.option("--turns", default=3, help="Turns of each.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Where figures go.")
def main(
    student: Path,
    problems: Sequence[Path],
    settings: Path,
    every: int,
    turns: int,
    out: Path,
) -> None:
    """Measure the three in turns, and write what came out."""
    load.quiet()
    params = sections.read(settings)
    rules = params.section("evaluate", EvaluateSettings)
    batch_size, max_new_tokens = rules.batch_size, rules.max_new_tokens
    model, tokenizer = load.model(student).eval(), load.tokenizer(student)
    encoder = tokens.Encoder.of(tokenizer, params.section("student", StudentSettings))
    prompts = [encoder.prompt(p) for file in problems for p in jsonl.read(file, Problem)]
    some = prompts[::every]

    def plain(rows: Ids, size: int) -> list[str]:
        batches = [rows[start : start + size] for start in range(0, len(rows), size)]
        return [
            encoder.decode(ids)
            for batch in batches
            for ids in _generated(model, batch, encoder.eos, tokenizer.pad_token_id, max_new_tokens)
        ]

    with local.local(
        student,
        tokenizer,
        encoder,
        max_new_tokens=max_new_tokens,
        batch_size=batch_size,
        precision="fp32",
    ) as engine:
        ways: dict[str, tuple[int, Callable[[], list[str]]]] = {
            "answer": (len(prompts), lambda: [c.text for c in engine(prompts, None, "ours")]),
            "generate, batches": (len(prompts), lambda: plain(prompts, batch_size)),
            "generate, one by one": (len(some), lambda: plain(some, 1)),
        }
        found = _measured(ways, turns)
    texts = found["answer"]["texts"]
    assert texts == found["generate, batches"]["texts"]  # noqa: S101 - what is measured is the same
    assert texts[::every] == found["generate, one by one"]["texts"]  # noqa: S101
    figures = _figures(found)
    setting = {
        "student": student.name,
        "problems": len(prompts),
        "one_by_one": len(some),
        "batch_size": batch_size,
        "max_new_tokens": max_new_tokens,
        "threads": torch.get_num_threads(),
        "device": str(model.device),
        "torch": torch.__version__,
    }
    json_file.write_json(out, {"setting": setting, "ways": figures, "same_texts": True})
    click.echo(json.dumps(figures, indent=2))


def _generated(model: Any, rows: Ids, eos: int, pad: int, most: int) -> list[list[int]]:
    width = max(len(row) for row in rows)
    ids = torch.tensor([[pad] * (width - len(row)) + list(row) for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    with torch.inference_mode():
        out = model.generate(
            ids.to(model.device),
            attention_mask=mask.to(model.device),
            max_new_tokens=most,
            do_sample=False,
            use_cache=True,
            eos_token_id=eos,
            pad_token_id=pad,
        )[:, width:].tolist()
    return [row[: row.index(eos)] if eos in row else row for row in out]


def _measured(
    ways: dict[str, tuple[int, Callable[[], list[str]]]], turns: int
) -> dict[str, dict[str, Any]]:
    """The texts of each way, and its answers a second of the clock and of the processor."""
    found: dict[str, dict[str, Any]] = {name: {"clock": [], "processor": []} for name in ways}
    for turn in range(turns):
        for name, (count, answer) in ways.items():
            started, used = time.monotonic(), time.process_time()
            texts = answer()
            found[name]["clock"].append(count / (time.monotonic() - started))
            found[name]["processor"].append(count / (time.process_time() - used))
            assert found[name].setdefault("texts", texts) == texts  # noqa: S101 - and again
            click.echo(f"turn {turn + 1}: {name}: {found[name]['clock'][-1]:.1f} answers/s")
    return found


def _figures(found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    ours = found["answer"]
    return {
        name: {
            key: {
                "answers_per_second": round(statistics.median(rates[clock]), 1),
                "all_turns": [round(rate, 1) for rate in rates[clock]],
                "answer_is_times": round(
                    statistics.median(
                        a / b for a, b in zip(ours[clock], rates[clock], strict=True)
                    ),
                    2,
                ),
            }
            for key, clock in (("by_the_clock", "clock"), ("by_processor_time", "processor"))
        }
        for name, rates in found.items()
    }


if __name__ == "__main__":
    main()
