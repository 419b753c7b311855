"""Which students are opened, from where, and what is refused before anything of it is used."""

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from redistill.console import drafts
from redistill.console.exceptions import RefusedError
from redistill.records import manifest
from redistill.students.base import make
from redistill.students.model import load, precision
from redistill.students.model.note import NOTE
from tests.imports import ROOT
from tests.loop import training as small


class Evil:
    """What leaves a mark where it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return open, (str(self.marker), "w")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.base(tmp_path_factory.mktemp("made") / "base")


@pytest.fixture
def student(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "student"))


@pytest.fixture
def foreign(student: Path) -> Path:
    """A directory as it comes from elsewhere: without our note and manifest."""
    (student / NOTE).unlink()
    (student / manifest.NAME).unlink()
    return student


def test_the_manifest_of_a_student_is_the_last_thing_written(student: Path):
    assert manifest.verify(student) == []
    newest = max(student.iterdir(), key=lambda file: file.stat().st_mtime_ns)
    assert newest.name == manifest.NAME


@pytest.mark.parametrize("opens", [load.model, load.tokenizer])
def test_a_flipped_bit_is_refused_before_the_student_is_opened(student: Path, opens):
    opens(student)
    file = student / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-5] ^= 4
    file.write_bytes(content)

    with pytest.raises(RefusedError, match=r"model\.safetensors: .* with sha256 .* expected"):
        opens(student)


def test_a_zeroed_tail_is_refused(student: Path):
    file = student / "model.safetensors"
    content = file.read_bytes()
    file.write_bytes(content[:-64] + bytes(64))

    with pytest.raises(RefusedError, match=r"model\.safetensors"):
        load.model(student)


def test_a_student_whose_saving_was_interrupted_is_refused(student: Path):
    (student / manifest.NAME).unlink()

    with pytest.raises(RefusedError, match="incomplete"):
        load.model(student)


def test_a_file_slipped_into_a_student_is_refused(student: Path):
    (student / "adapter_config.json").write_text("{}")

    with pytest.raises(RefusedError, match=r"adapter_config\.json: not in the manifest"):
        load.model(student)


def test_an_unchanged_student_is_hashed_once(student: Path, monkeypatch: pytest.MonkeyPatch):
    load.model(student)
    monkeypatch.setattr(manifest, "verify", lambda folder: ["hashed again"])

    load.model(student)
    load.tokenizer(student)


@pytest.mark.parametrize("whole", [True, False])
def test_an_adapter_is_refused_and_its_pickle_not_opened(
    foreign: Path, tmp_path: Path, whole: bool
):
    marker = tmp_path / "ran"
    if not whole:
        (foreign / "model.safetensors").unlink()
        (foreign / "config.json").unlink()
    (foreign / "adapter_config.json").write_text(
        json.dumps({"peft_type": "LORA", "base_model_name_or_path": str(foreign), "r": 2})
    )
    (foreign / "adapter_model.bin").write_bytes(pickle.dumps(Evil(marker)))

    with pytest.raises(RefusedError, match="is an adapter") as refusal:
        load.pretrained(str(foreign))
    assert refusal.value.code == 78
    assert not marker.exists()


def test_a_pickle_of_weights_is_not_opened(foreign: Path, tmp_path: Path):
    marker = tmp_path / "ran"
    (foreign / "model.safetensors").unlink()
    (foreign / "pytorch_model.bin").write_bytes(pickle.dumps(Evil(marker)))

    with pytest.raises(RefusedError, match="not a causal LM directory"):
        load.pretrained(str(foreign))
    assert not marker.exists()


@pytest.mark.parametrize("gguf", [True, False])
def test_code_that_comes_with_a_student_is_not_run(foreign: Path, tmp_path: Path, gguf: bool):
    marker = tmp_path / "ran"
    (foreign / "evil.py").write_text(f"open({str(marker)!r}, 'w')\nModel = Tokenizer = Config = 1")
    auto = {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}
    (foreign / "config.json").write_text(json.dumps({"model_type": "own", "auto_map": auto}))
    (foreign / "tokenizer_config.json").write_text(
        json.dumps({"auto_map": {"AutoTokenizer": ["evil.Tokenizer", None]}})
    )
    (foreign / "x.gguf").write_bytes(b"GGUF" + bytes(60))
    name = str(foreign / "x.gguf") if gguf else str(foreign)

    with pytest.raises(RefusedError):
        load.pretrained(name)
    if not gguf:
        with pytest.raises(RefusedError):
            load.tokenizer(name)
    assert not marker.exists()


def test_weights_that_are_not_finite_are_not_saved(made: Path, tmp_path: Path):
    model, words = load.model(made), load.tokenizer(made)
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[3, 2] = float("nan")

    with pytest.raises(RefusedError, match=r"layers\.1\.mlp\.up_proj\.weight holds") as refusal:
        load.save(model, words, tmp_path / "out", {})
    assert refusal.value.code == 70
    assert not (tmp_path / "out").exists()


def test_what_is_said_while_a_student_is_saved_names_the_folder_that_its_draft_becomes(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    model, words = load.model(made), load.tokenizer(made)
    model.generation_config.temperature = 0.5  # cannot be saved without do_sample
    with drafts.folder(tmp_path / "base") as draft:
        load.save(model, words, draft, {})
    model.config.odd = float  # a type, which no JSON has
    with pytest.raises(RefusedError) as unsaved, drafts.folder(tmp_path / "base") as draft:
        load.save(model, words, draft, {})
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[3, 2] = float("nan")
    with pytest.raises(RefusedError) as broken, drafts.folder(tmp_path / "base") as draft:
        load.save(model, words, draft, {})

    said = capsys.readouterr().err.splitlines()  # progress of transformers among it, or not
    assert [
        line for line in said if line.startswith("base: generation_config.json cannot be saved")
    ]
    assert str(unsaved.value).startswith(f"student {tmp_path}/base: config.json cannot be saved")
    assert str(broken.value).startswith(f"{tmp_path}/base: not saved, model.layers.1")


@pytest.mark.parametrize("name", ["directory", "student.gguf", "embedded"])
def test_only_a_hub_id_has_a_revision(name: str, tmp_path: Path):
    if name == "directory":
        name = str(tmp_path)
    asked = small.ASKED.model_copy(update={"model": name, "revision": "v1"})

    with pytest.raises(RefusedError, match=r"student\.revision: .*only a hub id") as refusal:
        make.origin(asked)
    assert refusal.value.code == 78


def test_the_commit_that_a_hub_id_stands_for_is_what_is_fetched_and_noted(
    foreign: Path, tmp_path: Path
):
    commits = {"main": "a" * 40, "v1": "b" * 40}
    repository = tmp_path / "hub" / "models--some--student"
    (repository / "refs").mkdir(parents=True)
    for name, commit in commits.items():
        (repository / "refs" / name).write_text(commit)
        copy = Path(shutil.copytree(foreign, repository / "snapshots" / commit))
        config = json.loads((copy / "config.json").read_text())
        (copy / "config.json").write_text(json.dumps({**config, "rms_norm_eps": len(name) / 100}))
    code = (
        "from redistill.students.base import make\n"
        "from tests.loop.training import ASKED, SHAPE\n"
        "for revision in (None, 'v1', 'b' * 40):\n"
        "    asked = ASKED.model_copy(update={'model': 'some/student', 'revision': revision})\n"
        "    note = make.origin(asked)\n"
        "    model, *_ = make.begin(note['model'], SHAPE, 1, revision=note['commit'])\n"
        "    print(note['commit'][0], model.config.rms_norm_eps)\n"
    )
    offline = {"HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}

    ran = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **offline, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )

    assert ran.stdout == "a 0.04\nb 0.02\nb 0.02\n", ran.stderr


def test_a_student_says_in_its_files_where_its_answers_end(made: Path):
    model = load.model(made)
    before = model.generation_config.eos_token_id

    load.stop_at(model, before)
    assert model.generation_config.eos_token_id == before
    load.stop_at(model, 7)
    load.stop_at(model, 7)
    assert model.generation_config.eos_token_id == [7, before]


def test_precision_auto_is_fp32_without_a_gpu(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("REDISTILL_DEVICE", "cpu")

    assert [precision.precision(p) for p in ("auto", "fp32", "bf16")] == ["fp32", "fp32", "bf16"]


def test_flash_attention_without_a_gpu_is_refused(made: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("REDISTILL_DEVICE", "cpu")

    with pytest.raises(RefusedError, match="flash_attention_2 needs a GPU"):
        load.model(made, attention="flash_attention_2")
    assert load.model(made, attention="eager").config._attn_implementation == "eager"
