"""The examples that ask a teacher, run as they stand: an endpoint, and files for vLLM."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from redistill.records import jsonl
from redistill.records.types import Rationale
from tests.imports import ROOT
from tests.loop import training as small
from tests.paid.run import Run, problem, solving

pytestmark = [pytest.mark.slow, pytest.mark.processes]
NOWHERE = "http://127.0.0.1:9/v1"  # where nobody listens
BIN = Path(sys.executable).parent
ANSWERS = f"""#!{sys.executable}
# Stands in for vLLM: reads its options and a file of requests, writes a file of its output's form.
import json, sys
sys.path.insert(0, {str(ROOT)!r})
from tests.paid.test_batch_files import answered

words = sys.argv[1:]
assert words[0] == "run-batch", words
given = dict(zip(words[1::2], words[2::2]))
assert given["--model"] == "m", given
with open(given["-i"]) as asked, open(given["-o"], "w") as out:
    for line in asked:
        out.write(json.dumps(answered(json.loads(line))) + "\\n")
"""


def programs(folder: Path, **texts: str) -> str:
    """A PATH on which programs of these *texts* stand before all others."""
    folder.mkdir()
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
        (folder / name).chmod(0o755)
    return os.pathsep.join([str(folder), str(BIN), os.environ["PATH"]])


def example(name: str, folder: Path, *words: str, **variables: str) -> str:
    ran = subprocess.run(
        ["bash", str(ROOT / "examples" / name), *words],
        cwd=folder, capture_output=True, text=True, timeout=900,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
             "HF_HUB_OFFLINE": "1", **variables},
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_own_problems_and_an_own_endpoint_come_to_first_rationales(
    serve: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("REDISTILL_STORE")  # as a user has it
    server = serve(solving())
    lines = [{"question": problem(n).question, "answer": problem(n).answer} for n in range(120)]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / "mine.jsonl").write_text(text, encoding="utf-8")
    student = small.base(tmp_path / "student")

    said = example(
        "own-data.sh", tmp_path, str(tmp_path / "project"), PATH=programs(tmp_path / "bin"),
        PROBLEMS="mine.jsonl", URL=server.url, MODEL="m", STUDENT=str(student), STAGES="generate",
    )  # fmt: skip

    written = jsonl.read(tmp_path / "project/data/rationales/r0.jsonl", Rationale)
    taught = (tmp_path / "project/data/problems/train.jsonl").read_text(encoding="utf-8")
    assert len(written) == taught.count("\n") > 50
    assert "answered" in said  # of the ledger


def test_files_that_vllm_answers_bring_a_stage_to_its_end(tmp_path: Path):
    run = Run(tmp_path, NOWHERE, 7)
    words = " ".join(run.command("generate"))
    path = programs(tmp_path / "bin", vllm=ANSWERS, dvc=f"#!/bin/bash\nexec {words}\n")

    example(
        "run-batch.sh", run.root, PATH=path, MODEL="m", BATCHES=str(run.root / "batches"),
        **{k: v for k, v in run.env().items() if k.startswith("REDISTILL_")},
    )  # fmt: skip

    assert len(run.out()) == 7


def test_files_that_nobody_answers_end_the_example_with_the_stages_failure(tmp_path: Path):
    path = programs(tmp_path / "bin", dvc="#!/bin/bash\necho no model\nexit 255\n")

    with pytest.raises(AssertionError, match="no model"):
        example("run-batch.sh", tmp_path, PATH=path, MODEL="m")
