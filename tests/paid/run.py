"""A small run with a paid teacher, as files and commands: what the stages see."""

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from redistill.problems import held_out
from redistill.problems.held_out import HeldOut
from redistill.records import json_file, jsonl
from redistill.records.types import Error, Problem, Rationale
from tests import forks, settings
from tests.imports import ROOT
from tests.paid.server import Action, Script, after, answer

NUMBERS = re.compile(r"add (\d+) and (\d+)")
VARIABLE = "REDISTILL_TEST_KEY"


def problem(number: int) -> Problem:
    return Problem(
        id=f"p{number:05d}",
        question=f"Number {number}: add {number} and 7.",
        answer=str(number + 7),
    )


def solution(prompt: str) -> str:
    """The right rationale for the problem that stands in *prompt*."""
    found = NUMBERS.search(prompt)
    assert found, prompt
    a, b = int(found[1]), int(found[2])
    return f"I think.\n<rationale>\nFirst {a} + {b} = {a + b}.\n#### {a + b}\n</rationale>"


def solving(delay: float = 0.0, **fields: Any) -> Script:
    """A server that knows the answers, after *delay* seconds."""

    def script(number: int, request: dict[str, Any]) -> Action:
        act = answer(solution(request["messages"][-1]["content"]), **fields)
        return after(delay, act) if delay else act

    return script


class Run:
    """A folder with params.yaml, the train problems, and what refine needs after a failed r0."""

    def __init__(self, root: Path, url: str, count: int, **changes: Any) -> None:
        self.root = root
        self.problems = [problem(n) for n in range(count)]
        content = settings.shipped().content
        content["teach"].update(
            {"teacher": "openai", "refiner": "openai", **changes.pop("teach", {})}
        )
        content["refine"]["extend"] = False
        content["openai"] = {
            "base_url": url,
            "key": None,
            "model": "m",
            "system": None,
            "examples": [],
            "seed": None,
            "together": False,
            "body": {"max_tokens": 50},
            **changes.pop("openai", {}),
        }
        content["spending"] = {
            "prices": {"input": None, "output": None, "batch": None},
            "budget": {"calls": 100_000, "tokens": None, "cost": None},
            "strict_model": False,
            **changes.pop("spending", {}),
        }
        for section, values in changes.items():
            content[section].update(values)
        self.settings = content
        self.save()
        jsonl.write(root / "data/problems/train.jsonl", self.problems)
        jsonl.write(root / "data/problems/dev.jsonl", [])
        held_out.write(root / "data/problems/held-out.jsonl", HeldOut())
        (root / "data/students/base").mkdir(parents=True)
        self.fail_r0()

    def save(self) -> None:
        YAML(typ="safe").dump(self.settings, self.root / "params.yaml")

    def fail_r0(self) -> None:
        """Lay out a first round in which the student got everything wrong."""
        lessons = [
            Rationale(
                id=p.id, problem=p.id, text=f"#### {p.answer}", round="r0", teacher="t",
                status="first",
            )
            for p in self.problems
        ]  # fmt: skip
        errors = [
            Error(
                id=p.id, problem=p.id, split="train", completion=f"It is {n}", verdict="wrong",
                gap="add",
            )
            for n, p in enumerate(self.problems)
        ]  # fmt: skip
        jsonl.write(self.root / "data/rationales/r0.jsonl", lessons)
        jsonl.write(self.root / "data/errors/r0.jsonl", errors)
        jsonl.write(self.root / "data/attempts/r0.jsonl", [])
        gaps = {"profile": {"common": []}, "decision": {"stop": False}}
        json_file.write_json(self.root / "metrics/gaps/r0.json", gaps)

    def command(self, stage: str) -> list[str]:
        before = "data/rationales/r0.jsonl"
        options = {
            "generate": "--round r0",
            "refine": f"--name r1 --rationales {before} --like {before}"
            " --dev-problems data/problems/dev.jsonl"
            " --errors data/errors/r0.jsonl --gaps metrics/gaps/r0.json"
            " --attempts data/attempts/r0.jsonl",
        }[stage]
        shared = (
            "--problems data/problems/train.jsonl --held-out data/problems/held-out.jsonl"
            " --student data/students/base --out out.jsonl --metrics metrics/rationales/out.json"
        )
        return [sys.executable, "-m", f"stages.{stage}", *options.split(), *shared.split()]

    def _words(self, stage: str) -> tuple[str, list[str]]:
        _, _, module, *words = self.command(stage)
        return module, words

    def env(self, **more: str) -> dict[str, str]:
        own = {"PYTHONPATH": str(ROOT), "REDISTILL_STORE": str(self.root / "store.sqlite")}
        own |= forks.OFFLINE
        return {**os.environ, **own, "REDISTILL_BACKOFF": "0.01", **more}

    def start(self, stage: str, **env: str) -> Any:
        """Start *stage* as a process that can be killed."""
        return forks.start(*self._words(stage), self.root, **self.env(**env))

    def stage(self, stage: str, *, code: int = 0, **env: str) -> str:
        """Run *stage*, and return what it said."""
        ran = forks.run(*self._words(stage), self.root, **self.env(**env))
        assert ran.returncode == code, ran.stdout + ran.stderr
        return ran.stdout + ran.stderr

    def redistill(self, *words: str, code: int = 0, **env: str) -> str:
        ran = forks.run("redistill.cli", words, self.root, **self.env(**env))
        assert ran.returncode == code, ran.stdout + ran.stderr
        return ran.stdout + ran.stderr

    def metrics(self) -> dict[str, Any]:
        return dict(json.loads((self.root / "metrics/rationales/out.json").read_text()))

    def out(self) -> list[Rationale]:
        return jsonl.read(self.root / "out.jsonl", Rationale)
