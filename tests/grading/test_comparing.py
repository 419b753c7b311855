"""The process in which formulas are compared: what it survives, and what it never does."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from redistill.console.exceptions import RefusedError
from redistill.grading import math_process
from redistill.grading.grader import load_grader
from tests.imports import ROOT

pytest.importorskip("math_verify", reason="needs the extra math")
PAYLOADS = [
    "9**9**9", "9^{9^{9^{9}}}", "factorial(10**7)", "10000000!", r"\binom{10^9}{10^8}",
    "__import__('os').popen('touch pwned').read()", "$(touch pwned)", "`touch pwned`",
    r"\operatorname{__import__}(os)", r"\input{/etc/passwd}", "(" * 120 + "1" + ")" * 120,
    r"\frac{" * 50 + "1", r"\sum_{k=1}^{10^{12}} \frac{1}{k}", r"\int_0^1 x^{x^{x^{x}}} dx",
    "[[" * 100, "\\" * 200, "$" * 200, r"\left(" * 40, r"\sqrt{" * 50 + "2" + "}" * 50,
    r"2^{2^{2^{2^{2^{2}}}}}", "1e100000000", "x" * 250, "\x00", "\ud800",
]  # fmt: skip


@pytest.fixture
def worker() -> Iterator[math_process.Worker]:
    made = math_process.Worker()
    yield made
    made.stop()


@pytest.mark.parametrize(
    ("answer", "gold", "same"),
    [
        (r"\frac{1}{2} + x", "x + 0.5", True),
        (r"\sqrt{8}", r"2\sqrt{2}", True),
        ("x^2+1", "1 + x^2", True),
        (r"(-\infty, 3]", r"(-\infty, 3)", False),
        ("x = 5", "5", True),
        ("9**9**9", "9", False),
        (r"28\%", "28", True),
        ("3 x", "3", False),
        ("7:32", "7", False),
    ],
)
def test_formulas_are_compared_as_mathematics(answer: str, gold: str, same: bool):
    assert load_grader("math").equal(answer, gold) == same


@pytest.mark.parametrize("text", ["18", "1,005", "3/4", r"\frac{3}{4}", "-2", "x^2+1", "[0, 1)"])
def test_equal_texts_and_plain_numbers_need_no_other_process(
    text: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(math_process.Worker, "same", None)
    grader = load_grader("math")

    assert grader.equal(f" ${text}$.", text)
    assert not grader.equal("18", "19")


@pytest.mark.timed
@pytest.mark.parametrize("payload", PAYLOADS, ids=range(len(PAYLOADS)))
def test_no_answer_holds_up_breaks_or_commands(
    payload: str, worker: math_process.Worker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr(math_process, "LIMIT", 1.0)
    monkeypatch.chdir(tmp_path)
    worker.same("1", "1")  # started

    begun = time.monotonic()
    verdict = worker.same("1234", payload)
    assert time.monotonic() - begun < 2.5
    assert verdict is False
    assert list(tmp_path.iterdir()) == []
    assert worker.same("x+1", "1+x"), "and the next answer is compared as ever"


def test_a_worker_that_is_killed_starts_again(worker: math_process.Worker):
    assert worker.same("x+1", "1+x")
    before = worker.pid
    assert before is not None
    os.kill(before, 9)
    time.sleep(0.1)

    assert worker.same("x+2", "2+x")
    assert worker.pid != before


def test_the_worker_has_little_memory_no_files_and_no_keys(
    worker: math_process.Worker, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-for-the-worker")
    monkeypatch.setenv("HF_TOKEN", "not-for-the-worker")
    worker.same("1", "1")

    limits = Path(f"/proc/{worker.pid}/limits").read_text().split("\n")
    given = {line[:26].strip(): line[26:].split()[0] for line in limits if line}
    known = Path(f"/proc/{worker.pid}/environ").read_bytes().decode()
    names = {entry.partition("=")[0] for entry in known.split("\0") if entry}
    assert int(given["Max address space"]) <= 1 << 30
    assert given["Max file size"] == "0"
    assert names <= set(math_process.KEPT)
    assert "not-for-the-worker" not in known


def test_the_worker_ends_with_the_process_that_started_it(tmp_path: Path):
    code = (
        "from redistill.grading import math_process; import os, signal\n"
        "math_process.WORKING.same('x', 'y'); print(math_process.WORKING.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )

    pid = int(ran.stdout)
    for _ in range(50):
        if not _runs(pid):
            return
        time.sleep(0.1)
    raise AssertionError(f"the worker {pid} lives on")


def test_importing_the_grader_and_finding_answers_loads_no_sympy():
    code = (
        "from redistill.grading.grader import load_grader\n"
        "g = load_grader('math'); g.strict('#### $x$')\n"
        "g.equal('1/2', '0.5'); import sys; print([m for m in ('sympy', 'math_verify',"
        " 'latex2sympy2_extended') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)

    assert ran.stdout.strip() == "[]", ran.stderr


def test_without_math_verify_the_grader_is_refused_with_the_way_out(
    worker: math_process.Worker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr(math_process.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RefusedError, match=r"pip install redistill\[math\]"):
        load_grader("math")

    missing = tmp_path / "worker.py"
    missing.write_text(f"print('{json.dumps({'missing': 'no module'})}')")
    monkeypatch.setattr(math_process, "WORKER", missing)
    with pytest.raises(RefusedError, match=r"redistill\[math\] \(no module\)"):
        worker.same("x", "y")


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
