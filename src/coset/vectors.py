"""The vectors of a table wherever they lie: in memory, or in a file that is read some rows at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

_NUMBERS_AT_ONCE = 1 << 21
"""Numbers of a piece."""


class Piece(NamedTuple):
    """Some rows: their numbers, distinct and int64, and what is in them, shape `(len(rows), width)`."""

    rows: Tensor
    numbers: Tensor


class Summary(NamedTuple):
    """What one pass over all numbers tells: the largest size of a number in each column, float64, and the first row
    with one that is not finite, if there is any."""

    largest: Tensor
    fault: int | None


class Vectors(ABC):
    """Rows of floats, of which never more than a piece need be in memory.

    Args:
        rows, width: how many there are, and numbers in each.
        dtype: of the numbers.
    """

    def __init__(self, rows: int, width: int, dtype: torch.dtype) -> None:
        self.rows, self.width, self.dtype = rows, width, dtype

    @property
    def shape(self) -> tuple[int, int]:
        """`(rows, width)`."""
        return self.rows, self.width

    @abstractmethod
    def at(self, rows: Tensor) -> Tensor:
        """These rows, on the CPU."""

    @abstractmethod
    def pieces(self, start: int = 0, stop: int | None = None) -> Iterator[Piece]:
        """Each of the rows `start … stop - 1` once, in the order in which they are read fastest."""

    @cached_property
    def summary(self) -> Summary:
        """Found by one pass."""
        largest, fault = torch.zeros(self.width, dtype=torch.float64), self.rows
        for rows, numbers in self.pieces():
            found = numbers.abs().amax(0).double()
            if not bool(found.isfinite().all()):
                wrong = rows[~numbers.isfinite().all(1)]
                fault = min(fault, int(wrong.min()))
            largest = torch.maximum(largest, found)
        return Summary(largest, fault if fault < self.rows else None)

    def whole(self) -> Tensor:
        """All of them, in memory."""
        found = torch.empty(self.shape, dtype=self.dtype)
        for rows, numbers in self.pieces():
            found[rows] = numbers
        return found

    def part(self, start: int, stop: int) -> Vectors:
        """The rows `start … stop - 1`, numbered from 0."""
        return self if (start, stop) == (0, self.rows) else _Part(self, start, stop)

    def ordered(self, order: Tensor) -> Vectors:
        """The same rows in another order: row r is row `order[r]` of these."""
        return _Ordered(self, order)

    def times(self, matrix: Tensor, centre: Tensor) -> Vectors:
        """`(rows - centre) @ matrix`, computed in double precision, in the type of these."""
        return _Times(self, matrix, centre)

    @property
    def at_once(self) -> int:
        """Rows of a piece."""
        return max(1, _NUMBERS_AT_ONCE // self.width)


class InMemory(Vectors):
    """Those of a tensor of shape `(rows, width)`, on any device."""

    def __init__(self, tensor: Tensor) -> None:
        super().__init__(len(tensor), tensor.shape[1], tensor.dtype)
        self._tensor = tensor.detach()

    def at(self, rows: Tensor) -> Tensor:
        """Indexed."""
        return self._tensor[rows.to(self._tensor.device)].cpu()

    def pieces(self, start: int = 0, stop: int | None = None) -> Iterator[Piece]:
        """From the first to the last."""
        stop = self.rows if stop is None else stop
        for at in range(start, stop, self.at_once):
            end = min(at + self.at_once, stop)
            yield Piece(torch.arange(at, end), self._tensor[at:end].cpu())

    def whole(self) -> Tensor:
        """The tensor."""
        return self._tensor

    def ordered(self, order: Tensor) -> Vectors:
        """A copy in that order."""
        return InMemory(self._tensor.cpu()[order])


class _Part(Vectors):
    def __init__(self, of: Vectors, start: int, stop: int) -> None:
        super().__init__(stop - start, of.width, of.dtype)
        self._of, self._start = of, start

    def at(self, rows: Tensor) -> Tensor:
        return self._of.at(rows + self._start)

    def pieces(self, start: int = 0, stop: int | None = None) -> Iterator[Piece]:
        end = self.rows if stop is None else stop
        for rows, numbers in self._of.pieces(self._start + start, self._start + end):
            yield Piece(rows - self._start, numbers)


class _Ordered(Vectors):
    """Read in the order of the rows that it is made of."""

    def __init__(self, of: Vectors, order: Tensor) -> None:
        super().__init__(*of.shape, of.dtype)
        self._of, self._order = of, order
        self._place = torch.empty_like(order)
        self._place[order] = torch.arange(len(order))

    def at(self, rows: Tensor) -> Tensor:
        return self._of.at(self._order[rows])

    def pieces(self, start: int = 0, stop: int | None = None) -> Iterator[Piece]:
        end = self.rows if stop is None else stop
        for rows, numbers in self._of.pieces():
            place = self._place[rows]
            if (start, end) != (0, self.rows):
                inside = (place >= start) & (place < end)
                place, numbers = place[inside], numbers[inside]
            if len(place):
                yield Piece(place, numbers)

    @cached_property
    def summary(self) -> Summary:
        found = self._of.summary
        return Summary(found.largest, None if found.fault is None else int(self._place[found.fault]))


class _Times(Vectors):
    def __init__(self, of: Vectors, matrix: Tensor, centre: Tensor) -> None:
        super().__init__(of.rows, matrix.shape[1], of.dtype)
        self._of, self._matrix, self._centre = of, matrix.double(), centre.double()

    def at(self, rows: Tensor) -> Tensor:
        return self._product(self._of.at(rows))

    def pieces(self, start: int = 0, stop: int | None = None) -> Iterator[Piece]:
        for rows, numbers in self._of.pieces(start, stop):
            yield Piece(rows, self._product(numbers))

    def _product(self, numbers: Tensor) -> Tensor:
        return ((numbers.double() - self._centre) @ self._matrix).to(self.dtype)


def vectors_of(given: Tensor | Vectors) -> Vectors:
    """A tensor as vectors; vectors as they are."""
    return given if isinstance(given, Vectors) else InMemory(given)
