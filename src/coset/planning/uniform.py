"""The simplest plan: the same method for every table, all compressed alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from coset.errors import InfeasibleBudget
from coset.methods import Method
from coset.methods.base import largest_within
from coset.methods.full import Full
from coset.schema import Table
from coset.sizes import format_size


def uniform(tables: Sequence[Table], cls: type[Method], max_bytes: int, **fixed: Any) -> dict[str, Method]:
    """One size of the method `cls` for each table, together at most `max_bytes`.

    Every table gets the same share of its full size, as nearly as the sizes of the method allow; a table whose
    floor is above that share gets its floor, and what rounding leaves over goes to the tables in turn. What a method
    cannot make smaller stays full.

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
    sizes: dict[str, Sequence[Method]] = {table.name: cls.sizes(table, **fixed) for table in tables}
    sizes |= {table.name: [Full()] for table in tables if sizes[table.name][0].bytes(table) >= table.full_bytes}
    floors = {table.name: sizes[table.name][0].bytes(table) for table in tables}
    if (floor := sum(floors.values())) > max_bytes:
        parts = ", ".join(f"{name} {size}" for name, size in floors.items())
        raise InfeasibleBudget(
            f"{cls.name} needs at least {format_size(floor)} ({floor} bytes: {parts}) for these tables, "
            f"but the budget leaves {max_bytes} bytes for them",
            floor,
        )

    def at(share: float) -> dict[str, Method]:
        return {
            table.name: largest_within(sizes[table.name], table, max(floors[table.name], int(share * table.full_bytes)))
            for table in tables
        }

    def total(plan: dict[str, Method]) -> int:
        return sum(plan[table.name].bytes(table) for table in tables)

    low, high = 0.0, 1.0
    if total(at(high)) <= max_bytes:
        return _smaller(at(high), tables)
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if total(at(middle)) <= max_bytes else (low, middle)
    plan = at(low)
    for table in tables:
        spare = max_bytes - total(plan)
        plan[table.name] = largest_within(sizes[table.name], table, plan[table.name].bytes(table) + spare)
    return _smaller(plan, tables)


def _smaller(plan: dict[str, Method], tables: Sequence[Table]) -> dict[str, Method]:
    """The plan, but with full tables for methods that take as much."""
    return {t.name: plan[t.name] if plan[t.name].bytes(t) < t.full_bytes else Full() for t in tables}
