"""What `redistill doctor` finds, and what stops a training before its first step."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from redistill.checks import doctor
from redistill.cli import repair
from redistill.console import preflight
from redistill.console.exceptions import RefusedError
from redistill.console.preflight import Finding
from redistill.grading.grader import load_grader
from redistill.problems import sought
from redistill.problems.splits import split
from redistill.problems.task import load_task
from redistill.records import jsonl
from redistill.records.types import Problem, Rationale
from redistill.settings import sections
from redistill.students.base import embedded
from redistill.students.base.settings import Shape, parameters
from redistill.students.model import load, precision
from redistill.students.model.tokens import Encoder, Example
from redistill.students.train import checks
from tests import forks
from tests.imports import ROOT

SHAPE = Shape(
    architecture="llama",
    hidden=32, layers=2, heads=2, feed_forward=64, vocabulary=400, context=256, texts=200,
    batch_size=8, steps=3, learning_rate=0.002,
)  # fmt: skip
LIMITS = checks.Limits(max_tokens=100, max_loss=0.1, max_new_tokens=60, context=256, vocabulary=400)
EGGS = Problem(id="eggs", question="Ines has 4 eggs. Add 3.", answer="7")
LESSONS = [(EGGS, "4+3=7\n#### 7")]


@pytest.fixture(scope="module")
def tokenizer():
    return embedded.tokenizer(SHAPE, 1)


def examined(encoder: Encoder, lessons=LESSONS, limits: checks.Limits = LIMITS) -> dict[str, str]:
    """The checks that fail, with their reasons."""
    found = checks.examine(encoder, lessons, checks.rows(encoder, lessons), limits)
    return {f.check: f.told for f in preflight.failing(found)}


def test_good_rows_pass_every_check_and_show_what_carries_loss(tokenizer):
    encoder = Encoder(tokenizer, "[[question]]\n")

    assert examined(encoder) == {}
    assert checks.segments(encoder, encoder.example(*LESSONS[0])) == [
        ("prompt", "Ines has 4 eggs. Add 3.\n"),
        ("completion", "4+3=7\n#### 7"),
        ("EOS", "<|end|>"),
    ]


@pytest.mark.parametrize(
    ("check", "changes", "fault"),
    [
        ("truncation", {"max_tokens": 10}, "1 of 1 rows are over train.max_tokens = 10"),
        ("truncation", {"context": 10}, "1 of 1 rows do not fit the model's context of 10 tokens"),
        ("answers", {"max_new_tokens": 3}, "evaluate.max_new_tokens is 3"),
        ("vocabulary", {"vocabulary": 5}, "is beyond the model's 5 embeddings"),
        ("padding", {"vocabulary": 1}, "the padding token 1 is beyond"),
    ],
)
def test_lengths_and_ids_that_do_not_fit_are_named(tokenizer, check, changes, fault):
    limits = checks.Limits(**{**vars(LIMITS), **changes})

    assert fault in examined(Encoder(tokenizer, "[[question]]\n"), limits=limits)[check]


def test_a_bos_that_stands_twice_is_found():
    tokenizer = embedded.tokenizer(SHAPE, 1)
    tokenizer.add_special_tokens({"bos_token": "<|start|>"})
    tokenizer.backend_tokenizer.post_processor = _opens_with(tokenizer.bos_token_id)

    once = Encoder(tokenizer, "[[question]]\n")
    twice = Encoder(tokenizer, "<|start|>[[question]]\n")

    limits = checks.Limits(**{**vars(LIMITS), "vocabulary": 500})
    assert "BOS" not in examined(once, limits=limits)
    assert "1 rows open with two of <|start|>" in examined(twice, limits=limits)["BOS"]


def _opens_with(bos: int):
    from tokenizers.processors import TemplateProcessing

    return TemplateProcessing(single="<|start|> $A", special_tokens=[("<|start|>", bos)])


def test_a_tokenizer_that_loses_text_is_found():
    from tokenizers import normalizers

    tokenizer = embedded.tokenizer(SHAPE, 1)
    tokenizer.backend_tokenizer.normalizer = normalizers.Lowercase()
    encoder = Encoder(tokenizer, "[[question]]\n")

    assert "'eggs'" in examined(encoder, [(EGGS, "Four And Three\n#### 7")])["read back"]


def test_text_that_becomes_a_special_token_is_found(tokenizer):
    class Leaky(Encoder):
        def content(self, text: str) -> list[int]:
            return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    faults = examined(Leaky(tokenizer, "[[question]]\n"), [(EGGS, "stop<|end|> now\n#### 7")])

    assert "'eggs'" in faults["content"]


def test_rows_without_eos_and_rows_with_loss_on_the_prompt_are_found(tokenizer):
    class Endless(Encoder):
        def completion(self, text: str) -> list[int]:
            return self.content(text)

    class Parrot(Encoder):
        def example(self, problem: Problem, text: str) -> Example:
            row = super().example(problem, text)
            return Example(row.ids, [row.ids[0], *row.labels[1:]])

    assert "not EOS" in examined(Endless(tokenizer, "[[question]]\n"))["labels"]
    assert examined(Parrot(tokenizer, "[[question]]\n"))["labels"]


def test_the_gate_gives_every_reason_at_once():
    found = [
        Finding("a", "fails", "no"), Finding("b", "note", "so"), Finding("c", "fails", "never")
    ]  # fmt: skip

    with pytest.raises(RefusedError, match=r"a: no; c: never \(redistill doctor"):
        preflight.gate(found)
    preflight.gate(found[1:2])


def test_the_size_of_the_embedded_student_is_known_before_it_is_made(tokenizer):
    load.seeded(1)
    model = embedded.untrained(SHAPE, len(tokenizer), 0, 1)

    assert parameters(SHAPE, len(tokenizer)) == model.num_parameters()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A folder with the shipped settings, on fewer problems, in which nothing has run."""
    yaml = YAML()
    content = yaml.load(ROOT / "params.yaml")
    content["wordproblems"].update({"train": 40, "dev": 10, "test": 10})
    yaml.dump(content, tmp_path / "params.yaml")
    return tmp_path


