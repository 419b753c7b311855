"""What the rows at work have computed so far: keys and values in buffers that stay in place."""

from typing import Any

import torch
from transformers import Cache, DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

GROWTH = 32  # columns that a window is widened by once it is full


def cache(config: Any, most: int, device: Any) -> "Window | Whole":
    """Make the cache for at most *most* rows of a model with *config*."""
    kinds = [type(layer) for layer in DynamicCache(config=config).layers]
    if all(kind in (DynamicLayer, DynamicSlidingWindowLayer) for kind in kinds):
        return Window(len(kinds), most, device)
    return Whole(config, device)


class Window:
    """
    Keys and values of rows that all end at one column, so that each step writes one column.

    A step sees the buffers as they are, with up to GROWTH columns that are yet to be written and
    masked until then: memory is read more than twice as fast without a gap between the rows.
    Columns are counted from the start of all work; ``origin`` is the first one in the buffers,
    ``lowest`` the first in which a row at work has a token, and ``end`` the next to be written.
    ``mask`` (rows x columns) says where a row has tokens.
    """

    joins = True  # whether rows can join others that are at work

    def __init__(self, layers: int, most: int, device: Any) -> None:
        self.layers = Cache(layers=[_Layer(self) for _ in range(layers)])
        self.most = most
        self.origin = self.lowest = self.end = self.columns = 0
        self.mask = torch.zeros(most, 0, dtype=torch.long, device=device)
        self.rows, self.new, self.past = slice(0, 0), slice(0, 0), 0
        self.repeat: torch.Tensor | None = None

    def opens(self, row: int, mask: torch.Tensor, repeat: torch.Tensor | None) -> None:
        """
        Make ready for reading prompts with *mask* into the rows from *row* on.

        They may not be longer than any row at work. *repeat* says which of the prompts read goes
        into which row, where several rows share one.
        """
        count, width = mask.shape
        if row == 0:
            self.origin = self.lowest = self.end
            self.end += width
            self.columns = 0
            self._fit(0, 0)
        self.rows, self.past, self.repeat = slice(row, row + count), 0, repeat
        self.new = slice(self.end - width - self.origin, self.end - self.origin)
        self.mask[self.rows] = 0
        self.mask[self.rows, self.new] = mask
        for buffer in self._buffers() if row else ():  # masked, but a NaN would show
            buffer[self.rows, :, : self.new.start] = 0

    def advances(self, rows: int) -> torch.Tensor:
        """Make ready for one more token in each of the first *rows*, and return their mask."""
        self._fit(self.end - self.lowest, rows)
        self.end += 1
        self.rows, self.past, self.repeat = slice(0, rows), self.end - 1 - self.origin, None
        self.new = slice(self.end - 1 - self.origin, self.end - self.origin)
        self.mask[self.rows, self.new] = 1
        return self.mask[self.rows]

    def moves(self, order: torch.Tensor, left: int, start: int) -> None:
        """
        Keep the rows in *order*, whose first *left* mostly stay; none starts before *start*.

        Only rows that are not where they were are copied.
        """
        to = (order != torch.arange(left, device=order.device)).nonzero()[:, 0]
        if len(to):
            used = slice(self.lowest - self.origin, self.end - self.origin)
            for buffer in self._buffers():
                buffer[to, :, used] = buffer[order[to], :, used]
            self.mask[to] = self.mask[order[to]]
        self.lowest = start

    def _buffers(self) -> list[torch.Tensor]:
        return [b for layer in self.layers.layers for b in (layer.keys, layer.values)]

    def _fit(self, used: int, rows: int) -> None:
        """Make room for a column more: the *used* ones go to the front of wider buffers."""
        if self.end - self.origin < self.columns:
            return
        self.columns = self.end - self.lowest + GROWTH
        kept = slice(self.lowest - self.origin, self.lowest - self.origin + used)
        self.origin = self.lowest
        old, self.mask = self.mask, self.mask.new_zeros(self.most, self.columns)
        self.mask[:rows, :used] = old[:rows, kept]
        for layer in self.layers.layers:
            layer.widen(kept, rows, self.columns)


class _Layer(DynamicLayer):  # type: ignore[misc]  # transformers has no types
    """The keys and the values of one layer: rows x heads x columns x width of a head."""

    keys: Any
    values: Any

    def __init__(self, window: Window) -> None:
        super().__init__()
        self.window = window

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write what is new into the window's columns, and return all that its rows see."""
        window = self.window
        if self.keys is None:
            self.keys = self._buffer(key_states, window.columns).zero_()
            self.values = self._buffer(value_states, window.columns).zero_()
            self.is_initialized = True
        which = slice(None) if window.repeat is None else window.repeat
        self.keys[window.rows, :, window.new] = key_states[which]
        self.values[window.rows, :, window.new] = value_states[which]
        if not window.past:
            return key_states, value_states
        return self.keys[window.rows], self.values[window.rows]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """How many columns the mask has, and where it starts."""
        return self.window.columns if self.window.past else query_length, 0

    def get_seq_length(self) -> int:
        """How many columns there are before those that are being computed."""
        return self.window.past

    def widen(self, kept: slice, rows: int, columns: int) -> None:
        """Take the columns *kept* of the first *rows* over into buffers of *columns*."""
        if self.keys is None:
            return
        for name in ("keys", "values"):
            old = getattr(self, name)
            new = self._buffer(old, columns)
            used = kept.stop - kept.start
            new[:rows, :, :used] = old[:rows, :, kept]
            new[:, :, used:] = 0
            setattr(self, name, new)

    def _buffer(self, like: torch.Tensor, columns: int) -> torch.Tensor:
        return like.new_empty(self.window.most, like.shape[1], columns, like.shape[3])


class Whole:
    """What transformers keeps of a model with layers of other kinds, such as convolutions."""

    joins = False

    def __init__(self, config: Any, device: Any) -> None:
        self.config = config
        self.layers = DynamicCache(config=config)
        self.mask = torch.ones(0, 0, dtype=torch.long, device=device)
        self.end = 0

    def opens(self, row: int, mask: torch.Tensor, repeat: torch.Tensor | None) -> None:
        """Make ready for reading prompts with *mask*, all of them at once."""
        self.layers = DynamicCache(config=self.config)
        self.mask, self.end = mask, mask.shape[1]

    def advances(self, rows: int) -> torch.Tensor:
        """Make ready for one more token in each row, and return their mask."""
        self.mask = torch.cat([self.mask, self.mask.new_ones(rows, 1)], dim=1)
        self.end += 1
        return self.mask

    def moves(self, order: torch.Tensor, left: int, start: int) -> None:
        """Keep the rows in *order*."""
        self.layers.reorder_cache(order)
        self.mask = self.mask[order]
