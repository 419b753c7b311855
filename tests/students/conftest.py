"""Students for tests: a whole one as people bring it, and a small one that is trained."""

import shutil
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole student, which no test changes."""
    from tests.students import odd  # torch, which collecting the tests does without

    return odd.chat_model(tmp_path_factory.mktemp("brought") / "whole")


@pytest.fixture
def student(whole: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(whole, tmp_path / "student"))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student of a few thousand weights, for tests that train it."""
    from tests.loop import training as small  # torch, as above

    return small.base(tmp_path_factory.mktemp("made") / "base")


@pytest.fixture(scope="module")
def examples(base: Path) -> list[Any]:
    """The rows that it is trained on."""
    from redistill.records import lessons as teaching
    from redistill.students.model import load, tokens
    from redistill.students.train import checks, fit
    from tests.loop import training as small

    encoder = tokens.Encoder(load.tokenizer(base), small.ASKED.prompt)
    lessons = fit.paired(small.PROBLEMS, teaching.taught(small.LESSONS, "latest"))
    return fit.kept(checks.rows(encoder, lessons), checks.Limits(200, 0.5, 9, None, None))[0]
