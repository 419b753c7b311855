"""Students as people bring them: they work, or are refused by file before anything is paid."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from ruamel.yaml import YAML
from safetensors.torch import load_file

from redistill.checks import doctor
from redistill.console.exceptions import RefusedError
from redistill.problems.sets import ProblemSet
from redistill.records.types import Problem
from redistill.students.answer import exam
from redistill.students.answer.settings import EvaluateSettings
from redistill.students.base import make
from redistill.students.model import folder as folders
from redistill.students.model import load, saving, tokens
from redistill.students.train import checks
from redistill.students.train import lora as loras
from redistill.students.train.settings import LoraSettings
from tests import families
from tests.imports import ROOT
from tests.loop import training as small
from tests.students import odd

PLAIN = "[[question]]\n"
ASKED = Problem(id="p", question="Ines has 4 eggs. Add 3 to them.", answer="7")
TEXT = "First we add: 4 + 3 = 7.\n#### 7"
THINKING = (  # as shared by many reasoning models: thoughts are opened for the student
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}"
    "{% if enable_thinking is defined and enable_thinking is false %}"
    "{{ '<think>\\n\\n</think>\\n\\n' }}{% else %}{{ '<think>\\n' }}{% endif %}{% endif %}"
)


def opened(student: Path) -> None:
    """Open *student* as doctor does."""
    load.sketch(student, load.tokenizer(student))


OPENS = pytest.mark.parametrize("opens", [opened, lambda s: load.pretrained(str(s))])


def test_a_whole_student_is_opened_and_its_context_known(student: Path):
    found = load.sketch(student, load.tokenizer(student))

    assert (found.context, found.mended) == (256, [])
    assert found.bytes == sum(v.nbytes for v in load_file(student / "model.safetensors").values())
    odd.sharded(student)
    assert load.sketch(student, load.tokenizer(student)).bytes == found.bytes


@OPENS
@pytest.mark.parametrize(
    ("prefix", "cure"),
    [("_orig_mod.", "torch.compile"), ("module.", "DataParallel"), ("my.", "rename them")],
)
def test_weights_under_a_prefix_are_refused_with_the_cure(
    student: Path, opens, prefix: str, cure: str
):
    odd.weights(student, lambda found: {prefix + name: w for name, w in found.items()})

    with pytest.raises(RefusedError, match=f"21 weights missing: .*'{prefix}'.*") as refusal:
        opens(student)
    assert cure in str(refusal.value)


@OPENS
def test_a_missing_layer_another_shape_and_a_weight_too_many_are_named(student: Path, opens):
    def change(found: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        del found["model.layers.1.mlp.up_proj.weight"]
        head = found["lm_head.weight"]
        return {**found, "lm_head.weight": torch.cat([head, head[:8]]), "extra": head.clone()}

    odd.weights(student, change)

    with pytest.raises(RefusedError) as refusal:
        opens(student)
    told = str(refusal.value)
    assert "a weight missing: model.layers.1.mlp.up_proj.weight" in told
    assert "a weight of no use to the model: extra" in told
    assert "lm_head.weight (355 x 16 for 347 x 16)" in told


def test_tied_weights_are_not_missing(tmp_path: Path):
    tied = odd.chat_model(tmp_path / "tied", tied=True)

    assert "lm_head.weight" not in load_file(tied / "model.safetensors")
    assert loras.tied(load.pretrained(str(tied))[0])


def test_tables_of_old_checkpoints_are_no_weights(student: Path):
    table = torch.ones(4, dtype=torch.uint8)
    odd.weights(student, lambda found: {**found, "model.layers.0.self_attn.masked_bias": table})

    load.pretrained(str(student))


@OPENS
@pytest.mark.parametrize(
    ("file", "content", "fault"),
    [
        ("model.safetensors", odd.POINTER.encode(), "git lfs pull"),
        ("config.json", odd.POINTER.encode(), "git lfs pull"),
        ("tokenizer.json", odd.POINTER.encode(), "git lfs pull"),
        ("model.safetensors", b"", "is empty"),
        ("tokenizer_config.json", b"", "is empty"),
        ("config.json", b'{"model_type": "llama"', "not readable as JSON"),
        ("config.json", b"[]", "is no JSON object"),
        ("config.json", b'{"num_hidden_layers": 1e400}', "no size that a model has"),
        ("config.json", b'{"model_type": "unheard of"}', "not that of a model"),
        ("generation_config.json", b'{"max_new_tokens": -5}', "mend or delete it"),
        ("model.safetensors", b"\x08\0\0\0\0\0\0\0notjson!", "its header is damaged"),
    ],
)
def test_a_file_that_is_none_is_named(student: Path, opens, file: str, content: bytes, fault: str):
    (student / file).write_bytes(content)

    with pytest.raises(RefusedError, match=rf"{file}: .*{fault}"):
        opens(student)


@OPENS
def test_weights_that_were_cut_off_are_named_with_both_sizes(student: Path, opens):
    file = student / "model.safetensors"
    size = file.stat().st_size
    file.write_bytes(file.read_bytes()[:-1000])

    with pytest.raises(RefusedError, match=f"has {size - 1000} bytes, its header says {size}"):
        opens(student)


@OPENS
def test_quantised_weights_are_refused(student: Path, opens):
    odd.weights(student, lambda found: {n: w.to(torch.int8) for n, w in found.items()})
    with pytest.raises(RefusedError, match=r"model\.safetensors: .* is of dtype I8"):
        opens(student)

    odd.set_json(student / "config.json", quantization_config={"quant_method": "gptq"})
    with pytest.raises(RefusedError, match=r"config\.json: quantization_config"):
        opens(student)


@OPENS
def test_a_shard_that_is_missing_and_a_pickle_are_named(student: Path, opens):
    odd.sharded(student)
    (student / "b.safetensors").unlink()
    with pytest.raises(RefusedError, match=r"b\.safetensors: missing, 1 of the 2 files"):
        opens(student)

    (student / "model.safetensors.index.json").unlink()
    (student / "pytorch_model.bin").write_bytes(b"pickled")
    with pytest.raises(RefusedError, match=r"only pytorch_model\.bin, and opening a pickle"):
        opens(student)


@pytest.mark.parametrize(
    ("odd_values", "gone"),
    [
        ({"temperature": 0.6, "top_p": 0.9}, "temperature: 0.6, top_p: 0.9"),
        ({"pad_token_id": -1}, "pad_token_id: -1"),
        ({"eos_token_id": "two"}, "eos_token_id: 'two'"),
        ({"bos_token_id": 10**9}, "bos_token_id: 1000000000"),
    ],
)
def test_a_generation_config_that_cannot_be_saved_is_mended_and_said(
    student: Path, tmp_path: Path, capsys, odd_values: dict, gone: str
):
    odd.set_json(student / "generation_config.json", **odd_values)
    model, words = load.pretrained(str(student))

    found = load.sketch(student, words)
    load.save(model, words, tmp_path / "base", {})

    assert gone in found.mended[0]
    assert gone in capsys.readouterr().err
    kept = json.loads((tmp_path / "base/generation_config.json").read_text())
    assert odd_values.keys().isdisjoint(kept)
    again = load.model(tmp_path / "base")  # as a training opens it, and saves what it made
    load.stop_at(again, 5)
    load.save(again, words, tmp_path / "r0", {})
    assert "cannot be saved" not in capsys.readouterr().err
    assert 5 in load.model(tmp_path / "r0").generation_config.eos_token_id


def test_weights_are_written_where_a_small_file_cannot_be(
    student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    model, words = load.pretrained(str(student))

    def refuse(folder: Path) -> None:
        raise TypeError("not JSON")

    monkeypatch.setattr(words, "save_pretrained", refuse)

    with pytest.raises(RefusedError, match="its tokenizer cannot be saved: not JSON"):
        saving.try_out(model, words, "s")
    with pytest.raises(RefusedError, match="its tokenizer cannot be saved"):
        load.save(model, words, tmp_path / "out", {})
    assert sorted(f.name for f in (tmp_path / "out").iterdir()) == ["model.safetensors"]
    head = load_file(tmp_path / "out/model.safetensors")["lm_head.weight"]
    assert torch.equal(head, model.lm_head.weight)


LORA = LoraSettings(rank=4, alpha=8.0, dropout=0.0, targets=["q_proj", "lm_head"])


@pytest.mark.parametrize("targets", [["q_proj", "lm_head"], ["embed_tokens"], ".*lm_head"])
def test_lora_on_tied_embeddings_is_refused_before_training(tmp_path: Path, targets):
    chosen = LORA.model_copy(update={"targets": targets})
    tied = odd.chat_model(tmp_path / "tied", tied=True)
    apart = odd.chat_model(tmp_path / "apart")

    for model in (
        load.sketch(tied, load.tokenizer(tied)).model,
        load.pretrained(str(tied))[0],
    ):
        with pytest.raises(RefusedError, match=r"lora\.targets: .*one matrix") as refusal:
            loras.refuse_tied(model, chosen)
        assert refusal.value.code == 78
    loras.refuse_tied(load.pretrained(str(apart))[0], chosen)
    loras.refuse_tied(load.pretrained(str(tied))[0], chosen.model_copy(update={"targets": ["q"]}))


def test_a_merge_that_loses_what_was_learnt_fails_and_leaves_no_student(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    base = small.base(tmp_path / "base")
    kept = small.fit(base, tmp_path / "kept", method="lora", save_every=0)
    assert kept["loss_last"] < kept["loss_first"]

    monkeypatch.setattr(loras, "merged", lambda model: model.unload())

    with pytest.raises(RefusedError, match="so that is not what was trained") as refusal:
        small.fit(base, tmp_path / "lost", method="lora", save_every=0)
    assert refusal.value.code == 70
    assert not (tmp_path / "lost/manifest.json").exists()


def chat(template: str):
    words = families.tokenizer("chatml")
    words.chat_template = template
    return words


def test_thoughts_that_a_template_opens_are_refused_and_turned_off_by_an_argument():
    with pytest.raises(RefusedError, match=r"opens <think> .*it reads enable_thinking") as refusal:
        tokens.Encoder(chat(THINKING), PLAIN)
    assert "{enable_thinking: false}" in str(refusal.value)

    words = chat(THINKING)
    encoder = tokens.Encoder(words, PLAIN, arguments={"enable_thinking": False})
    example = encoder.example(ASKED, TEXT)

    asked = words.apply_chat_template(
        [{"role": "user", "content": ASKED.question}],
        add_generation_prompt=True,
        enable_thinking=False,
    )["input_ids"]
    assert encoder.prompt(ASKED) == asked == example.ids[: len(asked)]
    assert words.decode(asked).endswith("</think>\n\n")
    assert encoder.decode([i for i in example.labels if i != -100]) == TEXT
    assert words.convert_ids_to_tokens(example.ids[-1]) == "<|im_end|>"
    tokens.check([example], encoder.eos)


def test_open_thoughts_on_both_sides_and_arguments_that_nothing_reads_are_told():
    both = families.CHATML.replace(
        "+ m.content", "+ ('<think>\\n' if m.role == 'assistant' else '') + m.content"
    ).replace("assistant\\n' }}{% endif", "assistant\\n<think>\\n' }}{% endif")

    hints = tokens.Encoder(chat(both), PLAIN, arguments={"enable_thinkng": False}).hints()

    assert "opens <think>" in hints[0]
    assert "does not read enable_thinkng" in hints[1]
    assert tokens.Encoder(chat(families.CHATML), PLAIN).hints() == []


@pytest.mark.parametrize(
    "template", ["{% for m in messages %}", "{{ messages[0].x.y }}", "{{ 1 / 0 }}", "{{ 'a' + 1 }}"]
)
def test_a_template_that_fails_is_refused_in_one_line(template: str):
    with pytest.raises(RefusedError, match="chat template fails: ") as refusal:
        tokens.Encoder(chat(template), PLAIN)
    assert "\n" not in str(refusal.value)


def test_a_date_that_a_template_shows_is_settled_by_an_argument():
    dated = "{{ today if today is defined else strftime_now('%d') }}" + families.CHATML

    with pytest.raises(RefusedError, match=r"shows today's date.* reads .*today"):
        tokens.Encoder(chat(dated), PLAIN)
    encoder = tokens.Encoder(chat(dated), PLAIN, arguments={"today": "a Monday"})
    assert encoder.tokenizer.decode(encoder.prompt(ASKED)).startswith("a Monday")


@pytest.fixture
def run(student: Path, tmp_path: Path) -> Path:
    """A folder with the shipped settings and a student of its own, in which nothing has run."""
    yaml = YAML()
    content = yaml.load(ROOT / "params.yaml")
    content["wordproblems"].update({"train": 12, "dev": 4, "test": 4})
    content["student"]["model"] = str(student)
    content["train"]["max_loss"] = 1.0
    content["evaluate"]["max_new_tokens"] = 100
    odd.set_json(student / "config.json", max_position_embeddings=2048)
    root = tmp_path / "run"
    root.mkdir()
    yaml.dump(content, root / "params.yaml")
    return root


def change(run: Path, section: str, **values: object) -> None:
    yaml = YAML()
    content = yaml.load(run / "params.yaml")
    content[section].update(values)
    yaml.dump(content, run / "params.yaml")


def told(run: Path) -> dict[str, tuple[str, str]]:
    return {f.check: (f.state, f.told) for f in doctor.diagnose(run).findings}


def test_doctor_finds_several_templates_without_a_default_and_a_name_settles_it(
    run: Path, student: Path
):
    both = [
        {"name": "rag", "template": families.CHATML},
        {"name": "tool_use", "template": "{{ messages }}"},
    ]
    (student / "chat_template.jinja").unlink()
    odd.set_json(student / "tokenizer_config.json", chat_template=both)
    state, fault = told(run)["student"]
    assert state == "fails"
    assert "several chat templates (rag, tool_use)" in fault

    change(run, "student", template="rag")
    assert told(run)["student"][0] == "note"
    _, words, _, _ = make.begin(str(student), None, 1, template="rag")
    assert words.chat_template == families.CHATML

    change(run, "student", template="rga")
    assert "no chat template 'rga'; those of the tokenizer are rag" in told(run)["student"][1]


def test_a_template_of_ones_own_is_a_file_that_dvc_watches(run: Path, student: Path):
    (student / "chat_template.jinja").write_text(THINKING)
    assert "opens <think>" in told(run)["student"][1]

    change(run, "student", template="elsewhere.jinja")
    assert "put the file into data/pretrained" in told(run)["student"][1]
    change(run, "student", template="data/pretrained/own.jinja")
    assert "there is no file" in told(run)["student"][1]
    (run / "data/pretrained").mkdir(parents=True)
    (run / "data/pretrained/own.jinja").write_text(families.CHATML)
    assert told(run)["student"][0] == "note"


def test_doctor_tells_what_saving_would_lose_and_what_lora_cannot_merge(run: Path, student: Path):
    odd.set_json(student / "generation_config.json", temperature=0.6)
    found = told(run)
    assert found["weights"][0] == "holds"
    assert found["saving"][0] == "note"

    shutil.rmtree(student)
    odd.chat_model(student, tied=True, context=2048)
    change(run, "train", method="lora")
    change(run, "lora", targets=["lm_head"])
    assert told(run)["LoRA"][0] == "fails"


def test_doctor_looks_at_the_students_of_targets(run: Path, student: Path, tmp_path: Path):
    other = shutil.copytree(student, tmp_path / "other")
    yaml = YAML()
    content = yaml.load(run / "params.yaml")
    content["targets"] = {
        "other": {"model": str(other), "revision": None, "seed": 1, "shape": None}
    }
    yaml.dump(content, run / "params.yaml")
    assert told(run)["target other"][0] == "holds"

    odd.weights(other, lambda found: {f"module.{name}": w for name, w in found.items()})
    assert "DataParallel" in told(run)["target other"][1]


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("~/models/my-llama", "no such folder, as ~ is not expanded"),
        ("/models/nope", "there is no such folder"),
        ("./nope", "there is no such folder"),
        ("models/deep/nope", "there is no such folder"),
        ("nope.gguf", "there is no file nope.gguf"),
    ],
)
def test_a_student_that_is_not_there_is_no_hub_id(run: Path, name: str, fault: str):
    change(run, "student", model=name)

    assert fault in told(run)["student"][1]
    with pytest.raises(RefusedError, match=fault) as refusal:
        make.origin(small.ASKED.model_copy(update={"model": name}))
    assert refusal.value.code == 78


def test_a_file_is_no_folder_and_a_hub_id_is_no_path(student: Path):
    with pytest.raises(RefusedError, match="is a file; name the folder"):
        folders.located(str(student / "config.json"))
    assert folders.located(str(student)) == student
    assert folders.located("HuggingFaceTB/SmolLM2-135M-Instruct") is None
    with pytest.raises(RefusedError, match="there is no such folder"):
        folders.located("tests/nope")


LONG = Problem(id="long", question="How many eggs? " * 40, answer="7")


def test_prompts_without_room_for_an_answer_are_named_in_training_and_by_doctor(student: Path):
    encoder = tokens.Encoder(load.tokenizer(student), PLAIN)
    limits = checks.Limits(1000, 0.5, 100, 256, 1000)
    pairs = [(ASKED, TEXT), (LONG, TEXT)]

    made = checks.rows(encoder, pairs)
    (found,) = checks.prompts(encoder, [("dev", [ASKED, LONG])], limits)

    assert [checks.fits(row, limits) for row in made.examples] == [True, True]  # rows are taught
    tight = checks.Limits(1000, 0.5, 100, 100, 1000)
    assert [checks.fits(row, tight) for row in made.examples] == [True, False]
    assert "1 of 2 rows do not fit the model's context of 100 tokens" in checks.unfit(made, tight)
    assert "long (" in checks.unfit(made, tight)
    assert found.state == "note"
    assert "1 of 2 prompts of dev have more than 156 tokens" in found.told
    (none,) = checks.prompts(encoder, [("dev", [LONG])], limits)
    assert none.state == "fails"


def test_prompts_without_room_are_not_asked_and_count_as_cut_off(student: Path, capsys):
    settings = EvaluateSettings(
        engine="local", max_new_tokens=100, batch_size=4, precision="fp32", samples=1,
        temperature=0.7, top_p=0.9,
    )  # fmt: skip
    sets = {"dev": ProblemSet([LONG, ASKED], "dev")}

    found = exam.answer(student, sets, small.ASKED, settings, seed=1)

    long, asked = found.completions["dev"]
    assert (long.output.text, long.output.eos, long.output.tokens) == ("", False, 0)
    assert long.drawn[0].tokens == 0
    assert asked.output.tokens
    assert asked.drawn[0].tokens
    assert found.figures["over_context"] == 1
    assert "long (" in capsys.readouterr().err
    with pytest.raises(RefusedError, match="1 of 1 prompts of dev"):
        exam.answer(student, {"dev": ProblemSet([LONG], "dev")}, small.ASKED, settings, seed=1)


@pytest.mark.parametrize("first", range(0, 60, 20))
def test_odd_students_work_or_are_refused_in_one_line(whole: Path, tmp_path: Path, first: int):
    """Whatever doctor lets pass is made, taught through its template, saved and opened again."""
    for seed in range(first, first + 20):
        fault = odd.student(whole, tmp_path / "s", seed)
        outcomes = [_outcome(try_out, tmp_path) for try_out in (_examined, _made)]
        assert outcomes[0] == outcomes[1] or None in outcomes, (fault, outcomes)
        assert all("\n" not in (told or "") for told in outcomes), (fault, outcomes)
        assert outcomes.count(None) != 1, (fault, outcomes)


def _outcome(work, root: Path) -> str | None:
    try:
        work(root)
    except RefusedError as refusal:
        return str(refusal)
    return None


def _taught(words) -> tokens.Encoder:
    encoder = tokens.Encoder(words, PLAIN)
    encoder.example(ASKED, TEXT)
    return encoder


def _examined(root: Path) -> None:
    words = load.tokenizer(root / "s")
    load.sketch(root / "s", words)
    _taught(words)


def _made(root: Path) -> None:
    words = load.tokenizer(root / "s")
    model, _ = load.pretrained(str(root / "s"))
    end = _taught(words).eos
    load.save(model, words, root / "base", {})
    load.stop_at(model, end)
    load.save(model, words, root / "r0", {})
    load.model(root / "r0")
    _taught(load.tokenizer(root / "r0"))
    for made in ("base", "r0"):
        shutil.rmtree(root / made)
