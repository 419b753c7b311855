"""A student as people bring one, whole, for the tests that take something from it."""

import shutil
from pathlib import Path

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
