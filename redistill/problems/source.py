"""Published data sets: their rows from the hub or a folder, carved into splits by their ids."""

import os
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import ValidationError

from redistill.console.exceptions import CONFIG, TRY_AGAIN, RefusedError
from redistill.problems import own
from redistill.problems.choices import LETTERS
from redistill.records import spool
from redistill.records.fingerprint import digest
from redistill.records.lazy import Changed, Joined, Picked
from redistill.records.types import Problem, Split
from redistill.settings.bounds import CountFromZero, Share, Text
from redistill.settings.sections import Section

T = TypeVar("T")
FILES = ("train", "dev", "test")
INPUTS = (Path("data/external"), Path("data/imported"))  # what prepare depends on
DIGITS = 8  # of the hash that places an id, in base 16
Count = CountFromZero | None


class Settings(Section):
    """
    The section of a task: where its rows come from, and how many of each split to take (null: all).

    *folder* holds JSONL files of problems, as `own.read` reads them; null is the hub. *dev_share*
    of train is carved out as dev where the source has no dev split.
    """

    folder: Text | None
    dev_share: Share
    take_train: Count
    take_dev: Count
    take_test: Count


class Shares(Settings):
    """As `Settings` for a source that is one test: shares of it may be train and dev instead."""

    train_share: Share


@dataclass(frozen=True)
class Hub:
    """A split of a data set on the Hugging Face hub, at a commit that cannot move."""

    dataset: str
    config: str | None
    split: str
    revision: str


@dataclass(frozen=True)
class Part:
    """One file of a source: its name in a folder, the split it is, and where the hub has it."""

    file: str
    split: Split
    hub: tuple[Hub, ...] = ()


@dataclass(frozen=True)
class Rejected:
    """A row that is no problem of the task, and why."""

    reason: str


Row = Mapping[str, Any]
Convert = Callable[[str, Row], Problem | Rejected]
Rows = Sequence[tuple[Split, Problem | Rejected]]
Found = Sequence[tuple[str, Problem | tuple[Hub, Row]]]


def _none(identity: str, row: Row) -> Rejected:
    return Rejected("the task converts no rows of the hub")


def problems(
    task: str, parts: Sequence[Part], settings: Settings, seed: int, convert: Convert = _none
) -> Rows:
    """
    Read the problems of all splits of *task*, in the order of the hashes of their ids.

    *seed* draws which rows are taken where fewer than all are; what is carved out does not depend
    on it. *convert* makes a problem of an id and a row of the hub, or says why it is none.
    """
    splits: dict[Split, Found] = {"train": [], "dev": [], "test": []}
    for part, found in _found(task, parts, settings.folder):
        splits[part.split] = Joined(splits[part.split], found)
    _carve(task, splits, settings)
    takes = (settings.take_train, settings.take_dev, settings.take_test)
    return Joined(
        *(
            labelled(split, _settled(take(found, count, seed), convert))
            for (split, found), count in zip(splits.items(), takes, strict=True)
        )
    )


def labelled(split: Split, found: Sequence[T]) -> Sequence[tuple[Split, T]]:
    """Return what was *found* for *split*, each with the split beside it."""
    return Changed(found, lambda one: (split, one))


def carve(rows: Sequence[tuple[str, T]], start: float, end: float) -> Sequence[tuple[str, T]]:
    """Choose the *rows* whose ids lie from *start* to below *end* of the range of their hash."""
    low, high = (int(edge * 16**DIGITS) for edge in (start, end))
    hashes = (int(digest("dev", identity)[:DIGITS], 16) for identity, _ in rows)
    return Picked(rows, array("q", (n for n, own in enumerate(hashes) if low <= own < high)))


def take(rows: Sequence[tuple[str, T]], count: int | None, seed: int) -> Sequence[tuple[str, T]]:
    """Draw *count* of *rows* by *seed* (None: all), in the order of the hashes of seed and id."""
    hashes = (int(digest(str(seed), identity), 16) for identity, _ in rows)
    order = np.argsort(np.fromiter(hashes, dtype=np.uint64), kind="stable")
    return Picked(rows, order[:count])


def lettered(
    identity: str,
    question: str,
    texts: Sequence[str],
    gold: int | None,
    solution: str | None = None,
) -> Problem | Rejected:
    """
    Make the problem whose choices are *texts* as A, B, C and so on.

    The choice at place *gold* is right.
    """
    if gold is None or not 0 <= gold < len(texts) <= len(LETTERS):
        return Rejected("gold answer is none of the choices")
    choices = dict(zip(LETTERS, (text.strip() for text in texts), strict=False))
    return Problem(
        id=identity,
        question=question.strip(),
        answer=LETTERS[gold],
        choices=choices,
        solution=solution,
    )


