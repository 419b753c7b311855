"""What all tests share: the server whose forks run their commands."""

import gc
import os
from pathlib import Path

import pytest
from hypothesis import settings

from tests import forks

EXAMPLES = 40  # of a property, where its test names no number; --hypothesis-profile=default: 100


def pytest_configure(config: pytest.Config) -> None:
    """Name the place of the server, which starts with its first use, and the count of examples."""
    if not config.getoption("--hypothesis-profile"):
        settings.register_profile("make test", max_examples=EXAMPLES)
        settings.load_profile("make test")
    if not hasattr(config, "workerinput") and forks.SOCKET not in os.environ:
        os.environ[forks.SOCKET] = forks.place()
        os.environ["REDISTILL_TEST_CONTROLLER"] = str(os.getpid())


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out files without a test of the marker that `-m` begins with: imports take seconds."""
    asked = config.option.markexpr.partition(" ")[0]
    if asked not in ("timed", "slow") or not collection_path.match("test_*.py"):
        return None
    return True if f"mark.{asked}" not in collection_path.read_text(encoding="utf-8") else None


def pytest_collection_finish(session: pytest.Session) -> None:
    """Have the garbage collector leave alone what was imported and collected: it stays anyway."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the server, if there is one."""
    if os.environ.get("REDISTILL_TEST_CONTROLLER") == str(os.getpid()):
        forks.end(os.environ[forks.SOCKET])
