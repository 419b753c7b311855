"""SmolLM2-135M-Instruct through the whole loop on a few real problems of either kind."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks import published_rationales
from redistill.records import jsonl
from redistill.records.types import Error, Prediction, Rationale
from tests.imports import ROOT
from tests.loop.projects import Project

DATA = ROOT.parent / "shared" / "data"
STUDENT = ROOT / "data/pretrained/SmolLM2-135M-Instruct.gguf"
FEW = {"take_train": 12, "take_dev": 6, "take_test": 6}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not DATA.is_dir(), reason="shared/data is not beside this checkout"),
    pytest.mark.skipif(not STUDENT.is_file(), reason="SmolLM2 is not there: make smollm2"),
]


def project(root: Path, name: str, task: str) -> Project:
    """A project with the settings of the slice *name*, on a few problems and in a few steps."""
    made = Project(root)
    made.compose(name)
    quick = {"steps": 3, "save_every": 0, "nll_rows": 4, "precision": "auto"}
    asked = {"max_new_tokens": 400, "precision": "auto"}
    made.change({task: FEW, "train": quick, "evaluate": asked})
    shutil.copytree(DATA / task, root / "data/external" / task)
    shutil.copy(STUDENT, root / "data/pretrained")
    return made


def read(root: Path, kind: type, *path: str) -> list:
    return [row for name in path for row in jsonl.read(root / name, kind)]


def test_gsm8k_with_the_tutor_reworking_the_human_solutions(tmp_path: Path):
    made = project(tmp_path, "gsm8k-smollm2", "gsm8k")

    made.dvc("repro")

    first, second = (read(tmp_path, Rationale, f"data/rationales/{n}.jsonl") for n in ("r0", "r1"))
    answers = read(tmp_path, Prediction, "data/predictions/r0/test.jsonl")
    summary = json.loads((tmp_path / "metrics/summary.json").read_text())
    assert len(first) == len(second) == 12
    assert any(row.status == "refined" and row.text != row.history[0].text for row in second)
    assert len(answers) == 6
    assert all(answer.tokens > 0 for answer in answers)
    assert summary["branches"]["r0"]["training"]["labels"]["prompt_tokens_in_loss"] == 0
    assert "Rows balance" in made.redistill("rounds")


def test_strategyqa_with_published_rationales_first_and_the_tutor_refining(tmp_path: Path):
    made = project(tmp_path, "strategyqa-smollm2", "strategy_qa")
    source = str(DATA / "llm_rationales/strategy_qa.jsonl")
    out = str(tmp_path / "data/external/strategy_qa/texts.jsonl")
    ran = CliRunner().invoke(published_rationales.main, [source, out])
    assert ran.exit_code == 0, ran.output

    made.dvc("repro")

    first = read(tmp_path, Rationale, "data/rationales/r0.jsonl")
    second = read(tmp_path, Rationale, "data/rationales/r1.jsonl")
    errors = read(tmp_path, Error, "data/errors/r0.jsonl")
    assert first
    assert {row.teacher for row in first} == {"2hojae/mentor-kd data/main/strategy_qa_3_train.json"}
    assert {row.teacher for row in second if row.status == "refined"} <= {"tutor"}
    assert {error.gap for error in errors} <= {"yes_for_no", "no_for_yes", "format"}
    assert (tmp_path / "metrics/best.json").is_file()


def test_texts_of_a_language_model_are_replayed_and_lessons_accumulate_in_every_arm(tmp_path: Path):
    made = Project(tmp_path)
    made.compose("gsm8k-short")
    outside = {"svamp": {"folder": "data/external/svamp", "train_share": 0.0, "dev_share": 0.0,
                         "take_train": None, "take_dev": None, "take_test": 6}}  # fmt: skip
    quick = {"steps": 2, "batch_size": 4, "save_every": 0, "nll_rows": 4}
    made.change({
        "jsonl": {"take_train": 24, "take_dev": 6, "take_test": 6}, "train": quick,
        "prepare": {"outside": outside}, "evaluate": {"max_new_tokens": 320, "batch_size": 24},
    })  # fmt: skip
    for name in ("gsm8k_short", "svamp"):
        shutil.copytree(DATA / name, tmp_path / "data/external" / name)
    shutil.copy(STUDENT, tmp_path / "data/pretrained")

    made.dvc("repro")

    taught = {}
    for name in ("r0", "r1", "resample-r1"):
        rows = read(tmp_path, Rationale, f"data/rationales/{name}.jsonl")
        training = json.loads((tmp_path / f"metrics/training/{name}.json").read_text())
        taught[name] = training["labels"]["rows"]
        assert training["labels"]["prompt_tokens_in_loss"] == 0
        assert taught[name] == sum(1 + len(row.history) for row in rows)
        assert {row.teacher for row in rows} == {"llm (offline batch, 2026-11)"}
    refined = [r for r in read(tmp_path, Rationale, "data/rationales/r1.jsonl") if r.history]
    assert 5 < len(refined) < 24  # the files have new texts for about half of the problems
    assert taught["r1"] == taught["r0"] + len(refined)
    assert taught["r0"] < taught["resample-r1"] <= taught["r1"]
    ladder = json.loads((tmp_path / "metrics/ladder.json").read_text())
    rungs = {row["rung"] for row in ladder["rounds"]["r1"]}
    assert rungs == {"one-shot", "one-shot, step-matched", "resample"}
    scores = json.loads((tmp_path / "metrics/outside/r1.json").read_text())["scores"]
    assert scores["svamp"]["n"] == 6
