"""
What a store of many paid answers costs to read: seconds and memory of the commands that read it.

Each figure is a process of its own, from start to end, in a project that is made here: so many
train problems, each with one stored answer, so that nothing is asked.
"""

import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from ruamel.yaml import YAML

from redistill.llm import response, settlement, store
from redistill.llm.budget import Prices
from redistill.llm.endpoint import Raw
from redistill.llm.store import Intent
from redistill.problems import held_out
from redistill.problems.held_out import HeldOut
from redistill.records import json_file, jsonl
from redistill.records.types import Problem
from redistill.settings import sections
from redistill.teachers import openai

ROOT = Path(__file__).resolve().parent.parent
STORE = "data/store/store.sqlite"
PRICES = Prices(input=0.5, output=1.5, batch=None)
COMMANDS = {
    "plan": "redistill.cli plan --json",
    "generate, all stored": (
        "stages.generate --round r0 --problems data/problems/train.jsonl"
        " --held-out data/problems/held-out.jsonl --student data/students/base"
        " --out data/rationales/r0.jsonl --metrics metrics/rationales/r0.json"
    ),
    "store export": "redistill.cli store export export.jsonl",
    "ledger": "redistill.cli ledger --json",
    "show ID": "redistill.cli show p0000500",
}


def problem(number: int) -> Problem:
    """A problem of five short sentences, as those of GSM8K are."""
    told = " ".join(f"Shop {n} sells {number % 90 + n} apples and pears a day." for n in range(5))
    return Problem(
        id=f"p{number:07}",
        question=f"{told} How many fruits are {number} and 7 together?",
        answer=str(number + 7),
    )


def body(number: int) -> bytes:
    """The body of an answer with a worked solution of six lines, all equations."""
    lines = [
        f"{number} + {n} = {number + n}; {number + n} + 3 = {number + n + 3}" for n in range(6)
    ]
    text = "\n".join([*lines, f"#### {number + 7}"])
    message = {"role": "assistant", "content": f"<rationale>\n{text}\n</rationale>"}
    content = {
        "id": f"chatcmpl-{number}",
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 210, "completion_tokens": 120, "total_tokens": 330},
    }
    return json.dumps(content).encode()


def lay_out(root: Path, count: int) -> None:
    """Make the project of *count* train problems in *root*, with every answer in its store."""
    content = YAML().load(ROOT / "params.yaml")
    content["teach"] |= {"teacher": "openai"}
    content["refine"]["extend"] = False
    content["openai"] = {
        "base_url": "https://example.org/v1", "key": None, "model": "m", "system": None,
        "examples": [], "seed": None, "together": False, "body": {"max_tokens": 500},
    }  # fmt: skip
    budget = {"calls": 10_000_000, "tokens": None, "cost": None}
    content["spending"] = {"prices": dict(PRICES), "budget": budget, "strict_model": False}
    YAML().dump(content, root / "params.yaml")
    rows = (problem(number).model_dump() for number in range(count))
    jsonl.write_rows(root / "data/problems/train.jsonl", rows)
    jsonl.write(root / "data/problems/dev.jsonl", [])
    jsonl.write(root / "data/problems/test.jsonl", [])
    held_out.write(root / "data/problems/held-out.jsonl", HeldOut())
    (root / "data/students/base").mkdir(parents=True)
    fill(root, count)


def fill(root: Path, count: int) -> None:
    """Put one answer to each of *count* problems into the store of the project in *root*."""
    params = sections.read(root / "params.yaml")
    settings = params.section("openai", openai.Settings)
    prompts = params.content["teach"]["prompts"]
    with store.writing(root / STORE) as writer, writer.transaction() as connection:
        for number in range(count):
            request = openai.explanation(problem(number), settings, prompts, 0)
            raw = Raw(200, body(number))
            intent = Intent(
                request.key, request.canonical, "generate", "r0", request.problem, "m", 900, 500, 0
            )
            attempt = writer.intend(connection, intent)
            writer.receive(connection, attempt, raw.status, raw.body)
            reading = response.read(raw.status, raw.body)
            writer.settle(connection, settlement.result(attempt, request, raw, reading, PRICES))


def measured(root: Path, words: str) -> dict[str, float]:
    """Seconds and the most resident megabytes of ``python -m`` *words* in *root*."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "REDISTILL_STORE": str(root / STORE)}
    started = time.monotonic()
    pid = os.posix_spawn(
        sys.executable,
        [sys.executable, "-c", "import os, sys; os.chdir(sys.argv[1]); os.execv(sys.executable, "
         "[sys.executable, '-m', *sys.argv[2:]])", str(root), *words.split()],
        env,
        file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)],
    )  # fmt: skip
    _, status, usage = os.wait4(pid, 0)
    if status:
        raise SystemExit(f"{words}: ended with {os.waitstatus_to_exitcode(status)}")
    return {
        "seconds": round(time.monotonic() - started, 2),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 2),
        "megabytes": round(usage.ru_maxrss / 1024),
    }


def sizes(counts: tuple[int, ...]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Measure every command in a project of each of *counts*."""
    for count in counts:
        with tempfile.TemporaryDirectory(prefix="redistill-store-") as name:
            root = Path(name)
            lay_out(root, count)
            found: dict[str, Any] = {
                command: measured(root, words) for command, words in COMMANDS.items()
            }
            found["store_megabytes"] = round((root / STORE).stat().st_size / 1e6)
        yield f"{count} answers", found


@click.command()
@click.argument("counts", type=int, nargs=-1)
@click.option("--out", type=click.Path(path_type=Path), help="The figures, as JSON.")
def main(counts: tuple[int, ...], out: Path | None) -> None:
    """Measure with COUNTS stored answers; without, with 1,000, 20,000 and 200,000."""
    figures: dict[str, Any] = {"python": platform.python_version(), "cores": os.cpu_count()}
    figures["load"] = round(os.getloadavg()[0], 1)  # what else the machine was busy with
    for name, found in sizes(counts or (1_000, 20_000, 200_000)):
        figures[name] = found
        click.echo(f"{name}:")
        for command, figure in found.items():
            click.echo(f"  {command}: {figure}")
    if out is not None:
        json_file.write_json(out, figures)


if __name__ == "__main__":
    main()
