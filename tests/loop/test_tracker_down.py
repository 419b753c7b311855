"""A tracker that is down, slow or broken: the stage ends with 0, in time, and with one line."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.imports import ROOT
from tests.settings import changed

pytestmark = pytest.mark.processes
BRIEF = 2  # seconds to wait for what gives no answer; others may be slow at their start
KEY = "0123456789abcdef0123456789"
FAKES = {
    "down": ("def init(**_):\n    raise ConnectionError('no route to host, for ' + key)\n", 1),
    "without a key": ("def init(**_):\n    raise SystemExit('no key')\n", 1),
    "broken": ("raise ImportError('built for another Python')\n", 1),
    "silent": ("import time\ndef init(**_):\n    time.sleep(600)\n", 5),
    "deaf": ("import os, signal\ndef init(**_):\n    os.kill(os.getpid(), signal.SIGSTOP)\n", 5),
    "slow at its end": (
        "import atexit, time\natexit.register(time.sleep, 600)\ndef init(**_):\n    return run\n",
        0,
    ),
    "loud": (
        "def init(**_):\n    print('hello' * 99999)\n    raise RuntimeError('a\\nb\\x1b[1m')\n",
        1,
    ),
}
REASONS = {
    "down": "ConnectionError: no route to host, for [key]",
    "without a key": "SystemExit: no key",
    "broken": "ImportError: built for another Python",
    "silent": f"it gave no answer within {BRIEF} s",
    "deaf": f"it gave no answer within {BRIEF} s",
    "loud": "RuntimeError: a b\\x1b[1m",
}
HEAD = """
import os, types
key = os.environ["WANDB_API_KEY"]
Settings = lambda **_: None
Table = None
run = types.SimpleNamespace(summary={}, finish=lambda: None)
"""


def prepare(folder: Path, code: str | None, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the stage that lays out problems, with a package wandb that is *code*."""
    text = changed("train: 2000", "train: 20").content | {"seed": 1}
    text["wordproblems"] |= {"dev": 8, "test": 8}
    (folder / "params.yaml").write_text(json.dumps(text), encoding="utf-8")
    path = [str(ROOT)]
    if code is not None:
        (folder / "fake/wandb").mkdir(parents=True)
        (folder / "fake/wandb/__init__.py").write_text(HEAD + code, encoding="utf-8")
        path.insert(0, str(folder / "fake"))
    words = [f"--{name}=out/{name}.jsonl" for name in ("train", "dev", "test", "held-out")]
    return subprocess.run(
        [sys.executable, "-m", "stages.prepare", *words, "--sources=out/s.jsonl", "--outside=out/o",
         "--metrics=metrics/problems/all.json"],
        cwd=folder, capture_output=True, text=True, timeout=120,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path), "WANDB_API_KEY": KEY,
             "REDISTILL_TRACKER": "wandb", "REDISTILL_TRACKER_WAIT": "9", **variables},
    )  # fmt: skip


@pytest.fixture(scope="module")
def untold(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the stage makes where there is no tracker."""
    folder = tmp_path_factory.mktemp("untold")
    assert prepare(folder, None, REDISTILL_TRACKER="").returncode == 0
    return folder


def made(folder: Path) -> dict[str, bytes]:
    files = [*(folder / "out").rglob("*"), *(folder / "metrics").rglob("*")]
    return {str(f.relative_to(folder)): f.read_bytes() for f in files if f.is_file()}


@pytest.mark.parametrize("fault", FAKES)
def test_the_stage_ends_as_without_a_tracker_but_for_one_line(
    fault: str, untold: Path, tmp_path: Path
):
    code, seconds = FAKES[fault]
    started = time.monotonic()

    waits = {"REDISTILL_TRACKER_WAIT": str(BRIEF)} if fault in ("silent", "deaf") else {}
    ran = prepare(tmp_path, code, **waits)

    assert ran.returncode == 0
    assert time.monotonic() - started < 45 + seconds
    assert made(tmp_path) == made(untold)
    told = "prepare: the tracker wandb was not told of this stage: "
    assert ran.stderr == (f"{told}{REASONS[fault]}\n" if seconds else "")
    for file in (tmp_path / ".redistill").rglob("*"):
        assert file.is_dir() or KEY not in file.read_text(encoding="utf-8")


def test_without_its_package_the_stage_refuses_before_it_begins(tmp_path: Path):
    if importable("wandb"):
        pytest.skip("wandb is installed here")
    (tmp_path / "wandb").mkdir()  # where wandb keeps runs; no package

    ran = prepare(tmp_path, None)

    assert ran.returncode == 78
    assert ran.stderr == (
        "prepare: REDISTILL_TRACKER: wandb is not installed: pip install 'redistill[wandb]', or "
        "unset REDISTILL_TRACKER\n"
    )
    assert not (tmp_path / "out").exists()


def importable(name: str) -> bool:
    asked = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({name!r}) is None)"
    return subprocess.run([sys.executable, "-c", asked], check=False).returncode == 0
