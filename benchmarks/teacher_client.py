"""
Calls a second of our client, of a bare loop over the same SDK, and of bespokelabs-curator.

A server on this machine answers every call after 50 ms. Ours stores each answer durably and checks
it; the bare loop neither stores nor checks; curator runs in its own environment, given by
--curator PYTHON. The three take turns, so that they meet the same load of the machine.
"""

import asyncio
import json
import multiprocessing
import os
import resource
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from redistill.llm import budget, store
from redistill.llm.client import Occasion, Policy, ask
from redistill.llm.request import Request
from redistill.records import json_file
from redistill.teachers import openai as teacher

DELAY = 0.05
WORDS = "First 2 + 2 = 4, then 4 + 4 = 8. " * 20
ANSWER = {
    "id": "x",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-4o-mini",
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "logprobs": None,
            "message": {"role": "assistant", "content": WORDS, "refusal": None},
        }
    ],
    "usage": {"prompt_tokens": 9, "completion_tokens": 20, "total_tokens": 29},
}
CURATOR = """
import importlib.util, os, pathlib, resource, sys, time
# the vocabulary that curator counts tokens with lies in its dependency litellm: no download
found = pathlib.Path(importlib.util.find_spec("litellm").origin).parent
for folder in found.rglob("9b5ad71b2ce5302211f9c61530b329a4922fc6a4"):
    os.environ["TIKTOKEN_CACHE_DIR"] = str(folder.parent)
from bespokelabs import curator
from datasets import Dataset

class Teacher(curator.LLM):
    def prompt(self, row):
        return row["prompt"]
    def parse(self, row, response):
        return {"text": response}

url, calls, concurrency = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
teacher = Teacher(
    model_name="gpt-4o-mini", backend="openai",
    backend_params={
        "base_url": url, "api_key": "none", "max_concurrent_requests": concurrency,
        "max_requests_per_minute": 10**7, "max_tokens_per_minute": 10**9, "max_retries": 0,
    },
)
rows = Dataset.from_list([{"prompt": f"question {n}"} for n in range(calls)])
teacher(Dataset.from_list([{"prompt": "warm up"}]))
started, used = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF)
answers = teacher(rows)
seconds = time.monotonic() - started
now = resource.getrusage(resource.RUSAGE_SELF)
answers = getattr(answers, "dataset", answers)
assert len(answers) == calls, len(answers)
cpu = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
print(f"\\nFIGURES {seconds} {cpu}")
"""


@click.command()
@click.option("--calls", default=2000, help="Calls in a turn.")
@click.option("--concurrency", default=64, help="Calls in flight.")
@click.option("--turns", default=3, help="Turns of each client.")
@click.option("--curator", type=click.Path(path_type=Path), help="The Python that has curator.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Where figures go.")
def main(calls: int, concurrency: int, turns: int, curator: Path | None, out: Path) -> None:
    """Measure the three in turns, and write what came out."""
    port: Any = multiprocessing.Queue()
    server = multiprocessing.Process(target=_serve, args=(port,), daemon=True)
    server.start()
    url = f"http://127.0.0.1:{port.get()}/v1"
    clients: dict[str, Callable[[], tuple[float, float]]] = {
        "ours": lambda: _ours(url, calls, concurrency),
        "bare SDK": lambda: _bare(url, calls, concurrency),
    }
    if curator:
        clients["curator"] = lambda: _curator(curator, url, calls, concurrency)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in clients}
    for turn in range(turns):
        for name, client in clients.items():
            seconds, cpu = client()
            found[name].append((calls / seconds, 1000 * cpu / calls))
            click.echo(f"turn {turn + 1}: {name}: {calls / seconds:.0f} calls/s")
    server.terminate()
    figures: dict[str, Any] = {
        name: {
            "calls_per_second": round(statistics.median(rate for rate, _ in rows), 1),
            "all_turns": [round(rate, 1) for rate, _ in rows],
            "cpu_ms_per_call": round(statistics.median(cpu for _, cpu in rows), 3),
        }
        for name, rows in found.items()
    }
    rate = figures["ours"]["calls_per_second"]
    for name in clients:
        figures[name]["ours_is_times"] = round(rate / figures[name]["calls_per_second"], 2)
    setting = {"calls": calls, "concurrency": concurrency, "server_delay_seconds": DELAY}
    json_file.write_json(out, {"setting": setting, "clients": figures})
    click.echo(json.dumps(figures, indent=2))


