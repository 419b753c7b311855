"""Writes of many coroutines to the record store, in transactions that they share."""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from redistill.llm.store import Writer

T = TypeVar("T")


class Commits:
    """Writes of many coroutines in one transaction: each is on disk when its await returns."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._waiting: list[
            tuple[Callable[[sqlite3.Connection], Any], asyncio.Future[Any] | None]
        ] = []
        self._thread = ThreadPoolExecutor(1)
        self._task: asyncio.Task[None] | None = None
        self._problem: Exception | None = None

    async def do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run *work* in the next transaction, and return once that is committed."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._join(work, future)
        return await future

    def later(self, work: Callable[[sqlite3.Connection], object]) -> None:
        """Run *work* in the next transaction, or the one after a failure of the run."""
        self._join(work, None)

    async def done(self) -> None:
        """Wait until everything handed in is committed; raises what a late write raised."""
        while self._task is not None and not self._task.done():
            await asyncio.wait({self._task})
        self._thread.shutdown()
        if self._problem is not None:
            raise self._problem

    def _join(
        self, work: Callable[[sqlite3.Connection], Any], future: asyncio.Future[Any] | None
    ) -> None:
        self._waiting.append((work, future))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._flush())

    async def _flush(self) -> None:
        """Only the commit, which waits for the disk, leaves the loop's thread."""
        loop = asyncio.get_running_loop()
        connection = self._writer.connection
        while self._waiting:
            await asyncio.sleep(0)  # let whoever is ready join this group
            group, self._waiting = self._waiting, []
            try:
                connection.execute("begin immediate")
                done = [work(connection) for work, _ in group]
                await loop.run_in_executor(self._thread, connection.execute, "commit")
            except Exception as problem:  # whatever it is, nobody may go on as if it were written
                self._problem = problem
                if connection.in_transaction:
                    connection.execute("rollback")
                for _, future in group:
                    if future is not None and not future.done():
                        future.set_exception(problem)
                continue
            for (_, future), result in zip(group, done, strict=True):
                if future is not None and not future.done():
                    future.set_result(result)
