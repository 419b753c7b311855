"""Sequences whose items are made when they are asked for: joined, picked, or changed on the way."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Generic, TypeVar, overload

import numpy as np
import numpy.typing as npt

Places = Sequence[int] | npt.NDArray[np.int64]
T = TypeVar("T")
S = TypeVar("S")


class Lazy(Sequence[T]):
    """A sequence whose items are made when they are asked for, by `at`; of a slice a list."""

    @abstractmethod
    def at(self, place: int) -> T:
        """Return the item at *place*, from 0 and below the length."""

    @overload
    def __getitem__(self, place: int) -> T: ...
    @overload
    def __getitem__(self, place: slice) -> list[T]: ...
    def __getitem__(self, place: int | slice) -> T | list[T]:
        """Return the item at *place*, or those of a slice."""
        if isinstance(place, slice):
            return [self.at(n) for n in range(len(self))[place]]
        count = len(self)
        if not -count <= place < count:
            raise IndexError(place)
        return self.at(place + count if place < 0 else place)

    def __iter__(self) -> Iterator[T]:
        """Return the items in their order."""
        return map(self.at, range(len(self)))


class Joined(Lazy[T]):
    """Sequences one after the other, as one."""

    def __init__(self, *parts: Sequence[T]) -> None:
        """Join *parts*, in this order."""
        self._parts = parts

    def __len__(self) -> int:
        """Count the items of all parts."""
        return sum(len(part) for part in self._parts)

    def at(self, place: int) -> T:
        """Return the item at *place* of all, from the part that has it."""
        for part in self._parts:
            if place < len(part):
                return part[place]
            place -= len(part)
        raise IndexError(place)

    def __iter__(self) -> Iterator[T]:
        """Return the items of the first part, then those of the next."""
        return chain(*self._parts)


class Picked(Lazy[T]):
    """Those items of a sequence that stand at *places*, in the order of these."""

    def __init__(self, items: Sequence[T], places: Places) -> None:
        """Pick the *items* at *places*."""
        self._items, self._places = items, places

    def __len__(self) -> int:
        """Count what is picked."""
        return len(self._places)

    def at(self, place: int) -> T:
        """Return what was picked at *place*."""
        return self._items[int(self._places[place])]


class Changed(Lazy[S], Generic[T, S]):
    """A sequence of what *change* makes of each item of another, each time that it is asked for."""

    def __init__(self, items: Sequence[T], change: Callable[[T], S]) -> None:
        """Have *change* make something of each of *items*."""
        self._items, self._change = items, change

    def __len__(self) -> int:
        """Count the items."""
        return len(self._items)

    def at(self, place: int) -> S:
        """Return what becomes of the item at *place*."""
        return self._change(self._items[place])

    def __iter__(self) -> Iterator[S]:
        """Return what becomes of the items, in their order."""
        return map(self._change, self._items)
