"""What the commands that look at a run do not load: it would take seconds before the first word."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from redistill.cli import new_project
from redistill.cli.main import main
from redistill.problems import held_out
from redistill.problems.held_out import HeldOut
from redistill.records import jsonl
from redistill.records.types import Problem, Rationale
from tests.imports import ROOT

HEAVY = ("torch", "transformers", "datasets", "pyarrow", "peft", "accelerate", "matplotlib", "dvc")
LOOKING = (
    *("params", "plan", "show", "show p1", "diff r0 r1", "ledger", "store export out.jsonl"),
    *("rounds", "ladder", "why"),
)
HELP = ("--help", *(f"{name} --help" for name in sorted(main.commands)))
CODE = """
import json, sys
from click.testing import CliRunner
from redistill.cli.main import main
for words in json.loads(sys.argv[1]):
    ran = CliRunner().invoke(main, words.split())
    loaded = [name for name in json.loads(sys.argv[2]) if name in sys.modules]
    print(json.dumps([words, ran.exit_code, loaded]))
"""


def lay_out(root: Path, overlay: str) -> None:
    """A run of one problem with the settings of *overlay*, as far as its rationales."""
    problem = Problem(id="p1", question="Add 1 and 2?", answer="3")
    settings = new_project.settings([overlay] if overlay else [], None, None, None)
    (root / "params.yaml").write_text(settings, encoding="utf-8")
    for split in ("train", "dev", "test"):
        jsonl.write(root / f"data/problems/{split}.jsonl", [problem])
    held_out.write(root / "data/problems/held-out.jsonl", HeldOut())
    for name in ("r0", "r1"):
        lesson = Rationale(
            id="p1", problem="p1", text=f"{name} #### 3", round=name, teacher="t", status="first"
        )
        jsonl.write(root / f"data/rationales/{name}.jsonl", [lesson])
    shutil.copytree(ROOT / "metrics", root / "metrics")


@pytest.mark.parametrize(
    "overlay",
    [
        "",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("vllm", "local", "gsm8k-smollm2")
        ),
    ],
)
def test_looking_at_a_run_loads_no_library_of_models_or_tables(overlay: str, tmp_path: Path):
    lay_out(tmp_path, overlay)
    words = [*HELP, *LOOKING] if not overlay else ["params", "plan", "show"]

    ran = subprocess.run(
        [sys.executable, "-c", CODE, json.dumps(words), json.dumps(HEAVY)],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip

    told = [json.loads(line) for line in ran.stdout.splitlines()]
    assert told == [[command, 0, []] for command in words], ran.stderr
