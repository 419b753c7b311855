"""Row X1: whatever a data set, a student or a teacher writes, the terminal shows it as text."""

import unicodedata
from pathlib import Path

import pytest
from click.testing import CliRunner

from redistill.cli import tables
from redistill.cli.main import main
from redistill.problems import held_out
from redistill.problems.held_out import HeldOut
from redistill.records import jsonl
from redistill.records.types import Error, Prediction, Problem, Rationale

CONTROLS = [chr(code) for code in (*range(9), 11, 12, 13, *range(14, 32), 127, *range(128, 134))]
WORDS = [
    "\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "\x1b]52;c;cHduZWQ=\x07", "\x1b]8;;http://x\x07y",
    "\x9b2J", "[/INST]", "[bold]loud[/bold]", "[link=http://x]y[/link]", "[red", "\\[x]",
    "\u202eevil", "\u2066x\u2069", "\u200bzero", "\ufeffmark", "\u2028line", "\u2029page",
    "<script>alert(1)</script>", "</script><img src=x onerror=y>", "javascript:x", "{{7*7}}",
    "${HOME}", "$(touch pwned)", "`touch pwned`", "; rm -rf x", "%s%n", "\ue000private",
]  # fmt: skip
PAYLOADS = [f"a{control}b" for control in CONTROLS] + WORDS


def test_there_are_as_many_payloads_as_promised():
    assert len(PAYLOADS) >= 60


def harmless(text: str) -> bool:
    return all(c == "\n" or unicodedata.category(c) not in ("Cc", "Cf", "Zl", "Zp") for c in text)


def test_the_life_of_a_problem_shows_its_choices():
    problem = Problem(id="q", question="Which?", answer="B", choices={"A": "one", "B": "two"})

    assert "q: Which?\n(A) one\n(B) two\ngold answer: B" in tables.life(problem, {}, {}, {}, {})


@pytest.mark.parametrize("payload", PAYLOADS)
def test_every_view_of_a_run_shows_it_as_text(
    payload: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    problem = Problem(id="p", question=payload, answer=payload, solution=payload)
    lesson = Rationale(
        id="p", problem="p", text=payload, round="r0", teacher=payload, status="first",
        reason=payload,
    )  # fmt: skip
    answer = Prediction(
        id="p", problem="p", split="train", completion=payload, answer=None, verdict="wrong",
        strict=False, lenient=False, eos=True, tokens=1,
    )  # fmt: skip
    error = Error(
        id="p", problem="p", split="train", completion=payload, verdict="wrong", gap="add",
        first_wrong_step=payload,
    )  # fmt: skip

    drawn = error.model_copy(update={"completion": f"drawn {payload}"})
    life = tables.life(problem, {"r0": lesson}, {"r0": answer}, {}, {"r0": [error, drawn]})
    tables.table([("a", "b"), (payload, "x")], title=payload)
    jsonl.write(tmp_path / "data/problems/train.jsonl", [problem])
    held_out.write(tmp_path / "data/problems/held-out.jsonl", HeldOut())
    source = Path(__file__).parents[2] / "params.yaml"
    (tmp_path / "params.yaml").write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    prompt = CliRunner().invoke(main, ["show"])
    missing = CliRunner().invoke(main, ["show", payload])

    table = capsys.readouterr().out
    assert (prompt.exit_code, missing.exit_code) == (0, 65)
    for shown in (life, table, prompt.output, missing.output):
        assert harmless(shown)
    if payload.isprintable():
        assert payload in life
        assert f"also wrong:\n    drawn {payload}" in life
        assert payload in prompt.output
        assert payload in table
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data", "params.yaml"]
