"""Lines in the order of their ids, however many: sorted in runs, which are merged."""

import heapq
import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from operator import itemgetter
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

RUN = 50_000  # lines that are sorted in memory

Line = tuple[str, str]  # an id, and the line that it is sorted by


def in_order(lines: Iterable[Line], folder: Path) -> Iterator[str]:
    """
    Return *lines* in the order of their ids, those of one id in the order that they came.

    More than RUN of them lie in *folder* meanwhile, in files without a name.
    """
    first = itemgetter(0)
    with ExitStack() as files:
        runs: list[IO[str]] = []
        waiting: list[Line] = []
        for line in lines:
            waiting.append(line)
            if len(waiting) == RUN:
                file = files.enter_context(
                    TemporaryFile("w+", encoding="utf-8", newline="\n", dir=folder)
                )
                _keep(sorted(waiting, key=first), file)
                runs.append(file)
                waiting = []
        waiting.sort(key=first)
        yield from map(itemgetter(1), heapq.merge(*map(_kept, runs), waiting, key=first))


def _keep(lines: Iterable[Line], file: IO[str]) -> None:
    """Write *lines* to *file*, each id on a line of its own."""
    for identity, line in lines:
        file.write(f"{json.dumps(identity)}\n{line}\n")
    file.flush()


def _kept(file: IO[str]) -> Iterator[Line]:
    """Read what `_keep` wrote."""
    file.seek(0)
    for identity in file:
        yield json.loads(identity), file.readline().removesuffix("\n")
