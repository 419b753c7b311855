"""Whole runs whose answers have no one right string: judged by a model, and code by its tests."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from redistill.grading.labelled import Labelled
from redistill.records import jsonl
from redistill.sandbox import walls
from tests import settings
from tests.loop.projects import TINY, Project
from tests.paid import literal_judge
from tests.paid.server import Action, Server, answer

pytestmark = pytest.mark.slow

CITIES = ("Paris", "Rome", "Oslo", "Bern", "Kyiv", "Lima", "Riga", "Cairo", "Quito", "Seoul")
ROUNDS = {
    "branches": {
        "r0": {"from": "r0", "rationales": "r0", "times": 1, "probe": True},
        "r1": {"from": "r0", "rationales": "r1", "times": 1, "probe": True},
        "one-shot-matched": {"from": "r0", "rationales": "r0", "times": 2, "probe": False},
    },
    "rewrites": {"r1": {"from": "r0", "of": "r0", "like": "r0", "start": "base"}},
}


def question(number: int) -> str:
    return f"Trip {number}: which city is the goal of train {number} to {CITIES[number % 10]}?"


def task(number: int) -> str:
    return f"Write a function add{number}(x) that returns x + {number}."


def teach(prompt: str) -> str:
    """What the teacher writes to *prompt*; refining, it says more."""
    more = "Look at it once more. " if "First diagnose" in prompt else ""
    if found := re.search(r"to (\w+)\?", prompt):
        return f"<rationale>\n{more}The train goes there.\n#### {found[1]}\n</rationale>"
    number = re.search(r"function add(\d+)", prompt)[1]
    code = f"```python\ndef add{number}(x):\n    return x + {number}\n```"
    return f"<rationale>\n{more}It adds.\n####\n{code}\n</rationale>"


def script(_: int, request: dict[str, Any]) -> Action:
    """Answer as the judge where there is something to judge, else as the teacher."""
    prompt = request["messages"][-1]["content"]
    return answer(literal_judge.reply(prompt) if prompt.startswith("DATA ") else teach(prompt))


@pytest.fixture
def server() -> Iterator[Server]:
    """A server that is teacher and judge."""
    found = Server(script)
    yield found
    found.close()


def project(root: Path, server: Server, overlay: str, rows: list[dict[str, Any]]) -> Project:
    """Lay out a project of the *overlay* with the problems *rows*, and a teacher at *server*."""
    made = Project(root, REDISTILL_STORE=str(root / ".redistill/store.sqlite"))
    content = dict(settings.shipped(overlay).content)
    del content["tutor"]
    for name, values in ROUNDS.items():
        content[name] = values
    for branch in content["branches"].values():
        branch.update({"start": "base", "lessons": "latest"})
    content["teach"] |= {"teacher": "openai", "refiner": "openai"}
    service = {"base_url": server.url, "key": None, "model": "m", "body": {"max_tokens": 99}}
    content["openai"] = service | {
        "system": None, "examples": [], "seed": None, "together": False, "headers": {}, "query": {},
    }  # fmt: skip
    nothing = {"input": None, "output": None, "batch": None}
    limits = {"calls": 5000, "tokens": None, "cost": None}
    content["spending"] = {"prices": nothing, "budget": limits, "strict_model": False}
    if "judge" in content["grade"]:
        content["grade"]["judge"] |= service | {"shown": "completion"}
    else:
        content["grade"]["tests"]["insist"] = shutil.which(walls.BWRAP) is None
    for section in ("embedded", "train", "evaluate"):
        content[section] |= TINY[section]
    content["embedded"]["context"] = 2000
    content["mine"]["stop"] = "never"
    content["mine"]["exemplars"] = 0
    content["guard"]["max_growth"] = 100.0
    (root / "params.yaml").write_text(json.dumps(content), encoding="utf-8")
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (root / "data/external/problems.jsonl").write_text(lines, encoding="utf-8")
    return made


def read(root: Path, name: str) -> dict[str, Any]:
    return dict(json.loads((root / f"metrics/{name}.json").read_text(encoding="utf-8")))


def test_a_run_is_judged_by_a_model_from_first_texts_to_the_report(tmp_path: Path, server: Server):
    rows = [{"question": question(n), "answer": CITIES[n % 10]} for n in range(40)]
    run = project(tmp_path, server, "own-answers", rows)
    labels = [
        Labelled(
            id=f"l{n:02d}", question=question(n), answer=CITIES[n % 10],
            completion=f"#### {CITIES[(n + n % 2) % 10]}", right=n % 2 == 0,
        )
        for n in range(20)
    ]  # fmt: skip
    jsonl.write(tmp_path / "data/rubrics/labelled.jsonl", labels)

    told = run.run("redistill.cli", "judge")
    assert "kappa 1.00" in told.stdout, told.stdout + told.stderr
    run.dvc("repro")

    first = read(tmp_path, "rationales/r0")
    assert first["judge"]["agreement"]["kappa"] == 1.0
    assert first["judge"]["verdicts"]["right"] == first["rewritten"] > 0
    assert read(tmp_path, "rationales/r1")["rewritten"] > 0
    assert "judge" in read(tmp_path, "rounds/r1")
    paid = len(server.calls)
    run.dvc("repro", "--force", "--single-item", "generate", "grade@r0", "refine@r1")
    assert len(server.calls) == paid  # every verdict was paid once
    assert "judge" in run.run("redistill.cli", "ledger").stdout


def test_a_run_on_code_is_graded_by_its_tests(tmp_path: Path, server: Server):
    rows = [
        {
            "question": task(n),
            "answer": f"assert add{n}(1) == {n + 1}\nassert add{n}(-1) == {n - 1}",
            "solution": f"Add.\n```\ndef add{n}(x):\n    return x + {n}\n```",
        }
        for n in range(40)
    ]
    run = project(tmp_path, server, "own-code", rows)

    run.dvc("repro")

    first = read(tmp_path, "rationales/r0")
    assert first["tests"]["runs"]["passes"] == first["rewritten"] > 0
    assert read(tmp_path, "rationales/r1")["rewritten"] > 0
    assert "tests" in read(tmp_path, "rounds/r1")
