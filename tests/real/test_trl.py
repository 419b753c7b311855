"""What docs/publish.md tells users of TRL and of transformers to run, run as it stands there."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from redistill.students.base import make
from redistill.students.base.settings import Shape
from redistill.students.model import load
from tests.imports import ROOT
from tests.publications import small

PYTHON = os.environ.get("REDISTILL_TRL_PYTHON", "")
SHAPE = Shape(
    architecture="llama", hidden=16, layers=1, heads=2, feed_forward=32, vocabulary=300,
    context=2048, texts=60, batch_size=8, steps=2, learning_rate=0.001,
)  # fmt: skip

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON, reason="REDISTILL_TRL_PYTHON names no Python that has TRL"),
]


def snippet(library: str) -> str:
    """The first piece of Python in docs/publish.md that imports *library*."""
    text = (ROOT / "docs/publish.md").read_text(encoding="utf-8")
    pieces = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    return next(piece for piece in pieces if f"from {library} import" in piece)


LIBRARIES = ["trl", "transformers", "trl.experimental.sdft", "trl.experimental.sdpo"]


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_published_set_trains_a_student_by_the_snippet_of_the_docs(library: str, tmp_path: Path):
    small(tmp_path / "data/published/wordproblems-refined")
    model, tokenizer, _, _ = make.begin("embedded", SHAPE, seed=1)
    load.save(model, tokenizer, tmp_path / "student-before", {})
    code = snippet(library).replace('"STUDENT"', '"student-before"')
    assert "student-before" in code
    code = code.replace("num_train_epochs=3", "num_train_epochs=3, use_cpu=True")  # as the docs say
    trained = code.replace(").train()", ")").rstrip().rsplit("\n", 1)
    code = f"{trained[0]}\nrun = {trained[1]}\nfound = run.train()\n"
    code += "import json\nprint(json.dumps([found.training_loss, found.global_step]))\n"

    ran = subprocess.run(
        [PYTHON, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
    )

    assert ran.returncode == 0, ran.stderr[-3000:]
    loss, steps = json.loads(ran.stdout.strip().splitlines()[-1])
    assert steps >= 1
    assert abs(loss) < 20
    assert loss > 0 or library == "trl.experimental.sdpo"  # which can find nothing to learn from


def test_the_example_teaches_a_student_and_saves_it(tmp_path: Path):
    small(tmp_path / "data/published/wordproblems-refined")
    model, tokenizer, _, _ = make.begin("embedded", SHAPE, seed=1)
    load.save(model, tokenizer, tmp_path / "student", {})

    ran = subprocess.run(
        [PYTHON, str(ROOT / "examples/trl_student.py"), "data/published/wordproblems-refined",
         "student", "taught"],
        cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "TRL_CPU": "1",
             "EPOCHS": "1"},
    )  # fmt: skip

    assert ran.returncode == 0, ran.stderr[-3000:]
    assert re.search(r"^[0-9]+ rows, mean loss [0-9.]+$", ran.stdout, re.MULTILINE)
    before = (tmp_path / "student/model.safetensors").read_bytes()
    assert (tmp_path / "taught/model.safetensors").read_bytes() != before


def test_the_example_distils_on_policy_from_a_teacher_of_another_tokenizer(tmp_path: Path):
    small(tmp_path / "data/published/wordproblems-refined")
    for name, seed, words in (("student", 1, 300), ("same", 2, 300), ("other", 3, 320)):
        model, tokenizer, _, _ = make.begin(
            "embedded", SHAPE.model_copy(update={"vocabulary": words}), seed=seed
        )
        load.save(model, tokenizer, tmp_path / name, {})
    before = (tmp_path / "student/model.safetensors").read_bytes()

    for teacher in ("same", "other"):
        ran = subprocess.run(
            [PYTHON, str(ROOT / "examples/trl_on_policy.py"), "data/published/wordproblems-refined",
             "student", teacher, f"by-{teacher}"],
            cwd=tmp_path, capture_output=True, text=True,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "TRL_CPU": "1",
                 "STEPS": "2", "BATCH": "2", "TOKENS": "8"},
        )  # fmt: skip

        assert ran.returncode == 0, ran.stderr[-3000:]
        told = re.search(r"^2 steps, ([0-9,]+) tokens seen$", ran.stdout, re.MULTILINE)
        assert told, ran.stdout
        assert int(told[1].replace(",", "")) > 0
        assert (tmp_path / f"by-{teacher}/model.safetensors").read_bytes() != before
