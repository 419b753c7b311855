"""What the quick tests share: settings that were read once are not parsed again."""

import pickle
from collections.abc import Iterator
from functools import cache

import pytest

from redistill.cli import compose


@pytest.fixture(autouse=True, scope="session")
def _read_once() -> Iterator[None]:
    """Have a text that was composed of before come from a copy: a parse takes ten times as long."""
    loaded = compose._loaded

    @cache
    def kept(text: str) -> bytes:
        return pickle.dumps(loaded(text))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compose, "_loaded", lambda text: pickle.loads(kept(text)))  # noqa: S301 - ours
        yield
