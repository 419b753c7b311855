"""
Your own problems from JSONL files in the format of `Problem`, as GSM8K converts to.

Source and licence: yours. Split rule: one file a split; without a dev file, a share of train is
carved out by the hash of the id, the same rows whatever the order of the file.
"""

from pathlib import Path

from redistill.params import Section
from redistill.records import Problem, Split, digest, read
from redistill.refusals import CONFIG, RefusedError


class Settings(Section):
    """Section ``jsonl``: the files, and how many rows of each split to take (null: all)."""

    train: str
    dev: str | None
    test: str
    dev_share: float
    take_train: int | None
    take_dev: int | None
    take_test: int | None


def problems(settings: Settings, seed: int) -> list[tuple[Split, Problem]]:
    """
    The problems of all splits, in the order of the hashes of their ids.

    *seed* draws which rows are taken where fewer than all are; the carved-out dev split does not
    depend on it. A file that cannot be read or has zero rows is refused.
    """
    train = _rows(settings.train, "train")
    test = _rows(settings.test, "test")
    if settings.dev is not None:
        dev = _rows(settings.dev, "dev")
    else:
        if not 0 < settings.dev_share < 1:
            raise RefusedError("jsonl.dev_share: expected a share between 0 and 1", code=CONFIG)
        edge = int(settings.dev_share * 16**8)
        dev = [p for p in train if int(digest("dev", p.id)[:8], 16) < edge]
        train = [p for p in train if int(digest("dev", p.id)[:8], 16) >= edge]
    wanted: list[tuple[Split, list[Problem], int | None]] = [
        ("train", train, settings.take_train),
        ("dev", dev, settings.take_dev),
        ("test", test, settings.take_test),
    ]
    rows: list[tuple[Split, Problem]] = []
    for split, found, take in wanted:
        found.sort(key=lambda problem: digest(str(seed), problem.id))
        rows += [(split, problem) for problem in found[:take]]
    return rows


def _rows(path: str, split: str) -> list[Problem]:
    rows = read(Path(path), Problem)
    if not rows:
        raise RefusedError(f"{path}: split {split!r} has 0 rows")
    return rows
