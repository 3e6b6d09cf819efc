"""Sizes of methods: sequences of them by bytes, and the largest within a budget."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from math import prod
from typing import Protocol, TypeVar, overload

from coset import settings
from coset.errors import InfeasibleBudget
from coset.schema import Table


class Sized(Protocol):
    """A method, as functions of sizes see it."""

    @property
    def name(self) -> str:
        """Its registered name."""

    def bytes(self, table: Table) -> int:
        """Bytes of all that is stored for a table."""

    def vector_shape(self, table: Table) -> tuple[int, ...]:
        """Shape of what one id gives."""


M = TypeVar("M", bound=Sized)


def vector_bytes(method: Sized, table: Table) -> int:
    """Bytes of what one id of `table` gives."""
    return prod(method.vector_shape(table)) * table.dtype.itemsize


def largest_within(sizes: Sequence[M], table: Table, max_bytes: int) -> M:
    """The last of `sizes`, whose bytes never fall, that takes at most `max_bytes`; else `InfeasibleBudget`."""
    settings.number(f"table {table.name!r}: max_bytes", max_bytes)
    smallest = sizes[0]
    if (floor := smallest.bytes(table)) > max_bytes:
        raise InfeasibleBudget(
            f"table {table.name!r}: {smallest.name} needs at least {floor} bytes, the budget is {max_bytes}", floor
        )
    return sizes[bisect_right(sizes, max_bytes, key=lambda method: method.bytes(table)) - 1]


def rows_at(table: Table, collisions: int) -> int:
    """Rows of the largest component at so many collisions: ⌈n / collisions⌉."""
    return -(-table.num_embeddings // settings.whole(f"table {table.name!r}: collisions", collisions, 1))


def thinned(sizes: Sequence[M], count: int) -> list[M]:
    """At most `count` of `sizes`, the first and the last among them, at places in equal ratios.

    Example:
        >>> thinned(range(1, 1001), 4)
        [1, 10, 100, 1000]
    """
    return [sizes[place - 1] for place in spread(1, len(sizes), count)]


def rising(candidates: Iterable[M], table: Table) -> list[M]:
    """`candidates` as `Method.sizes` wants them: from the one of fewest bytes on, those that take more than all before
    and no more than the full table."""
    counted = [(method.bytes(table), method) for method in candidates]
    least = min(range(len(counted)), key=lambda at: counted[at][0])
    kept = [counted[least]]
    for size, method in counted[least + 1 :]:
        if kept[-1][0] < size <= table.full_bytes:
            kept.append((size, method))
    return [method for _, method in kept]


def spread(least: int, most: int, count: int = 512) -> list[int]:
    """Whole numbers from `least` to `most`, all of them when they are few, else `count` at equal ratios.

    Example:
        >>> spread(3, 6), spread(1, 1000, 4)
        ([3, 4, 5, 6], [1, 10, 100, 1000])
    """
    if most - least < count:
        return list(range(least, most + 1))
    ratio = (most / least) ** (1 / (count - 1))
    return sorted({least, most, *(round(least * ratio**step) for step in range(count - 1))})


class Sizes(Sequence[M]):
    """A lazy sequence `make(integer)` over a range of integers: methods are made when asked for."""

    def __init__(self, integers: range, make: Callable[[int], M]) -> None:
        self._integers = integers
        self._make = make

    def __len__(self) -> int:
        return len(self._integers)

    @overload
    def __getitem__(self, at: int) -> M: ...
    @overload
    def __getitem__(self, at: slice) -> Sizes[M]: ...
    def __getitem__(self, at: int | slice) -> M | Sizes[M]:
        if isinstance(at, slice):
            return Sizes(self._integers[at], self._make)
        return self._make(self._integers[at])
