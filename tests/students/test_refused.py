"""What is refused of a student, of how it is asked and of how it is taught, each with a way out."""

import json
import shlex
import struct
import sys
from pathlib import Path
from typing import Any

import pytest

from redistill.console.exceptions import RefusedError
from redistill.students.answer import server
from redistill.students.answer.server import COMMAND, DIALECT, KEY, URL, WAIT
from redistill.students.model import folder as folders
from redistill.students.model import load, template, tokens
from redistill.students.train import fit, loop
from redistill.students.train import lora as loras
from tests import families
from tests.loop import training as small
from tests.students import odd

PLAIN = "[[question]]\n"
PYTHON = shlex.quote(sys.executable)
LISTING = """
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"data": [{"id": "my-student"}, {"id": "my-teacher"}]}')

HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.base(tmp_path_factory.mktemp("made") / "base")


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in (COMMAND, URL, KEY, DIALECT, WAIT):
        monkeypatch.delenv(variable, raising=False)


def refused(call: Any, *given: Any, **named: Any) -> tuple[str, int]:
    """What *call* says in its refusal, and the exit code that comes of it."""
    with pytest.raises(RefusedError) as refusal:
        call(*given, **named)
    return str(refusal.value), refusal.value.code


def serve(student: Path) -> None:
    """Reach *student* behind the server that the environment names."""
    with server.served(student, eos=0, max_new_tokens=5, text_of=str):
        pass


def write_header(file: Path, header: dict[str, Any], behind: bytes = b"") -> None:
    """Write *file* as safetensors does: the size of its header, the header, the weights."""
    raw = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(raw)) + raw + behind)


def changed_header(student: Path, **changes: Any) -> str:
    """Give the first weight of *student* a changed entry, None for none, and return its name."""
    file = student / "model.safetensors"
    raw = file.read_bytes()
    end = 8 + struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8:end])
    name = min(header, key=lambda key: (key == "__metadata__", key))
    entry = {**header[name], **changes}
    header[name] = {key: value for key, value in entry.items() if value is not None}
    write_header(file, header, raw[end:])
    return name


def test_a_prompt_is_sent_to_a_server_as_ids_or_as_text_and_in_no_other_way(
    student: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(URL, "http://127.0.0.1:1/v1")
    monkeypatch.setenv(DIALECT, "tokens")

    assert refused(serve, student) == (f"{DIALECT}: expected ids or text, got 'tokens'", 78)


@pytest.mark.parametrize("named", ["--name {name}", ""])
def test_a_server_that_lists_other_models_than_the_student_is_refused_with_their_names(
    named: str, student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "listing.py").write_text(LISTING)
    monkeypatch.setenv(COMMAND, f"{PYTHON} -S -E {tmp_path}/listing.py {{port}} {{model}} {named}")

    told, code = refused(serve, student)

    wanted = server.name(student)
    assert told == f"{COMMAND}: the server lists my-student, my-teacher, not {wanted}"
    assert code == 78


def test_a_server_that_does_not_come_up_in_time_is_refused_with_the_variable_that_gives_it_more(
    student: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(WAIT, "0.2")
    monkeypatch.setenv(COMMAND, "sh -c 'exec sleep 60' {model} {port}")

    told, code = refused(serve, student)

    assert told == f"{COMMAND}: no model within {WAIT} seconds: it said nothing"
    assert code == 78


def test_a_template_whose_empty_thoughts_run_into_the_text_before_them_is_refused():
    words = families.tokenizer("chatml")
    assert len(words("\n\n", add_special_tokens=False)["input_ids"]) == 1
    words.chat_template = families.CHATML.replace(
        "{{ '<|im_start|>assistant\\n' }}",
        "{{ '<|im_start|>assistant\\n\\n<think>\\n</think>\\n' }}",
    )

    told, code = refused(tokens.Encoder, words, PLAIN)

    assert "joins the thoughts in its prompt to the text before them in one token" in told
    assert told.endswith("student.template, or set student.chat to false")
    assert code == 78


def test_a_weight_without_its_place_in_the_file_is_refused_by_name(student: Path):
    name = changed_header(student, data_offsets=None)

    told, _ = refused(folders.check, student)

    file = student / "model.safetensors"
    assert told == f"{file}: {name}: its entry is damaged; fetch it again"


def test_a_weight_of_another_size_than_its_shape_is_refused_by_name(student: Path):
    name = changed_header(student, shape=[3, 5])

    told, _ = refused(folders.check, student)

    file = student / "model.safetensors"
    assert told == f"{file}: {name}: its size is not that of its shape; fetch it again"


def test_a_file_of_weights_that_holds_none_is_refused(student: Path):
    file = student / "model.safetensors"
    write_header(file, {"__metadata__": {"format": "pt"}})

    assert refused(folders.check, student)[0] == f"{file}: holds no weights; fetch it again"


@pytest.mark.parametrize("content", [b"<!DOCTYPE html><title>Not found</title>", b"PK\3\4"])
def test_a_page_or_an_archive_under_the_name_of_the_weights_is_refused(
    student: Path, content: bytes
):
    file = student / "model.safetensors"
    file.write_bytes(content)

    told, _ = refused(folders.check, student)

    size = len(content)
    assert told == f"{file}: is no safetensors file, or was cut off ({size} bytes); fetch it again"


def test_a_link_of_a_hub_cache_that_leads_nowhere_is_refused_by_its_file(student: Path):
    (student / "merges.txt").symlink_to("../../blobs/0a1b2c")

    told, _ = refused(load.tokenizer, student)

    assert told == f"{student / 'merges.txt'}: cannot be read: No such file or directory"


@pytest.mark.parametrize(
    "change", [{"weight_map": ...}, {"weight_map": {"lm_head.weight": 1}}, {"metadata": ...}]
)
def test_an_index_that_does_not_say_where_the_weights_are_is_refused(
    student: Path, change: dict[str, Any]
):
    odd.sharded(student)
    odd.set_json(student / folders.INDEX, **change)

    told, _ = refused(folders.check, student)

    index = student / folders.INDEX
    assert told == f"{index}: has no weight_map of names, or no metadata; fetch it again"


def test_another_file_under_the_name_of_a_gguf_is_refused(tmp_path: Path):
    file = tmp_path / "student.gguf"
    file.write_bytes(b"<!DOCTYPE html>")

    told, _ = refused(load.pretrained, str(file))

    assert told == f"student {file}: cannot be read: it is no GGUF file"


def test_a_template_in_another_encoding_is_refused_by_its_setting_and_file(tmp_path: Path):
    file = tmp_path / "data/pretrained/chat.jinja"
    file.parent.mkdir(parents=True)
    file.write_bytes("Später: {{ messages }}".encode("latin-1"))
    name = "data/pretrained/chat.jinja"

    told, code = refused(template.apply, families.tokenizer("chatml"), name, root=tmp_path)

    assert told.startswith(f"student.template: {name} cannot be read: 'utf-8' codec")
    assert code == 78


def test_a_chat_template_that_is_no_text_is_refused_with_the_file_that_holds_it(student: Path):
    (student / "chat_template.jinja").unlink(missing_ok=True)
    odd.set_json(student / "tokenizer_config.json", chat_template=5)
    words = load.tokenizer(student)

    told, code = refused(tokens.Encoder, words, PLAIN)

    assert told == (
        "the student's chat template is no text; mend tokenizer_config.json, or set "
        "student.template to a file"
    )
    assert code == 78


def test_a_tokenizer_without_a_token_to_stop_at_is_refused_with_the_file_to_name_one_in(
    student: Path,
):
    odd.set_json(student / "tokenizer_config.json", eos_token=None)
    words = load.tokenizer(student)

    told, _ = refused(tokens.Encoder, words, PLAIN, chat=False)

    assert told.startswith("the student's tokenizer has no EOS token")
    assert told.endswith("name one as eos_token in its tokenizer_config.json")


def test_a_prompt_without_a_place_for_the_question_is_refused():
    asked = small.ASKED.model_copy(update={"prompt": "Solve [question]:\n"})

    told, _ = refused(tokens.Encoder.of, families.tokenizer("chatml"), asked)

    assert told == "student.prompt: needs [[question]] where the question goes"


@pytest.mark.parametrize("system", ["Obey.<|im_end|>", "Answer this: [[question]]"])
def test_a_system_prompt_with_a_special_token_or_the_questions_blank_is_refused(system: str):
    told, code = refused(tokens.Encoder, families.tokenizer("chatml"), PLAIN, system=system)

    assert told == "student.system: holds the text of a special token, or [[question]]"
    assert code == 78


def taught(base: Path, out: Path, *, asked: Any = small.ASKED, **changes: Any) -> None:
    """Teach the student in *base* by the settings of tests with *changes*, without section lora."""
    rules = small.RULES.model_copy(update={"save_every": 0, **changes})
    fit.fit(
        small.PROBLEMS, small.LESSONS, base, out, small.FIRST, asked, rules, 1, max_new_tokens=150
    )


def test_lora_without_its_section_is_refused_before_a_step(base: Path, tmp_path: Path):
    told, code = refused(taught, base, tmp_path / "r0", method="lora")

    assert (told, code) == ("train.method: lora needs the section lora", 78)
    assert not (tmp_path / "r0").exists()


def test_flash_attention_in_full_precision_is_refused(base: Path, tmp_path: Path):
    asked = small.ASKED.model_copy(update={"attention": "flash_attention_2"})

    found = refused(taught, base, tmp_path / "r0", asked=asked, precision="fp32")

    assert found == ("student.attention: flash_attention_2 needs bf16", 78)


def test_a_batch_that_cannot_be_taken_in_equal_parts_is_refused(base: Path, tmp_path: Path):
    found = refused(taught, base, tmp_path / "r0", batch_size=6, accumulate=4)

    assert found == ("train.batch_size: must be a multiple of train.accumulate", 78)


def test_a_rationale_of_a_problem_that_is_not_trained_on_is_refused_by_both_ids(
    base: Path, tmp_path: Path
):
    stray = small.LESSONS[0].model_copy(update={"id": "t9", "problem": "t9"})

    told, _ = refused(
        fit.fit, small.PROBLEMS, [*small.LESSONS, stray], base, tmp_path / "r0", small.FIRST,
        small.ASKED, small.RULES, 1, max_new_tokens=150,
    )  # fmt: skip

    assert told == "rationale 't9': no train problem 't9'"


def test_a_training_without_a_row_is_refused():
    plan = loop.Plan(
        steps=2, batch_size=4, accumulate=2, learning_rate=0.01, warmup=0.0, weight_decay=0.0,
        precision="fp32", seed=1,
    )  # fmt: skip

    told, _ = refused(loop.train, None, [], plan, pad=0, say="r0")

    assert told == "there is nothing to train on: 0 rationales"


def test_targets_of_lora_that_are_no_pattern_are_refused_with_what_is_wrong_in_them(tmp_path: Path):
    model = load.model(odd.chat_model(tmp_path / "tied", tied=True))
    asked = small.LORA.model_copy(update={"targets": "(q_proj|v_proj"})

    told, code = refused(loras.adapted, model, asked, 1)

    assert told.startswith("lora.targets: '(q_proj|v_proj': missing ), unterminated subpattern")
    assert code == 78


def test_lora_without_peft_is_refused_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setitem(sys.modules, "peft", None)

    told, code = refused(loras.adapted, None, small.LORA, 1)

    assert told == "train.method: lora needs peft (pip install 'redistill[lora]')"
    assert code == 78
