"""
How long `redistill diff` takes, and how much memory, on 10,000 and on a million rationales.

Each figure is a process of its own, measured from start to end, over files that are made here:
worked sums of one to six steps, of which two thirds are rewritten from r0 to r3.
"""

import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from redistill.records import json_file, jsonl, types

ROOT = Path(__file__).resolve().parent.parent
MANY = 1_000_000
COMMANDS = {
    "text": ["r0", "r3"],
    "stat": ["--stat", "r0", "r3"],
    "json": ["r0", "r3", "--format", "json"],
    "html": ["r0", "r3", "--format", "html"],
}


def lessons(count: int, *, later: bool) -> Iterator[dict[str, Any]]:
    """Rationales in the order of their ids, terse at first and with small steps *later*."""
    chance = random.Random(1)  # noqa: S311
    for number in range(count):
        steps = []
        for _ in range(chance.randint(1, 6)):
            a, b = chance.randint(2, 300), chance.randint(2, 9)
            small = f"{a}*{b}: {a % 10}*{b}={a % 10 * b} {a // 10}*{b}={a // 10 * b} "
            steps.append((small, f"<<{a}*{b}={a * b}>>"))
        refined = chance.random() < 2 / 3 and later
        lines = [small + step if refined else step for small, step in steps]
        yield types.Rationale(
            id=f"p-{number:07}",
            problem=f"p-{number:07}",
            text="\n".join([*lines, f"#### {number}"]),
            round="r3" if refined else "r0",
            teacher="tutor",
            status="refined" if refined else ("kept" if later else "first"),
            reason="multiply" if refined else ("not wrong" if later else None),
            gaps=["multiply"] if refined else [],
        ).model_dump()


def answers(count: int, *, later: bool) -> Iterator[dict[str, Any]]:
    """What a student answered to each, half of it wrong at first."""
    chance = random.Random(2)  # noqa: S311
    for number in range(count):
        right = later or chance.random() < 0.5
        yield types.Prediction(
            id=f"p-{number:07}",
            problem=f"p-{number:07}",
            split="train",
            completion=f"<<{number}*1={number}>>\n#### {number}",
            answer=str(number),
            verdict="correct" if right else "wrong",
            strict=right,
            lenient=right,
            eos=True,
            tokens=12,
        ).model_dump()


def lay_out(root: Path, count: int) -> None:
    """Two rounds of *count* rationales in *root*, with predictions."""
    for name, later in (("r0", False), ("r3", True)):
        rationales = root / f"data/rationales/{name}.jsonl"
        jsonl.write_rows(rationales, lessons(count, later=later))
        predictions = root / f"data/predictions/{name}/train.jsonl"
        jsonl.write_rows(predictions, answers(count, later=later))


def measure(root: Path, words: list[str], turns: int) -> dict[str, Any]:
    """Seconds from start to end and of the CPU (medians of *turns*), and the most of memory."""
    seconds, busy, megabytes, size = [], [], [], 0
    for _ in range(turns):
        with (root / "out").open("wb") as out:
            started = time.monotonic()
            child = subprocess.Popen(  # noqa: S603
                [sys.executable, "-m", "redistill.cli", "diff", *words],
                cwd=root,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdout=out,
            )
            _, status, usage = os.wait4(child.pid, 0)
            seconds.append(time.monotonic() - started)
            child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            raise SystemExit(f"redistill diff {' '.join(words)} ended with {child.returncode}")
        busy.append(usage.ru_utime + usage.ru_stime)
        megabytes.append(usage.ru_maxrss / 1024)
        size = (root / "out").stat().st_size
    return {
        "seconds": round(statistics.median(seconds), 2),
        "cpu_seconds": round(statistics.median(busy), 2),
        "peak_mb": round(max(megabytes), 1),
        "output_mb": round(size / 1e6, 1),
    }


@click.command()
@click.option("--records", "many", type=int, default=MANY, show_default=True, help="The large run.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The figures, as JSON.")
def main(many: int, out: Path) -> None:
    """Measure `redistill diff r0 r3` on 10,000 records and on many."""
    figures: dict[str, Any] = {"python": platform.python_version(), "cores": os.cpu_count()}
    for count, turns in ((10_000, 5), (many, 1)):
        with tempfile.TemporaryDirectory() as folder:
            lay_out(Path(folder), count)
            size = (Path(folder) / "data/rationales/r3.jsonl").stat().st_size
            load = round(os.getloadavg()[0], 1)  # what else the machine was busy with
            figures[str(count)] = {"r3_mb": round(size / 1e6, 1), "turns": turns, "load": load}
            for name, words in COMMANDS.items():
                figures[str(count)][name] = measure(Path(folder), words, turns)
                click.echo(f"{count} {name}: {figures[str(count)][name]}")
    json_file.write_json(out, figures)


if __name__ == "__main__":
    main()
