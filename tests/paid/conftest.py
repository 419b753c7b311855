"""Fixtures for everything that asks a paid endpoint."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.paid.server import Script, Server


@pytest.fixture
def serve() -> Iterator[Callable[[Script], Server]]:
    """Start a server that follows a script; it ends with the test."""
    started: list[Server] = []

    def start(script: Script) -> Server:
        started.append(Server(script))
        return started[-1]

    yield start
    for server in started:
        server.close()


@pytest.fixture(autouse=True)
def store_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test touches the store of another, or that of a run."""
    file = tmp_path / "store.sqlite"
    monkeypatch.setenv("REDISTILL_STORE", str(file))
    monkeypatch.setenv("REDISTILL_BACKOFF", "0.01")
    return file
