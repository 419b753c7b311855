"""
Procedural multi-step arithmetic word problems in the format of GSM8K.

Source: made here, from ``redistill/problems/stories.py``. Split rule: no two problems of any splits
share their question.
"""

import hashlib
import random
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Annotated

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from redistill.console.exceptions import CONFIG, RefusedError
from redistill.problems import stories
from redistill.problems.source import labelled
from redistill.records import spool
from redistill.records.lazy import Joined, Picked
from redistill.records.types import Problem, Split
from redistill.settings.bounds import SMALL, WIDE, Width
from redistill.settings.sections import Section

SOURCE = "redistill/problems/stories.py"
LICENCE = "Apache-2.0"
GRADER = "numeric"
PUBLISHED = False

Weight = Annotated[float, Field(ge=0, le=WIDE)]  # of draws: their sum counts, not 1


class Size(Section):
    """A share of the problems whose numbers are at most *up_to*."""

    up_to: Annotated[int, Field(ge=3, le=WIDE)]
    share: Weight


class Settings(Section):
    """Section ``wordproblems``: rows a split, and how hard the problems are."""

    train: Width
    dev: Width
    test: Width
    steps: Annotated[list[Weight], Field(min_length=1, max_length=20)]
    sizes: Annotated[list[Size], Field(min_length=1)]

    @model_validator(mode="after")
    def _drawable(self) -> "Settings":
        """Refuse shares that are all zero, from which nothing can be drawn."""
        for name, shares in (("steps", self.steps), ("sizes", [s.share for s in self.sizes])):
            if sum(shares) < SMALL:
                raise PydanticCustomError("shares", "{name}: a share above 0", {"name": name})
        return self


SENTENCES = {
    "+": ["Together that makes", "After that there are", "Adding them gives"],
    "-": ["That leaves", "After that there are", "What remains is"],
    "*": ["That makes", "Multiplied, that is", "Now there are"],
    "/": ["Each share is", "Divided evenly that is", "One part is"],
}
MAX_TRIES = 50
DIGEST = 16  # bytes by which a question is known


def problems(settings: Settings, seed: int) -> Sequence[tuple[Split, Problem]]:
    """
    Draw the problems of all splits with *seed*: sizes and steps by their shares.

    They are in a file without a name, or in memory while they are few. Raises RefusedError where
    the settings allow too few different questions.
    """
    wanted: list[tuple[Split, int]] = [
        ("train", settings.train), ("dev", settings.dev), ("test", settings.test)
    ]  # fmt: skip
    drawn = spool.kept(_drawn(settings, seed, wanted), Problem)
    ends = [*accumulate((count for _, count in wanted), initial=0)]
    return Joined(
        *(
            labelled(split, Picked(drawn, range(*places)))
            for (split, _), places in zip(wanted, pairwise(ends), strict=True)
        )
    )


def _drawn(settings: Settings, seed: int, wanted: Sequence[tuple[Split, int]]) -> Iterator[Problem]:
    rng = random.Random(f"wordproblems {seed}")  # noqa: S311 - data, not a secret
    sizes = [stories.Size(size.up_to, size.share) for size in settings.sizes]
    seen: set[bytes] = set()
    for split, count in wanted:
        for number in range(count):
            story = _new(rng, settings.steps, sizes, seen)
            yield _problem(f"wp-{split}-{number:05d}", story, rng)


def _new(
    rng: random.Random, steps: list[float], sizes: list[stories.Size], seen: set[bytes]
) -> stories.Story:
    """Tell a story whose question has no digest that was *seen*, and note its own there."""
    for _ in range(MAX_TRIES):
        count = rng.choices(range(1, len(steps) + 1), weights=steps)[0]
        story = stories.tell(rng, steps=count, up_to=stories.draw_size(rng, sizes))
        told = hashlib.sha256(story.question.encode()).digest()[:DIGEST]
        if told not in seen:
            seen.add(told)
            return story
    raise RefusedError(
        f"wordproblems: no new question in {MAX_TRIES} tries after {len(seen)}; "
        "ask for fewer rows, larger numbers or more steps",
        code=CONFIG,
    )


def _problem(identity: str, story: stories.Story, rng: random.Random) -> Problem:
    lines = []
    for left, operator, right, result in story.operations:
        opening = rng.choice(SENTENCES[operator])
        expression = f"{left}{operator}{right}"
        marked = f"<<{expression}={result}>>"
        lines.append(f"{opening} {expression} = {marked}{result} {story.things}.")
    return Problem(
        id=identity,
        question=story.question,
        answer=str(story.answer),
        solution="\n".join([*lines, f"#### {story.answer}"]),
        source="redistill/tasks/wordproblems.py",
    )
