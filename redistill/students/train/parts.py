"""Steps of about as many tokens each, in parts of at most so many: ``train.batch_tokens``."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from redistill.console import rank
from redistill.students.model import ranks

SPREAD = 0.4  # of a row's length, by which chance moves it in the order that rows are dealt out in


@dataclass(frozen=True)
class Lengths:
    """The *tokens* of each row, and whether rows stand side by side (*packed*) or are padded."""

    tokens: Sequence[int]
    packed: bool

    def of(self, rows: Sequence[int]) -> int:
        """Count what is computed for *rows* at once, with the padding up to the longest."""
        sizes = [self.tokens[row] for row in rows]
        return sum(sizes) if self.packed else len(sizes) * max(sizes)


def dealt(tokens: Sequence[int], batch_size: int) -> list[list[int]]:
    """
    Deal one epoch's rows out to steps of *batch_size* rows; the last has what remains.

    The steps of *batch_size* rows differ in their sums of *tokens* by less than the longest row
    differs from the shortest: rows are dealt in turns, from long ones to short ones, and of a
    turn's rows the longest goes to the step that has the fewest tokens. Which rows meet is drawn
    from torch's generator.
    """
    order = torch.randperm(len(tokens)).tolist()
    count = len(tokens) // batch_size
    whole, rest = order[: count * batch_size], order[count * batch_size :]
    moved = 1 + SPREAD * (torch.rand(len(whole)) - 0.5)
    near = {row: tokens[row] * by for row, by in zip(whole, moved.tolist(), strict=True)}
    whole.sort(key=lambda row: -near[row])
    steps: list[list[int]] = [[] for _ in range(count)]
    sums = [0] * count
    for turn in range(batch_size if count else 0):
        rows = sorted(whole[turn * count : (turn + 1) * count], key=lambda row: -tokens[row])
        emptiest = sorted(range(count), key=lambda step: sums[step])
        for step, row in zip(emptiest, rows, strict=True):
            steps[step].append(row)
            sums[step] += tokens[row]
    drawn = [steps[step] for step in torch.randperm(count).tolist()]
    return [*drawn, rest] if rest else drawn


def cut(rows: Sequence[int], lengths: Lengths, most: int) -> list[list[int]]:
    """
    Cut *rows* into parts for which at most *most* tokens are computed, long rows first.

    A row that is longer than that is a part by itself.
    """
    parts: list[list[int]] = []
    for row in sorted(rows, key=lambda row: -lengths.tokens[row]):
        for part in parts:
            if lengths.of([*part, row]) <= most:
                part.append(row)
                break
        else:
            parts.append([row])
    return parts


class Parts:
    """
    The steps of one process, epoch after epoch: its share of each step's rows, in parts.

    The rows of a step are the same however many processes share them. Each process has as many
    parts as the others: where one needs fewer, the row *filler*, of which nothing is taught, is a
    part.
    """

    def __init__(self, lengths: Lengths, batch_size: int, most: int) -> None:
        self.lengths, self.batch_size, self.most = lengths, batch_size, most
        self.filler = len(lengths.tokens)

    def __len__(self) -> int:
        return -(-self.filler // self.batch_size)

    def __iter__(self) -> Iterator[list[list[int]]]:
        for rows in ranks.agreed(dealt(self.lengths.tokens, self.batch_size)):
            yield self._own(rows)

    def _own(self, rows: Sequence[int]) -> list[list[int]]:
        """The parts of this process of a step of *rows*: long and short rows are shared equally."""
        ordered = sorted(rows, key=lambda row: -self.lengths.tokens[row])
        shares = [ordered[number :: rank.count()] for number in range(rank.count())]
        parts = [cut(share, self.lengths, self.most) for share in shares]
        own, most = parts[rank.number()], max(map(len, parts))
        return [*own, *[[self.filler]] * (most - len(own))]


class Parted:
    """Rows that are asked for a part at a time."""

    def __init__(self, rows: Sequence[dict[str, Any]]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, part: Sequence[int]) -> list[dict[str, Any]]:
        return [self.rows[row] for row in part]


def told(tokens: Sequence[int], batch_size: int, totals: Sequence[int]) -> dict[str, int]:
    """
    Say what steps of *batch_size* of the rows with *tokens* came to.

    *totals* are the tokens up to the end of each step. The fewest and the most tokens are those of
    whole steps; the last of an epoch may have fewer rows.
    """
    count = len(tokens)
    epoch = -(-count // batch_size)
    epochs, more = divmod(len(totals), epoch)
    each = [after - before for before, after in zip([0, *totals], totals, strict=False)]
    whole = [
        size for step, size in enumerate(each) if count % batch_size == 0 or (step + 1) % epoch
    ]
    return {
        "lessons_seen": epochs * count + min(more * batch_size, count),
        "step_tokens_least": min(whole or each),
        "step_tokens_most": max(whole or each),
    }
