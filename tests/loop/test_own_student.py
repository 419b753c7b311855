"""A student of one's own, chosen by one line, through the commands of the stages."""

import json
from pathlib import Path

import pytest
import torch
from ruamel.yaml import YAML
from transformers import LlamaConfig, LlamaForCausalLM

from redistill.records import jsonl, manifest
from redistill.records.types import Prediction
from tests import families, forks
from tests.imports import ROOT

SMALL = {
    "wordproblems": {"train": 12, "dev": 4, "test": 4},
    "train": {"steps": 6, "batch_size": 4, "nll_rows": 4, "save_every": 2},
    "evaluate": {"max_new_tokens": 400, "batch_size": 20},
}


def directory(folder: Path) -> Path:
    """A chat model as one might have it: a Hugging Face directory, of random weights here."""
    tokenizer = families.tokenizer("llama3")
    torch.manual_seed(1)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


class Run:
    """A folder of its own with the shipped settings, made small, and one line of them changed."""

    def __init__(self, root: Path, line: str, **changes: dict) -> None:
        self.root = root
        text = (ROOT / "params.yaml").read_text(encoding="utf-8")
        old = "  model: embedded "
        assert text.count(old) == 1
        yaml = YAML()
        content = yaml.load(text.replace(old, f"{line} "))
        for section, values in {**SMALL, **changes}.items():
            content[section].update(values)
        yaml.dump(content, root / "params.yaml")

    def stage(self, words: str, fails: bool = False) -> str:
        module, *options = words.split()
        env = {"PYTHONPATH": str(ROOT), "REDISTILL_THREADS": "1"}
        ran = forks.run(module, options, self.root, **env)
        assert (ran.returncode != 0) == fails, ran.stdout + ran.stderr
        return ran.stdout + ran.stderr

    def metrics(self, name: str | Path) -> dict:
        return json.loads((self.root / name).read_text(encoding="utf-8"))


PREPARE = (
    "stages.prepare --train data/problems/train.jsonl --dev data/problems/dev.jsonl "
    "--test data/problems/test.jsonl --held-out data/problems/held-out.jsonl "
    "--sources data/problems/sources.jsonl "
    "--outside data/problems/outside --metrics problems.json"
)
BASE = "stages.base --out data/students/base --metrics base.json --timing timing/base.json"
GENERATE = (
    "stages.generate --round r0 --problems data/problems/train.jsonl "
    "--held-out data/problems/held-out.jsonl --student data/students/base "
    "--out r0.jsonl --metrics generate.json"
)
TRAIN = (
    "stages.train --branch r0 --problems data/problems/train.jsonl --rationales r0.jsonl "
    "--start data/students/base --out data/students/r0 --metrics train.json "
    "--timing timing/train.json"
)
ANSWER = (
    "stages.answer --student data/students/r0 --problems data/problems --out completions "
    "--metrics answer.json --timing timing/answer.json"
)
GRADE = (
    "stages.grade --completions completions --problems data/problems --out predictions "
    "--metrics grade.json"
)


@pytest.mark.parametrize("changes", [{}, {"train": {**SMALL["train"], "method": "lora"}}])
def test_a_directory_of_ones_own_is_a_student_by_one_line(tmp_path: Path, changes: dict):
    mine = directory(tmp_path / "mine")
    run = Run(tmp_path, f"  model: {mine}", **changes)

    for words in (PREPARE, BASE, GENERATE, TRAIN, ANSWER, GRADE):
        run.stage(words)

    trained = run.metrics("train.json")
    answers = jsonl.read(tmp_path / "predictions" / "test.jsonl", Prediction)
    student = tmp_path / "data/students/r0"
    end = families.tokenizer("llama3").convert_tokens_to_ids("<|eot_id|>")
    assert trained["labels"]["rows_ended_by_eos"] == 12
    assert trained["losses"][-1] < trained["losses"][0]
    assert len(answers) == 4
    assert run.metrics("answer.json")["precision"] == "fp32"
    assert run.metrics("grade.json")["scores"]["test"]["n"] == 4
    timed = {file.stem: run.metrics(file) for file in (tmp_path / "timing").iterdir()}
    assert {*timed} == {"train", "answer"}  # the base student was fetched, not trained
    assert timed["train"]["tokens"] == trained["tokens"]
    assert all(took["seconds"] > 0 for took in timed.values())
    assert manifest.verify(student) == []
    assert json.loads((student / "generation_config.json").read_text())["eos_token_id"][0] == end
    assert not list((tmp_path / ".redistill/checkpoints").glob("*/*"))
    assert "resumed" not in json.dumps(trained)


def test_a_student_damaged_on_disk_stops_its_stage_with_the_file_and_both_hashes(tmp_path: Path):
    run = Run(tmp_path, f"  model: {directory(tmp_path / 'mine')}")
    for words in (PREPARE, BASE, GENERATE):
        run.stage(words)
    file = tmp_path / "data/students/base/model.safetensors"
    content = file.read_bytes()
    file.write_bytes(content[:-8] + bytes(8))

    told = run.stage(TRAIN, fails=True)

    assert "data/students/base/model.safetensors" in told
    assert told.count("sha256") == 2
    assert not (tmp_path / "data/students/r0").exists()
