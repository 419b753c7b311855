"""The prompts in docs/teachers.md, held against what `redistill show` prints."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from redistill.cli.main import main
from redistill.records import jsonl
from redistill.records.types import Error
from tests import prompts
from tests.imports import ROOT

BLOCKS = dict(prompts.BLOCK.findall((ROOT / "docs/teachers.md").read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    prompts.lay_out(root)
    return root


def test_the_docs_show_a_prompt_for_each_situation():
    stages = [tuple(words.split()[1::2]) for words in BLOCKS]

    assert stages == [
        ("coat", "refine@r1"),
        ("eggs", "refine@r1"),
        ("eggs", "refine@for-two"),
        ("eggs", "refine@r2"),
        ("hens", "refine@r1"),
    ]


@pytest.mark.parametrize("words", BLOCKS)
def test_a_prompt_in_the_docs_is_what_the_command_prints(words: str, runs: Path):
    assert BLOCKS[words] == prompts.printed(runs, words)


def test_every_error_in_the_records_is_in_the_prompt(runs: Path):
    for name, stage in (("r0", "r1"), ("two", "for-two"), ("r1", "r2")):
        errors = jsonl.read(runs / f"math/data/errors/{name}.jsonl", Error)
        prompt = prompts.printed(runs, f"show eggs --stage refine@{stage}")

        shown = [e.completion in prompt for e in errors if e.split == "train"]
        assert shown
        assert all(shown)


def test_a_stage_that_asks_nothing_about_a_problem_says_so(
    runs: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(runs / "math")

    for words in (["show", "eggs", "--stage", "refine@r3"], ["show", "x", "--stage", "generate"]):
        ran = CliRunner().invoke(main, words)
        assert ran.exit_code == 65
        assert "asks nothing about" in ran.output
