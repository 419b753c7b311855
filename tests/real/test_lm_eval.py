"""The tasks that are exported, run by lm-evaluation-harness itself, against our own grading."""

import importlib.util
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from redistill.grading import predictions
from redistill.harness import tasks
from redistill.problems.sets import ProblemSet
from redistill.records.types import Problem
from redistill.students.answer import exam
from redistill.students.answer.settings import EvaluateSettings
from redistill.students.base import make
from redistill.students.base.settings import Shape
from redistill.students.model import load
from redistill.students.model.settings import StudentSettings
from tests.imports import ROOT
from tests.settings import shipped

MISSING = importlib.util.find_spec("lm_eval") is None
SHAPE = Shape(
    architecture="llama", hidden=32, layers=1, heads=2, feed_forward=64, vocabulary=300,
    context=512, texts=400, batch_size=8, steps=40, learning_rate=0.003,
)  # fmt: skip
QUESTIONS = ("Ann has 12 figs. She buys 7. How many figs?", "What is 3 + 4?")
SETS = {
    "numbers": ProblemSet(
        [Problem(id=f"n{i}", question=q, answer="19") for i, q in enumerate(QUESTIONS)],
        grader="numeric",
    ),
    "letters": ProblemSet(
        [Problem(id="c", question="Which purrs?", answer="B", choices={"A": "dog", "B": "cat"})],
        grader="choice",
    ),
    "yes": ProblemSet([Problem(id="y", question="Do cats purr?", answer="yes")], grader="yes_no"),
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(MISSING, reason="lm_eval is not installed: pip install -e '.[lm-eval]'"),
]


def test_the_harness_gets_the_texts_and_verdicts_that_we_get(tmp_path: Path):
    model, tokenizer, _, _ = make.begin("embedded", SHAPE, seed=1)
    student = tmp_path / "student"
    load.save(model, tokenizer, student, {})
    asked = shipped().section("student", StudentSettings)
    settings = shipped().section("evaluate", EvaluateSettings)
    settings = settings.model_copy(update={"max_new_tokens": 24})
    ours = exam.answer(student, SETS, asked, settings, seed=1)
    judged = predictions.grade(SETS, ours.completions, "numeric").predictions
    names = tasks.write(tmp_path / "tasks", SETS, tasks.Asking(asked, False, 24), "numeric")

    command = [
        *(sys.executable, "-m", "lm_eval", "--model", "hf", "--device", "cpu"),
        *("--model_args", f"pretrained={student},dtype=float32"),
        *("--include_path", str(tmp_path / "tasks"), "--tasks", ",".join(names)),
        *("--log_samples", "--output_path", str(tmp_path / "results"), "--batch_size", "4"),
    ]
    env = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "HF_HOME": str(tmp_path),
    }
    ran = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)

    assert ran.returncode == 0, f"{shlex.join(command)}\n{ran.stderr[-3000:]}"
    for name, found in judged.items():
        (file,) = (tmp_path / "results").rglob(f"samples_redistill_{name}_*.jsonl")
        rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        texts = {row["doc"]["id"]: row["resps"][0][0] for row in rows}
        assert texts == {p.problem: p.completion for p in found}
        right = {row["doc"]["id"]: bool(row["exact_match"]) for row in rows}
        assert right == {p.problem: p.strict for p in found}
