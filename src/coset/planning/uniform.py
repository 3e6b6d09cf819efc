"""The simplest plan: the same method and the same share of bytes for every table."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from functools import cache
from typing import Any

from coset.errors import InfeasibleBudget
from coset.methods import Method
from coset.methods.full import Full
from coset.schema import Table
from coset.sizes import format_size


def uniform(tables: Sequence[Table], cls: type[Method], max_bytes: int, **fixed: Any) -> dict[str, Method]:
    """One size of the method `cls` for each table, together at most `max_bytes`.

    Every table gets the same share of its full size, as nearly as the sizes of the method allow; a table whose
    floor is above that share gets its floor, and bytes that rounding leaves over go to the tables in turn. A table that
    the method cannot make smaller stays full.

    Args:
        tables: what to store.
        cls: the method.
        max_bytes: for all tables together.
        fixed: fields that are the same everywhere, such as `operation="add"`.

    Returns:
        A method by table name; `Full()` where `cls` would take as many bytes or more.

    Raises:
        InfeasibleBudget: the floors alone exceed `max_bytes`.

    Example:
        >>> from coset.methods.low_rank import LowRank
        >>> uniform([Table("user", 6040, 16), Table("movie", 3706, 16)], LowRank, 200_000)
        {'user': LowRank(rank=5), 'movie': LowRank(rank=5)}
    """
    sizes = {table.name: _Sizes(table, cls.offered(table, **fixed)) for table in tables}
    floors = {name: of.bytes(0) for name, of in sizes.items()}
    if (floor := sum(floors.values())) > max_bytes:
        parts = ", ".join(f"{name} {size}" for name, size in floors.items())
        raise InfeasibleBudget(
            f"{cls.name} needs at least {format_size(floor)} ({floor} bytes: {parts}) for these tables, "
            f"but the budget leaves {max_bytes} bytes for them",
            floor,
        )

    def at(share: float) -> dict[str, int]:
        return {
            table.name: sizes[table.name].within(max(floors[table.name], int(share * table.full_bytes)))
            for table in tables
        }

    def total(places: dict[str, int]) -> int:
        return sum(sizes[name].bytes(place) for name, place in places.items())

    low, high = 0.0, 1.0
    if total(places := at(high)) > max_bytes:
        for _ in range(50):
            middle = (low + high) / 2
            low, high = (middle, high) if total(at(middle)) <= max_bytes else (low, middle)
        places = at(low)
        for name, of in sizes.items():
            places[name] = of.within(of.bytes(places[name]) + max_bytes - total(places))
    return {name: of.method(places[name]) for name, of in sizes.items()}


class _Sizes:
    """The sizes of a table, from the smallest to the largest; computes the bytes of each once."""

    def __init__(self, table: Table, sizes: Sequence[Method]) -> None:
        self._table = table
        self._sizes = sizes if sizes[0].bytes(table) < table.full_bytes else [Full()]
        self.bytes = cache(lambda place: self._sizes[place].bytes(table))

    def within(self, max_bytes: int) -> int:
        """The index of the last size that takes at most so many bytes."""
        return bisect_right(range(len(self._sizes)), max_bytes, key=self.bytes) - 1

    def method(self, place: int) -> Method:
        """The method at an index, or full where that takes no more."""
        return self._sizes[place] if self.bytes(place) < self._table.full_bytes else Full()
