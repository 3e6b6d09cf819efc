"""The multiple-choice knapsack, against trying everything."""

from __future__ import annotations

from itertools import product

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from coset.planning.knapsack import Group, solve

candidate = st.tuples(st.integers(0, 40), st.integers(0, 30))
groups = st.lists(st.lists(candidate, min_size=1, max_size=5), min_size=1, max_size=4)


def as_groups(given) -> list[Group]:
    return [Group(np.array([b for b, _ in one]), np.array([loss / 8 for _, loss in one])) for one in given]


def cost(groups: list[Group], picks) -> tuple[int, float]:
    return (
        sum(int(group.bytes[pick]) for group, pick in zip(groups, picks, strict=True)),
        sum(float(group.losses[pick]) for group, pick in zip(groups, picks, strict=True)),
    )


@settings(max_examples=200, deadline=None)
@given(groups, st.integers(0, 120))
def test_exact_where_bytes_are_as_coarse_as_the_grid(given, budget: int) -> None:
    offered = as_groups(given)
    every = [cost(offered, picks) for picks in product(*(range(len(one)) for one in given))]
    feasible = [loss for size, loss in every if size <= budget]
    picks = solve(offered, budget)
    if not feasible:
        assert picks is None
    else:
        size, loss = cost(offered, picks)
        assert size <= budget
        assert abs(loss - min(feasible)) < 1e-12


@settings(max_examples=100, deadline=None)
@given(groups, st.integers(0, 120), st.integers(1, 20))
def test_never_over_the_budget_on_a_coarse_grid(given, budget: int, grid: int) -> None:
    offered = as_groups(given)
    floor = sum(int(one.bytes.min()) for one in offered)
    picks = solve(offered, budget, grid)
    assert (picks is None) == (floor > budget)
    if picks is not None:
        size, _ = cost(offered, picks)
        assert size <= budget
        for number, one in enumerate(offered):  # and no single exchange would help
            rest = budget - size + int(one.bytes[picks[number]])
            assert one.losses[one.bytes <= rest].min() >= one.losses[picks[number]] - 1e-12


def test_a_choice_may_take_the_budget_to_the_last_byte() -> None:
    """No exchange of a single candidate leads to it from the best choice that leaves a byte."""
    offered = as_groups([[(0, 8), (10, 0)], [(0, 8), (5, 4)]])
    assert solve(offered, 10) == [1, 0]
    assert solve(offered, 9) == [0, 1]
