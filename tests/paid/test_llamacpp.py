"""The loop with a real model behind a real server: llama.cpp's, with SmolLM2-135M-Instruct."""

import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from redistill.records import json_file, jsonl
from redistill.records.types import Rationale
from tests.imports import ROOT
from tests.loop.projects import Project
from tests.paid.answering import answer

MODEL = ROOT / "data/pretrained/SmolLM2-135M-Instruct.gguf"
PYTHON = os.environ.get("REDISTILL_LLAMACPP_PYTHON") or (
    sys.executable if importlib.util.find_spec("llama_cpp") else ""
)


@pytest.fixture
def llamacpp() -> Iterator[str]:
    """The address of a server of llama.cpp that ends with the test."""
    if not PYTHON:
        pytest.skip(
            "needs llama-cpp-python[server], here or in the environment whose python "
            "REDISTILL_LLAMACPP_PYTHON names"
        )
    if not MODEL.is_file():
        pytest.skip("needs the model: make smollm2")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [
            PYTHON, "-m", "llama_cpp.server", "--model", str(MODEL), "--model_alias", "smollm2",
            "--host", "127.0.0.1", "--port", str(port), "--n_ctx", "4096",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models", timeout=1).close()
                break
            except OSError:
                assert server.poll() is None, "the server of llama.cpp did not start"
                time.sleep(0.25)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait(timeout=20)


@pytest.mark.slow
def test_a_weak_teacher_is_mostly_rejected_and_the_accounting_says_so(
    llamacpp: str, tmp_path: Path
):
    project = Project(tmp_path, REDISTILL_BASE_URL=llamacpp)
    project.compose("llamacpp")

    ran = project.repro()
    ledger = json.loads(project.redistill("ledger", "--json"))
    answers = sum(row["calls"] for row in ledger)
    assert project.repro() == []

    assert {"generate", "train@r0", "refine@r1", "report"} <= set(ran)
    found = {
        name: json.loads((tmp_path / f"metrics/rationales/{name}.json").read_text())
        for name in ("r0", "r1")
    }
    first = found["r0"]
    figures = {
        "calls": answers,
        "outcomes": dict(sum((Counter({r["outcome"]: r["calls"]}) for r in ledger), Counter())),
        "r0": {**first["attempts"], "unsolved": len(first["unsolved"])},
        "r1": {**found["r1"]["attempts"], "kept": found["r1"]["kept"]},
    }
    print(f"\nllama.cpp: {json.dumps(figures)}")
    if out := os.environ.get("REDISTILL_RESULTS"):
        json_file.write_json(Path(out) / "llamacpp.json", figures)
    for name in found:
        attempts = found[name]["attempts"]
        assert found[name]["balance"]["holds"]
        assert attempts["replies"] == attempts["accepted"] + sum(attempts["rejected"].values())
    assert first["balance"]["rows_in"] == 40
    assert first["balance"]["rows_out"] == 40 - len(first["unsolved"])
    assert sum(first["attempts"]["rejected"].values()) > first["attempts"]["replies"] / 2
    taught = jsonl.read(tmp_path / "data/rationales/r1.jsonl", Rationale)
    assert all("####" in rationale.text for rationale in taught)
    assert {rationale.teacher for rationale in taught} == {"smollm2"}
    assert answers == sum(found[name]["attempts"]["replies"] for name in found)


@pytest.mark.slow
def test_the_whole_run_by_files_of_batches(llamacpp: str, tmp_path: Path):
    project = Project(tmp_path, REDISTILL_BATCH="files")
    project.compose("llamacpp")
    output = tmp_path / "output.jsonl"

    answered = 0
    while (ran := project.run("dvc", "repro")).returncode:
        (file,) = [*tmp_path.glob("**/batches/*.jsonl")] or pytest.fail(ran.stdout + ran.stderr)
        answered += answer(llamacpp, file, output)
        project.redistill("store", "import", str(output))

    ledger = json.loads(project.redistill("ledger", "--json"))
    assert {"generate", "refine"} <= {row["stage"] for row in ledger}
    assert sum(row["calls"] for row in ledger) == answered
    assert all(row["batched"] == row["calls"] for row in ledger)
    assert project.repro() == []
