"""
Your own problems from JSONL files in the format of `Problem`.

Source and licence: yours. Split rule: one file a split; without a dev file, a share of train is
carved out by the hash of the id, the same rows whatever the order of the file. Grader: yours too,
in ``grade.grader``.
"""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from redistill.console.exceptions import RefusedError
from redistill.problems import source
from redistill.records.jsonl import read
from redistill.records.types import Problem, Split
from redistill.settings.bounds import SMALL, Text
from redistill.settings.sections import Section

SOURCE = "files of whoever published this"
LICENCE = "not stated"
GRADER: str | None = None
PUBLISHED = False


class Settings(Section):
    """Section ``jsonl``: the files, and how many rows of each split to take (null: all)."""

    train: Text
    dev: Text | None
    test: Text
    dev_share: Annotated[float, Field(ge=SMALL, lt=1)]
    take_train: source.Count
    take_dev: source.Count
    take_test: source.Count


def problems(settings: Settings, seed: int) -> list[tuple[Split, Problem]]:
    """
    Read the problems of all splits, in the order of the hashes of their ids.

    *seed* draws which rows are taken where fewer than all are; the carved-out dev split does not
    depend on it. A file that cannot be read or has zero rows is refused.
    """
    train = _rows(settings.train, "train")
    test = _rows(settings.test, "test")
    if settings.dev is not None:
        dev = _rows(settings.dev, "dev")
    else:
        share = settings.dev_share
        dev, train = source.carve(train, 0, share), source.carve(train, share, 1)
    wanted: list[tuple[Split, list[tuple[str, Problem]], int | None]] = [
        ("train", train, settings.take_train),
        ("dev", dev, settings.take_dev),
        ("test", test, settings.take_test),
    ]
    return [
        (split, problem)
        for split, found, count in wanted
        for _, problem in source.take(found, count, seed)
    ]


def _rows(path: str, split: str) -> list[tuple[str, Problem]]:
    rows = read(Path(path), Problem)
    if not rows:
        raise RefusedError(f"{path}: split {split!r} has 0 rows")
    return [(problem.id, problem) for problem in rows]
