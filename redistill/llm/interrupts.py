"""An orderly end on SIGINT and SIGTERM."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from redistill.console.exceptions import RefusedError


@contextmanager
def handled(handler: Callable[[signal.Signals], None]) -> Iterator[None]:
    """Let SIGINT and SIGTERM call *handler* while the block runs, instead of ending the process."""
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    for number in numbers:
        loop.add_signal_handler(number, handler, number)
    try:
        yield
    finally:
        for number, earlier in zip(numbers, before, strict=True):
            loop.remove_signal_handler(number)
            signal.signal(number, earlier)


def refusal(number: signal.Signals) -> RefusedError:
    """Make the refusal that ends a run stopped by the signal *number*."""
    return RefusedError(
        f"stopped by {number.name}; what was answered is stored, and dvc repro goes on from there",
        code=128 + number,
    )