def faults(root: Path) -> dict[str, str]:
    return {f.check: f.told for f in preflight.failing(doctor.diagnose(root).findings)}


def lay_out(root: Path) -> dict[str, list[Problem]]:
    """Write the problems that the run will have."""
    task = load_task("wordproblems")
    settings = sections.read(root / "params.yaml").section("wordproblems", task.Settings)
    splits, _ = split(task.problems(settings, 1))
    for name, rows in splits.items():
        jsonl.write(root / f"data/problems/{name}.jsonl", rows)
    return splits


def test_a_run_that_has_not_begun_is_checked_on_what_it_will_be(run: Path):
    found = doctor.diagnose(run)
    (near,) = (f.told for f in found.findings if f.check == "near-duplicates")
    assert re.match(r"none \(|\d+ in (train|dev|test) of (train|dev|test)", near)

    assert preflight.failing(found.findings) == []
    assert len(found.examples) == 3
    assert [kind for kind, _ in found.examples[0]] == ["prompt", "completion", "EOS"]
    assert not (run / "data").exists()


def test_a_question_in_two_splits_is_named_with_both_ids(run: Path):
    splits = lay_out(run)
    leaked = splits["test"][0].model_copy(update={"id": "leak"})
    jsonl.write(run / "data/problems/train.jsonl", [*splits["train"], leaked])

    assert "'leak'" in faults(run)["split overlap"]
    assert repr(splits["test"][0].id) in faults(run)["split overlap"]


def test_a_grader_that_does_not_fit_the_task_is_found(run: Path):
    splits = lay_out(run)

    assert doctor.gold(splits, load_grader("yes_no")).state == "fails"
    assert doctor.gold(splits, load_grader("numeric")).state == "holds"


def test_the_latest_rationales_are_what_is_looked_at(run: Path):
    splits = lay_out(run)
    for name, text in (("r2", "early"), ("r10", "late")):
        rows = [
            Rationale(id=p.id, problem=p.id, text=f"{text}\n#### {p.answer}", round=name,
                      teacher="t", status="first")
            for p in splits["train"]
        ]  # fmt: skip
        jsonl.write(run / f"data/rationales/{name}.jsonl", rows)

    assert doctor.diagnose(run).examples[0][1][1].startswith("late\n#### ")


