"""The rows of each step, shared among processes: the same rows in the same order however many."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch.utils.data import DataLoader
from transformers import Trainer
from transformers.trainer_pt_utils import LengthGroupedSampler

from redistill.console import rank
from redistill.console.exceptions import CONFIG, RefusedError
from redistill.students.model import ranks


@dataclass(frozen=True)
class Share:
    """What one process does of a step: *rows* at a time, *accumulate* times."""

    rows: int
    accumulate: int


def share(batch_size: int, accumulate: int) -> Share:
    """
    Divide a step of *batch_size* rows among the processes.

    None takes more rows at a time than one process alone would, which *accumulate* says; with
    several, fewer times are enough. Raises RefusedError where the rows cannot be divided.
    """
    count = rank.count()
    if batch_size % count:
        fit = (number for number in range(1, batch_size + 1) if batch_size % number == 0)
        nearest = min(fit, key=lambda number: abs(number - count))
        raise RefusedError(
            f"REDISTILL_LAUNCH: {count} processes cannot share the {batch_size} rows of a step "
            f"(batch_size) equally; start {nearest}",
            code=CONFIG,
        )
    own, most = batch_size // count, batch_size // accumulate
    times = next(n for n in range(1, own + 1) if own % n == 0 and own // n <= most)
    return Share(own // times, times)


class Shares:
    """
    The batches of one process, epoch after epoch: its share of each step's rows, in parts.

    Every process has as many of them. The last step of an epoch may have fewer rows than there are
    processes: one without any gets the row *filler*, of which nothing is taught.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, own: Share) -> None:
        self.order = LengthGroupedSampler(batch_size, lengths=list(lengths))
        self.batch_size, self.own, self.filler = batch_size, own, len(lengths)

    def __len__(self) -> int:
        whole, rest = divmod(self.filler, self.batch_size)
        return whole * self.own.accumulate + self._parts(rest)

    def __iter__(self) -> Iterator[list[int]]:
        order = ranks.agreed(list(self.order))  # drawn by all, so that chance goes on alike
        for start in range(0, len(order), self.batch_size):
            step = order[start : start + self.batch_size]
            rows = step[rank.number() :: rank.count()]
            for part in range(self._parts(len(step))):
                chosen = rows[part * self.own.rows : (part + 1) * self.own.rows]
                yield chosen or [self.filler]

    def _parts(self, rows: int) -> int:
        """How many parts the largest share of a step of *rows* rows has."""
        return math.ceil(math.ceil(rows / rank.count()) / self.own.rows)


class Sharing(Trainer):  # type: ignore[misc]  # transformers is not typed
    """Trains on this process's share of the rows where there are several processes."""

    shares: Shares | None = None

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Return the batches of this process, which accelerate would deal out otherwise."""
        if self.shares is None:
            one: DataLoader[Any] = super().get_train_dataloader()
            return one
        return DataLoader(
            self.train_dataset, batch_sampler=self.shares, collate_fn=self.data_collator
        )
