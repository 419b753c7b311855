"""A student behind a server: the answers of this very student, or one line of refusal."""

import json
import os
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from redistill.console.exceptions import RefusedError
from redistill.records.types import Problem
from redistill.students.answer.engine import answer
from redistill.students.answer.exam import Answered
from redistill.students.answer.server import COMMAND, DIALECT, KEY, URL, _filled, name
from redistill.students.model import load, tokens
from redistill.students.train import fit
from tests import forks
from tests.imports import ROOT
from tests.students.student_server import StudentServer, completion, from_table
from tests.students.test_students import ASKED, FIRST, PROBLEMS, RULES, exam, examined, lesson
from tests.students.test_students import base as base  # a fixture

SPLITS: dict[Any, list[Problem]] = {
    "train": PROBLEMS[:5],
    "dev": PROBLEMS[5:8],
    "test": PROBLEMS[8:],
}
STUB = ROOT / "tests/students/student_server.py"
Start = Callable[..., StudentServer]


@pytest.fixture(scope="module")
def students(base: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two rounds of one student, of other weights each."""
    root, known = tmp_path_factory.mktemp("rounds"), {p.id: p for p in PROBLEMS}
    for number, steps in enumerate((2, 6)):
        rules = RULES.model_copy(update={"steps": steps})
        lessons = [lesson(p) for p in PROBLEMS]
        fit.fit(
            known, lessons, base, root / f"r{number}", FIRST, ASKED, rules, 1, max_new_tokens=200
        )
    return [root / "r0", root / "r1"]


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in (COMMAND, URL, KEY, DIALECT):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("REDISTILL_BACKOFF", "0.01")
    monkeypatch.setenv("REDISTILL_STORE", str(tmp_path / "store.sqlite"))


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Start a server at the address that the environment names; it ends with the test."""
    started: list[StudentServer] = []

    def start(student: Path, answers: Any = None) -> StudentServer:
        answers = answers or from_table(table(student))
        started.append(StudentServer([name(student)], answers))
        monkeypatch.setenv(URL, started[-1].url)
        return started[-1]

    yield start
    for server in started:
        server.close()


@cache
def table(student: Path) -> dict[str, list[Any]]:
    """What the model of *student* writes greedily after each prompt."""
    model, words = load.model(student), load.tokenizer(student)
    encoder = tokens.Encoder(words, ASKED.prompt)
    prompts = [encoder.prompt(p) for p in PROBLEMS]
    answers = answer(
        model, prompts, eos=encoder.eos, pad=words.pad_token_id, max_new_tokens=40, batch_size=12
    )
    return {
        json.dumps(prompt): [
            encoder.decode(a.ids), "stop" if a.eos else "length", len(a.ids) + a.eos
        ]
        for prompt, a in zip(prompts, answers, strict=True)
    }  # fmt: skip


def answered(student: Path, engine: str, **changes: object) -> Answered:
    return examined(student, SPLITS, exam(engine=engine, **changes))[0]


@cache
def locally(student: Path) -> Answered:
    """What the student answers in this process."""
    return answered(student, "local")


def stub(student: Path, folder: Path, more: str = "") -> str:
    """A command that serves *student* from a table, and notes its processes in *folder*."""
    (folder / "table.json").write_text(json.dumps(table(student)))
    return (
        f"{shlex.quote(sys.executable)} {STUB} --port {{port}} --model {{model}} "
        f"--table {folder}/table.json --pids {folder}/pids {more}"
    )


def living(folder: Path) -> list[int]:
    """The processes of the stub that are still there."""
    found = []
    for pid in (int(word) for word in (folder / "pids").read_text().split()):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state != "Z":
            found.append(pid)
    return found


@pytest.mark.parametrize("named", ["--name {name}", ""])
def test_a_server_that_the_stage_starts_predicts_what_the_model_does_and_ends(
    named: str, students: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(COMMAND, stub(students[1], tmp_path, named))

    found = answered(students[1], "server")

    there = locally(students[1])
    assert found.completions == there.completions
    assert found.figures == there.figures
    assert found.figures["balance"]["holds"]
    assert living(tmp_path) == []


def test_no_answer_is_ever_that_of_another_round(
    students: list[Path], serve: Start, tmp_path: Path
):
    first, second = students
    local = [locally(student).completions for student in students]
    assert local[0] != local[1]

    old = serve(first)
    assert answered(first, "server").completions == local[0]
    assert answered(first, "server").completions == local[0]
    with pytest.raises(RefusedError) as refusal:
        answered(second, "server")
    new = serve(second)
    assert answered(second, "server").completions == local[1]

    assert refusal.value.code == 78
    assert f"does not serve {name(second)}" in str(refusal.value)
    assert name(first) in str(refusal.value)
    assert (len(old.calls), len(new.calls)) == (2 * len(PROBLEMS), len(PROBLEMS))
    assert not (tmp_path / "store.sqlite").exists()


def test_the_name_of_a_student_changes_with_any_of_its_weights(
    students: list[Path], tmp_path: Path
):
    copy = tmp_path / "r0"
    copy.mkdir()
    for file in students[0].iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    assert name(copy) == name(students[0])

    weights = bytearray((copy / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "model.safetensors").write_bytes(weights)

    assert name(copy) != name(students[0])


def test_a_crash_of_the_server_ends_with_one_line_and_leaves_no_process(
    students: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(COMMAND, stub(students[0], tmp_path, "--crash-after 3"))

    with pytest.raises(RefusedError) as refusal:
        answered(students[0], "server")

    assert refusal.value.code == 75
    assert str(refusal.value) == "the student's server ended with 9: out of memory, of all things"
    assert living(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_stage_that_is_killed_takes_its_server_with_it(
    number: signal.Signals, students: list[Path], tmp_path: Path
):
    command = stub(students[0], tmp_path)
    up, more = tmp_path / "up", {COMMAND: command, "PYTHONPATH": str(ROOT)}
    stage = forks.start("tests.students.served", [str(students[0]), str(up)], tmp_path, **more)
    while not up.exists():
        assert stage.poll() is None
        time.sleep(0.05)
    server = living(tmp_path)[0]

    stage.send_signal(number)
    stage.wait(timeout=30)

    for _ in range(100):
        if server not in living(tmp_path):
            break
        time.sleep(0.1)
    left = living(tmp_path)
    for pid in left:  # a worker of a killed stage's server is the server's to end
        os.kill(pid, signal.SIGKILL)
    assert server not in left
    if number == signal.SIGTERM:
        assert left == []


@pytest.mark.parametrize(
    ("command", "fault"),
    [
        ("false {model} {port}", "ended with 1: it said nothing"),
        ("no-such-server {model} --port {port}", "there is no command 'no-such-server'"),
        ("vllm serve {model}", "needs {port}"),
        ("vllm serve --port {port}", "needs {model}"),
        ("vllm serve '{model} --port {port}", "No closing quotation"),
    ],
)
def test_a_command_that_cannot_serve_is_refused(
    command: str, fault: str, students: list[Path], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(COMMAND, command)

    with pytest.raises(RefusedError) as refusal:
        answered(students[0], "server")

    assert fault in str(refusal.value)
    assert refusal.value.code == 78


def test_a_command_is_a_list_of_words_and_never_a_shell(tmp_path: Path):
    student = "data/students/r1; touch x"
    fields = {"{model}": student, "{port}": "8001", "{name}": "r1-1"}

    words = _filled("env serve '{model}' --listen=127.0.0.1:{port} $(date)", fields)

    assert words == ["env", "serve", student, "--listen=127.0.0.1:8001", "$(date)"]


@pytest.mark.parametrize(
    ("url", "command", "fault"),
    [
        (None, None, "set either REDISTILL_STUDENT_SERVER"),
        ("http://127.0.0.1:1/v1", "x {model} {port}", "set either"),
        ("http://example.org/v1", None, "plain http to example.org"),
        ("http://127.0.0.1:1/v1", None, "cannot be reached"),
    ],
)
def test_a_server_must_be_named_once_and_be_reached_safely(
    url: str | None,
    command: str | None,
    fault: str,
    students: list[Path],
    monkeypatch: pytest.MonkeyPatch,
):
    for variable, value in ((URL, url), (COMMAND, command)):
        if value:
            monkeypatch.setenv(variable, value)

    with pytest.raises(RefusedError, match=fault):
        answered(students[0], "server")


GOOD = completion("#### 1", "stop", 4, 0)


def bad(**changes: Any) -> dict[str, Any]:
    return {**GOOD, **changes}


@pytest.mark.parametrize(
    ("code", "content", "refused", "fault"),
    [
        (500, {"error": {"message": "cuda"}}, 75, "did not answer in 2 tries: server_error.*cuda"),
        (200, bad(choices=[{"text": "x", "finish_reason": "abort"}]), 75, "finish_reason 'abort'"),
        (200, bad(choices=[{"finish_reason": "stop"}]), 75, "the choice has no text"),
        (400, {"error": {"message": "unknown field top_k"}}, 78, "refused a prompt.*top_k"),
        (404, {"error": {"message": "no such model"}}, 78, "no such model"),
        (200, bad(usage=None), 78, "does not count tokens"),
        (200, bad(usage={"prompt_tokens": 2, "completion_tokens": 4}), 78, "read a prompt of"),
    ],
)
def test_an_answer_that_is_none_fails_the_stage_and_is_never_dropped(
    code: int,
    content: Any,
    refused: int,
    fault: str,
    students: list[Path],
    serve: Start,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("REDISTILL_ATTEMPTS", "2")
    known = from_table(table(students[0]))
    serve(students[0], lambda n, request: (code, content) if n >= 4 else known(n, request))

    with pytest.raises(RefusedError, match=fault) as refusal:
        answered(students[0], "server")
    assert refusal.value.code == refused


def test_a_busy_server_is_asked_again(students: list[Path], serve: Start):
    known = from_table(table(students[0]))
    seen: set[tuple[int, ...]] = set()

    def answers(number: int, request: dict[str, Any]) -> tuple[int, Any]:
        """Refuse each prompt once: with several in flight, any other rule is left to chance."""
        prompt = tuple(request["prompt"])
        if prompt in seen:
            return known(number, request)
        seen.add(prompt)
        return 429, {"error": "busy"}

    server = serve(students[0], answers)

    assert answered(students[0], "server").completions == locally(students[0]).completions
    assert len(server.calls) == 2 * len(PROBLEMS)


def test_what_is_sent_are_the_ids_of_training_and_plain_sampling(
    students: list[Path], serve: Start
):
    words = load.tokenizer(students[0])
    encoder = tokens.Encoder(words, ASKED.prompt)
    server = serve(students[0])

    found = answered(students[0], "server", samples=2)

    greedy = [call for call in server.calls if call["temperature"] == 0]
    drawn = [call for call in server.calls if call["temperature"] == 0.7]
    assert sorted(c["prompt"] for c in greedy) == sorted(encoder.prompt(p) for p in PROBLEMS)
    assert {c["max_tokens"] for c in server.calls} == {40}
    assert all(c["stop_token_ids"] == [encoder.eos] and c["top_k"] == -1 for c in server.calls)
    assert len({c["seed"] for c in drawn}) == len(drawn) == 16
    assert {c["top_p"] for c in drawn} == {0.95}
    assert {len(c.drawn) for c in found.completions["train"]} == {2}


def test_a_server_without_ids_gets_text_and_only_fields_of_the_standard(
    students: list[Path], serve: Start, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(DIALECT, "text")
    encoder = tokens.Encoder(load.tokenizer(students[0]), ASKED.prompt)
    ids = {f"{p.question}\n": encoder.prompt(p) for p in PROBLEMS}
    known = from_table(table(students[0]))
    server = serve(students[0], lambda n, r: known(n, {**r, "prompt": ids[r["prompt"]]}))

    assert answered(students[0], "server").completions == locally(students[0]).completions
    assert set(server.calls[0]) == {"model", "prompt", "max_tokens", "temperature"}
