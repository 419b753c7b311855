"""
The problems of a data set that a run of Redistill published, where its task is not at hand.

Source and licence: as the card of the data set says. Split rule: its problems are train, or a share
of them dev, by the hash of the id; test is a file of yours, since no data set holds one. Grader: as
the card says, in ``grade.grader``. Reference solutions are not published, so there are none.
"""

from collections.abc import Sequence
from operator import itemgetter
from pathlib import Path
from typing import Annotated

from pydantic import Field

from redistill.console.exceptions import CONFIG, RefusedError
from redistill.datasets import load
from redistill.problems import own, source
from redistill.records.lazy import Changed, Joined
from redistill.records.types import Problem, Split
from redistill.settings.bounds import Text
from redistill.settings.sections import Section

SOURCE = "a published data set"
LICENCE = "that of the data set"
GRADER: str | None = None
PUBLISHED = False
IMPORTED = Path("data/imported")
Rows = Sequence[tuple[str, Problem]]


class Settings(Section):
    """
    Section ``published``: the *folder* in data/imported, and the files of the other splits.

    *dev* null carves *dev_share* of train out as dev; the takes are as in every task.
    """

    folder: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    dev: Text | None
    test: Text
    dev_share: Annotated[float, Field(ge=0, lt=1)]
    take_train: source.Count
    take_dev: source.Count
    take_test: source.Count


def problems(settings: Settings, seed: int) -> Sequence[tuple[Split, Problem]]:
    """
    Read the problems of all splits, in the order of the hashes of their ids.

    Refused are a data set that is not what its manifest says, and a file with zero rows.
    """
    asked = Changed(load.read(IMPORTED / settings.folder), lambda row: row.asks())
    train: Rows = Changed(asked, source.named)
    if settings.dev is not None:
        dev = _rows("dev", settings.dev)
    else:
        share = settings.dev_share
        dev, train = source.carve(train, 0, share), source.carve(train, share, 1)
    wanted: list[tuple[Split, Rows, int | None]] = [
        ("train", train, settings.take_train),
        ("dev", dev, settings.take_dev),
        ("test", _rows("test", settings.test), settings.take_test),
    ]
    return Joined(
        *(
            source.labelled(split, Changed(source.take(found, count, seed), itemgetter(1)))
            for split, found, count in wanted
        )
    )


def _rows(split: str, path: str) -> Rows:
    rows = own.read(source.tracked(f"published.{split}", path)).problems
    if not rows:
        raise RefusedError(f"{path}: 0 rows", code=CONFIG)
    return Changed(rows, source.named)
