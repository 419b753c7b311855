"""
Your own problems from files: JSON lines, an array of JSON, CSV or Parquet (docs/data.md).

Source and licence: yours. Split rule: one file a split; a split without a file is a share of train,
carved out by the hash of the id, the same rows whatever the order of the file. Grader: yours too,
in ``grade.grader``.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

from pydantic import Field

from redistill.console.exceptions import CONFIG, RefusedError
from redistill.problems import own
from redistill.problems.source import Count, carve, labelled, named, take, tracked
from redistill.records.lazy import Changed, Joined
from redistill.records.types import Problem, Split
from redistill.settings.bounds import Text
from redistill.settings.sections import Section

SOURCE = "files of whoever published this"
LICENCE = "not stated"
GRADER: str | None = None
PUBLISHED = False
Rows = Sequence[tuple[str, Problem]]


class Settings(Section):
    """
    Section ``jsonl``: the files, and how many rows of each split to take (null: all).

    *dev_share* and *test_share* are those of train that become dev and test where these have no
    file. *source* is what is said of rows that have no source of their own.
    """

    train: Text
    dev: Text | None
    test: Text | None
    dev_share: Annotated[float, Field(ge=0, lt=1)]
    test_share: Annotated[float, Field(ge=0, lt=1)] = 0.0  # older projects have none
    source: Text | None = None  # as above
    take_train: Count
    take_dev: Count
    take_test: Count


def problems(settings: Settings, seed: int) -> Sequence[tuple[Split, Problem]]:
    """
    Read the problems of all splits, in the order of the hashes of their ids.

    *seed* draws which rows are taken where fewer than all are; what is carved out does not depend
    on it. Refused are a file outside data/external, one that cannot be read or has zero rows, and
    all faulty rows of a file at once.
    """
    splits = dict(_splits(settings))
    takes = {"train": settings.take_train, "dev": settings.take_dev, "test": settings.take_test}
    sourced = partial(_sourced, settings.source)
    return Joined(
        *(
            labelled(split, Changed(take(found, takes[split], seed), sourced))
            for split, found in splits.items()
        )
    )


def files(settings: Settings) -> list[Path]:
    """Return the files that are read."""
    named = (settings.train, settings.dev, settings.test)
    return [Path(path) for path in named if path is not None]


def _splits(settings: Settings) -> Iterator[tuple[Split, Rows]]:
    """The rows of every split: those of its file, or its share of those of train."""
    train = _rows(settings.train, "train")
    begin = 0.0
    dev_share = settings.dev_share if settings.dev is None else 0.0
    test_share = settings.test_share if settings.test is None else 0.0
    _check(settings, dev_share, test_share)
    carved = {}
    for split, share in (("dev", dev_share), ("test", test_share)):
        carved[split] = carve(train, begin, begin + share)
        begin += share
    yield "train", carve(train, begin, 1) if begin else train
    yield "dev", carved["dev"] if settings.dev is None else _rows(settings.dev, "dev")
    yield "test", carved["test"] if settings.test is None else _rows(settings.test, "test")


def _check(settings: Settings, dev: float, test: float) -> None:
    for split, share in (("dev", dev), ("test", test)):
        if getattr(settings, split) is None and not 0 < share < 1:
            raise RefusedError(
                f"jsonl.{split}_share: expected a share between 0 and 1 of train, since "
                f"jsonl.{split} names no file; got {share:g}",
                code=CONFIG,
            )
    if dev + test >= 1:
        raise RefusedError(
            f"jsonl: dev_share and test_share are {dev + test:g} together, which leaves no train",
            code=CONFIG,
        )


def _rows(path: str, split: str) -> Rows:
    rows = own.read(tracked(f"jsonl.{split}", path)).problems
    if not rows:
        raise RefusedError(f"{path}: split {split!r} has 0 rows")
    return Changed(rows, named)


def _sourced(stated: str | None, row: tuple[str, Problem]) -> Problem:
    _, problem = row
    return (
        problem.model_copy(update={"source": stated}) if stated and not problem.source else problem
    )
