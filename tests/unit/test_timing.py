"""What the tests that bound time measure with, on work of a known kind."""

import pytest

from tests import timing
from tests.timing import BOUND, Run, growth, spent


def counting(steps: int) -> Run:
    def run() -> None:
        for _ in range(steps):
            pass

    return run


@pytest.mark.timed
def test_work_in_proportion_is_told_from_work_that_grows_faster(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(timing, "PATIENCE", 0.5)

    assert growth([counting(n * 10_000) for n in (1, 2, 4)], least=0.1) < BOUND
    assert growth([counting(n**2 * 10_000) for n in (1, 2, 4)], least=0.1) > BOUND


@pytest.mark.timed
def test_work_that_takes_too_long_does_so_for_as_long_as_it_is_tried(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(timing, "PATIENCE", 0.5)

    assert spent(counting(1_000_000), below=1) > 1
    assert spent(counting(10), below=1) < 1