def _found(task: str, parts: Sequence[Part], folder: str | None) -> list[tuple[Part, Found]]:
    if folder is not None:
        return _in_folder(task, parts, tracked(f"{task}.folder", folder))
    if not any(part.hub for part in parts):
        raise RefusedError(
            f"{task}.folder: no home of {task} on the hub is known, so null does not do; name a "
            "folder of JSONL files, see docs/tasks.md",
            code=CONFIG,
        )
    found: list[tuple[Part, Found]] = []
    for part in parts:
        homes = [Changed(_on_hub(task, home), partial(_at, home)) for home in part.hub]
        rows = Joined(*homes)
        named = partial(_numbered, f"{task}-{part.file}", rows)
        found.append((part, Changed(range(len(rows)), named)))
    return found


def _in_folder(task: str, parts: Sequence[Part], folder: Path) -> list[tuple[Part, Found]]:
    """What the files of *folder* hold; one that the task would not read is refused, not ignored."""
    known = [part.file for part in parts]
    there = [name for name in FILES if (folder / f"{name}.jsonl").is_file()]
    for name in there:
        if name not in known:
            raise RefusedError(
                f"{folder / name}.jsonl: the task {task} reads {', '.join(known)} only; take the "
                "file away, or use the task jsonl"
            )
    if not there:
        names = " or ".join(f"{name}.jsonl" for name in known)
        raise RefusedError(f"{task}.folder: there is no {names} in {folder}", code=CONFIG)
    found: list[tuple[Part, Found]] = []
    for part in parts:
        if part.file in there:
            rows = own.read(folder / f"{part.file}.jsonl").problems
            found.append((part, Changed(rows, named)))
    return found


def _at(home: Hub, row: Row) -> tuple[Hub, Row]:
    return home, row


def _numbered(
    name: str, rows: Sequence[tuple[Hub, Row]], number: int
) -> tuple[str, tuple[Hub, Row]]:
    return f"{name}-{number}", rows[number]


def named(problem: Problem) -> tuple[str, Problem]:
    """Return *problem* after its id."""
    return problem.id, problem


def _settled(found: Found, convert: Convert) -> Sequence[Problem | Rejected]:
    """The problems of what was *found*; rows of the hub are converted once, the rejected last."""
    rejected: list[Rejected] = []

    def converted() -> Iterator[Problem]:
        for identity, row in found:
            made = row if isinstance(row, Problem) else _made(identity, *row, convert)
            if isinstance(made, Rejected):
                rejected.append(made)
            else:
                yield made

    return Joined(spool.kept(converted(), Problem), rejected)


def tracked(place: str, path: str) -> Path:
    """
    Return *path*, which stands at *place* of the settings, where `prepare` depends on it.

    Raises RefusedError (78) for one elsewhere: a change of it would rerun nothing.
    """
    whole = os.path.abspath(path)  # by its name: DVC looks through a link
    if any(os.path.commonpath([whole, os.path.abspath(base)]) == os.path.abspath(base)
           for base in INPUTS):  # fmt: skip
        return Path(path)
    raise RefusedError(
        f"{place}: {path} lies outside {INPUTS[0]}, which prepare depends on: a change of it would "
        f"rerun nothing; copy it there (mkdir -p {INPUTS[0]}, cp -r {path} {INPUTS[0]}/) and set "
        f"{place}: {INPUTS[0] / Path(path).name}",
        code=CONFIG,
    )


def _on_hub(task: str, home: Hub) -> Sequence[Row]:
    from datasets import load_dataset

    try:
        rows: Sequence[Row] = load_dataset(
            home.dataset, home.config, split=home.split, revision=home.revision
        )
    except (OSError, ValueError) as problem:
        told = " ".join(str(problem).split())
        raise RefusedError(
            f"{task}: {home.dataset} cannot be loaded from the hub: {told}; "
            f"try again, or set {task}.folder to a folder of JSONL files, see docs/tasks.md",
            code=TRY_AGAIN,
        ) from problem
    return rows


def _made(identity: str, home: Hub, row: Row, convert: Convert) -> Problem | Rejected:
    try:
        made = convert(identity, row)
    except ValidationError:
        return Rejected("no question or no answer")
    except (KeyError, TypeError, AttributeError, IndexError) as problem:
        raise RefusedError(
            f"{home.dataset}: row {identity} is not of the shape that the task expects: "
            f"{type(problem).__name__}: {problem}"
        ) from problem
    if isinstance(made, Rejected):
        return made
    return made.model_copy(update={"source": f"{home.dataset} at {home.revision}"})


def _carve(task: str, splits: dict[Split, Found], settings: Settings) -> None:
    """Move shares of a split to those that the source has not, by the hashes of the ids."""
    dev = settings.dev_share
    if isinstance(settings, Shares):
        both = round(dev + settings.train_share, 9)
        if both > 1:
            raise RefusedError(
                f"{task}: dev_share and train_share are {both:g} together, more than the whole",
                code=CONFIG,
            )
        whole = splits["test"]
        splits["dev"], splits["train"] = carve(whole, 0, dev), carve(whole, dev, both)
        splits["test"] = carve(whole, both, 1)
    elif not splits["dev"]:
        whole = splits["train"]
        splits["dev"], splits["train"] = carve(whole, 0, dev), carve(whole, dev, 1)
