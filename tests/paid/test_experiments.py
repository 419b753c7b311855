"""Experiments of DVC in temporary copies: the same store, budget and ledger as the checkout's."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.forks import OFFLINE
from tests.paid.run import Run, solving
from tests.paid.server import Script, Server

COUNT = 6
WAIT = 240.0  # seconds in which DVC's worker is to have run an experiment of seconds


class Checkout:
    """A repository of git and DVC whose stage `generate` asks a paid teacher of COUNT problems."""

    def __init__(self, root: Path, url: str) -> None:
        budget = {"calls": COUNT + 1, "tokens": None, "cost": None}
        self.run = Run(root, url, COUNT, spending={"budget": budget})
        self.root = root
        words = self.run.command("generate")
        stage = {
            "cmd": " ".join(["exec", *words]),
            "deps": ["data/problems/train.jsonl"],
            "params": ["seed", "generate", "teach.teacher"],
            "outs": ["out.jsonl"],
            "metrics": [{"metrics/rationales/out.json": {"cache": False}}],
        }
        YAML().dump({"stages": {"generate": stage}}, root / "dvc.yaml")
        (root / ".gitignore").write_text("/.redistill/\n")
        (root / "data/students/base/kept").touch()
        self.sh("git", "init", "-q")
        for name in ("name n", "email n@example.org"):
            self.sh("git", "config", *f"user.{name}".split())
        self.sh(sys.executable, "-m", "dvc", "init", "-q")
        self.dvc("repro")
        self.sh("git", "add", "-A")
        self.sh("git", "commit", "-qm", "run")

    @property
    def env(self) -> dict[str, str]:
        own = self.run.env() | {"DVC_NO_ANALYTICS": "1", **OFFLINE}
        return {name: value for name, value in own.items() if name != "REDISTILL_STORE"}

    def sh(self, *words: str) -> str:
        ran = subprocess.run(words, cwd=self.root, env=self.env, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout + ran.stderr

    def dvc(self, *words: str) -> str:
        return self.sh(sys.executable, "-m", "dvc", *words)

    def work(self, experiments: int) -> None:
        """Have DVC's worker run what is queued, and wait for its end."""
        self.dvc("queue", "start")
        try:
            ended = time.monotonic() + WAIT
            while (told := self.dvc("queue", "status")).count("Success") < experiments:
                assert "Failed" not in told, told
                assert time.monotonic() < ended, told
                time.sleep(1)
        finally:
            self.dvc("queue", "stop", "--kill")

    def calls(self) -> int:
        rows = json.loads(self.sh(sys.executable, "-m", "redistill.cli", "ledger", "--json"))
        return sum(row["calls"] for row in rows)


@pytest.fixture
def paid(serve: Callable[[Script], Server], tmp_path: Path) -> tuple[Checkout, Server]:
    server = serve(solving())
    return Checkout(tmp_path, server.url), server


@pytest.mark.processes
def test_an_experiment_in_a_temporary_copy_pays_nothing_again(paid: tuple[Checkout, Server]):
    checkout, server = paid
    assert len(server.calls) == checkout.calls() == COUNT

    checkout.dvc("exp", "run", "--temp", "-S", "generate.max_loss=0.6")
    checkout.dvc("exp", "run", "--temp", "-S", "generate.max_loss=0.7")

    assert len(server.calls) == checkout.calls() == COUNT
    assert not list(checkout.root.glob(".dvc/tmp/**/store.sqlite"))


@pytest.mark.slow
@pytest.mark.processes
def test_what_a_temporary_copy_pays_for_stays_and_the_budget_holds_in_it(
    paid: tuple[Checkout, Server],
):
    checkout, server = paid
    words = ["exp", "run", "--temp", "-S", "openai.body.max_tokens=49", "-S", "seed=2"]

    ran = subprocess.run(
        [sys.executable, "-m", "dvc", *words], cwd=checkout.root, env=checkout.env,
        capture_output=True, text=True,
    )  # fmt: skip

    assert ran.returncode != 0
    assert "the budget is reached" in ran.stdout + ran.stderr
    assert len(server.calls) == checkout.calls() == COUNT + 1


@pytest.mark.slow
@pytest.mark.processes
def test_a_queued_experiment_and_a_queued_sweep_pay_nothing_again(paid: tuple[Checkout, Server]):
    checkout, server = paid
    checkout.dvc("exp", "run", "--queue", "-S", "generate.max_loss=0.8")
    checkout.sh(sys.executable, "-m", "redistill.cli", "sweep", "--seeds", "5", "6", "--queue")

    checkout.work(3)

    assert len(server.calls) == checkout.calls() == COUNT