def _ours(url: str, calls: int, concurrency: int) -> tuple[float, float]:
    endpoint = teacher.Settings(
        base_url=url,
        key=None,
        model="gpt-4o-mini",
        system=None,
        examples=[],
        seed=None,
        together=False,
        body={},
    )
    limits = budget.SpendingSettings(
        prices=budget.Prices(input=0.15, output=0.6, batch=None),
        budget=budget.Budget(calls=None, tokens=None, cost=1000.0),
        strict_model=False,
    )
    requests = [
        Request(url, "gpt-4o-mini", [{"role": "user", "content": f"question {n}"}],
                {"max_tokens": 500}, problem=str(n))
        for n in range(calls)
    ]  # fmt: skip
    with tempfile.TemporaryDirectory(dir=os.getcwd()) as folder:
        sender = teacher.Sender(endpoint, "")
        started, used = time.monotonic(), _cpu()
        with store.writing(Path(folder) / "store.sqlite") as writer:
            readings = ask(
                requests,
                sender,
                writer,
                limits,
                Policy(concurrency=concurrency),
                Occasion("generate", "r0"),
            )
        seconds, cpu = time.monotonic() - started, _cpu() - used
    assert sum(reading.outcome == "answered" for reading in readings.values()) == calls  # noqa: S101
    return seconds, cpu


def _bare(url: str, calls: int, concurrency: int) -> tuple[float, float]:
    import openai

    async def run() -> int:
        client = openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0)
        waiting = iter(range(calls))
        done = 0

        async def work() -> None:
            nonlocal done
            for number in waiting:
                answer = await client.chat.completions.create(
                    model="gpt-4o-mini",
                    messages=[{"role": "user", "content": f"question {number}"}],
                    max_tokens=500,
                )
                done += bool(answer.choices[0].message.content)

        await asyncio.gather(*(work() for _ in range(concurrency)))
        await client.close()
        return done

    started, used = time.monotonic(), _cpu()
    assert asyncio.run(run()) == calls  # noqa: S101
    return time.monotonic() - started, _cpu() - used


def _curator(python: Path, url: str, calls: int, concurrency: int) -> tuple[float, float]:
    with tempfile.TemporaryDirectory(dir=os.getcwd()) as folder:
        env = {
            **os.environ,
            "CURATOR_CACHE_DIR": folder,
            "CURATOR_DISABLE_RICH_DISPLAY": "1",
            "CURATOR_DISABLE_CACHE": "1",
            "TELEMETRY_ENABLED": "0",
            "HF_HUB_OFFLINE": "1",
            "OPENAI_API_KEY": "none",
        }
        ran = subprocess.run(  # noqa: S603 - our own program, in the environment that was named
            [str(python), "-c", CURATOR, url, str(calls), str(concurrency)],
            env=env,
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
    line = [line for line in ran.stdout.split("\n") if line.startswith("FIGURES")]
    if not line:
        raise SystemExit(f"curator failed:\n{ran.stdout[-2000:]}\n{ran.stderr[-4000:]}")
    _, seconds, cpu = line[0].split()
    return float(seconds), float(cpu)


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _serve(port: Any) -> None:
    """Answer every request after DELAY, in a process of its own."""
    body = json.dumps(ANSWER).encode()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: "
    answer = head + str(len(body)).encode() + b"\r\n\r\n" + body

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                asked = await reader.readuntil(b"\r\n\r\n")
                size = asked.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
                await reader.readexactly(int(size or 0))
                await asyncio.sleep(DELAY)
                writer.write(answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def run() -> None:
        server = await asyncio.start_server(client, "127.0.0.1", 0, backlog=512)
        port.put(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


if __name__ == "__main__":
    main()