def test_what_is_checked_before_a_call_depends_on_neither_the_machine_nor_how_far_a_run_is(
    run: Path,
):
    splits, params = lay_out(run), sections.read(run / "params.yaml")
    first = doctor.before_calls(run, params, splits["train"], splits["dev"])
    rows = [
        Rationale(id=p.id, problem=p.id, text="so " * 900, round="r1", teacher="t", status="first")
        for p in splits["train"]
    ]
    jsonl.write(run / "data/rationales/r1.jsonl", rows)

    again = doctor.before_calls(run, params, splits["train"], splits["dev"])

    assert first == again
    assert preflight.failing(first) == []
    assert not {"disk", "precision"} & {finding.check for finding in first}
    assert {"prompts", "choices", "dev", "labels"} <= {finding.check for finding in first}


def test_bf16_that_the_device_emulates_is_told_for_both_stages(run: Path, monkeypatch):
    monkeypatch.setattr(precision, "ratio", lambda: 8.2)
    file = run / "params.yaml"
    file.write_text(file.read_text().replace("precision: fp32", "precision: bf16"))

    (found,) = (f for f in doctor.diagnose(run).findings if f.check == "precision")

    assert found.state == "note"
    assert "train.precision and evaluate.precision" in found.told
    file.write_text(file.read_text().replace("engine: local", "engine: server"))
    (served,) = (f for f in doctor.diagnose(run).findings if f.check == "precision")
    assert "set train.precision to" in served.told


def test_settings_that_are_wrong_end_the_examination_with_their_fault(run: Path):
    text = (run / "params.yaml").read_text()
    (run / "params.yaml").write_text(text.replace("alpha:", "alhpa:"))

    assert "did you mean 'alpha'" in faults(run)["problems"]


def test_a_lock_file_that_a_kill_left_empty_comes_with_the_way_out(run: Path):
    (run / "dvc.lock").touch()
    (run / ".dvc/tmp").mkdir(parents=True)
    (run / ".dvc/tmp/rwlock").write_text('{"data": {"wri')

    (run / ".dvc/config").touch()
    found = {f.check: f for f in repair.findings(run)}

    assert found["dvc.lock"].state == found["DVC's locks"].state == "fails"
    assert "redistill doctor --repair" in found["dvc.lock"].told
    assert "redistill doctor --repair" in found["DVC's locks"].told
    shutil.copy(ROOT / "dvc.lock", run)
    assert {f.check: f.state for f in repair.findings(run)}["dvc.lock"] == "holds"


def test_too_little_disk_fails(tmp_path: Path):
    assert preflight.room(tmp_path, 10**18, "students").state == "fails"
    assert preflight.room(tmp_path, 1, "students").state == "holds"


def doctored(run: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return forks.run("redistill.cli", ["doctor"], run, PYTHONPATH=str(ROOT), **env)


def test_the_command_shows_rows_in_colour_and_ends_with_a_code(run: Path):
    ran = doctored(run, FORCE_COLOR="1")

    assert ran.returncode == 0, ran.stderr
    assert "\x1b[32m" in ran.stdout
    assert "hold, or are only to know" in ran.stdout

    (run / "dvc.lock").touch()
    plain = doctored(run, NO_COLOR="1", TERM="dumb")
    assert plain.returncode == 65
    assert re.search(r"1 of \d+ checks fail", plain.stderr)
    assert "[[completion]]" in plain.stdout
    assert "\x1b" not in plain.stdout


def test_long_runs_of_words_in_both_splits_are_found_and_short_ones_are_not():
    shared = "one two three four five six seven eight nine ten eleven twelve thirteen"
    long = Problem(id="l", question=f"So: {shared}, and on?", answer="1")
    short = Problem(id="s", question="How many are there?", answer="1")
    texts = [f"Well, {shared.upper()} it is.", "How many are there?"]

    assert sought.overlapping(texts, [long, short]) == [("l", shared)]
    assert sought.overlapping([shared.replace("seven", "7")], [long]) == []
