"""One method for all tables under one byte budget."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coset.errors import InfeasibleBudget
from coset.methods import Method, method_class, registered
from coset.planning.uniform import uniform
from coset.schema import Table
from coset.testing.cases import attributed

SHRINKING = sorted(name for name, cls in registered().items() if not cls.row_per_id)
PAIRS = {
    "movielens": (attributed("user", 6040, 8), attributed("movie", 3706, 8)),
    "uneven": (attributed("user", 50_000, 8), attributed("movie", 3, 8)),
    "tiny": (attributed("user", 2, 2), attributed("movie", 1, 2), attributed("genre", 7, 2)),
}


def spent(tables: tuple[Table, ...], plan: dict[str, Method]) -> int:
    assert set(plan) == {table.name for table in tables}
    return sum(plan[table.name].bytes(table) for table in tables)


@cache
def floor_of(pair: str, name: str) -> int:
    """A table that the method cannot make smaller stays full."""
    return sum(min(table.full_bytes, method_class(name).sizes(table)[0].bytes(table)) for table in PAIRS[pair])


@pytest.mark.parametrize("name", SHRINKING)
@pytest.mark.parametrize("pair", PAIRS)
@settings(max_examples=5, deadline=None)
@given(st.floats(0.0, 1.2))
def test_a_budget_is_never_exceeded(name: str, pair: str, share: float) -> None:
    tables = PAIRS[pair]
    floor, full = floor_of(pair, name), sum(table.full_bytes for table in tables)
    budget = int(share * full)
    if budget < floor:
        with pytest.raises(InfeasibleBudget) as caught:
            uniform(tables, method_class(name), budget)
        assert caught.value.floor == floor
        assert str(floor) in str(caught.value)
        assert str(budget) in str(caught.value)
        assert name in str(caught.value)
    else:
        assert spent(tables, uniform(tables, method_class(name), budget)) <= budget


@pytest.mark.parametrize("name", SHRINKING)
@pytest.mark.parametrize("pair", PAIRS)
def test_the_floor_itself_is_feasible_and_one_byte_less_is_not(name: str, pair: str) -> None:
    tables, cls = PAIRS[pair], method_class(name)
    floor = floor_of(pair, name)
    assert spent(tables, uniform(tables, cls, floor)) == floor
    with pytest.raises(InfeasibleBudget):
        uniform(tables, cls, floor - 1)


@pytest.mark.parametrize("name", SHRINKING)
def test_a_budget_is_used_up_as_far_as_sizes_allow(name: str) -> None:
    """No table alone could be a size larger."""
    tables, cls = PAIRS["uneven"], method_class(name)
    full = sum(table.full_bytes for table in tables)
    for share in (0.3, 0.75):
        budget = max(int(share * full), floor_of("uneven", name))
        plan = uniform(tables, cls, budget)
        rest = budget - spent(tables, plan)
        for table in tables:
            mine = plan[table.name].bytes(table)
            if plan[table.name].row_per_id:
                continue
            assert cls.for_budget(table, mine + rest).bytes(table) == mine


def test_tables_get_like_shares() -> None:
    tables, cls = PAIRS["movielens"], method_class("hashing")
    plan = uniform(tables, cls, 100_000)
    shares = [plan[table.name].bytes(table) / table.full_bytes for table in tables]
    assert shares[0] == pytest.approx(shares[1], rel=0.01)


def test_fixed_fields_are_in_every_table() -> None:
    tables = PAIRS["movielens"]
    plan = uniform(tables, method_class("quotient_remainder"), 100_000, operation="add")
    assert {method.to_json()["operation"] for method in plan.values()} == {"add"}
    assert spent(tables, plan) <= 100_000


def test_the_same_budget_gives_the_same_plan() -> None:
    tables, cls = PAIRS["uneven"], method_class("mixed_dimension")
    assert uniform(tables, cls, 900_000) == uniform(tables, cls, 900_000)
