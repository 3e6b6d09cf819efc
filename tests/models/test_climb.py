"""The search by doubling and halving."""

from __future__ import annotations

from math import inf, log

import pytest

from coset.models.climb import climbed


@pytest.mark.parametrize("best", [0.25, 1.0, 8.0, 64.0, 2.0**20])
def test_it_ends_at_the_best_and_asks_once(best: float) -> None:
    asked: list[float] = []

    def error(of: float) -> float:
        asked.append(of)
        return 1 + abs(log(of / best))

    assert climbed(error, 8.0) == min(best, 2.0**16)
    assert len(asked) == len(set(asked))


def test_below_a_plateau_it_looks_downwards() -> None:
    assert climbed(lambda of: min(3.0 + 0.01 * of, 3.07), 8.0) == 2.0**-10


def test_of_equal_errors_the_larger_where_that_is_wanted() -> None:
    assert climbed(lambda of: 0.9 if of < 8 else 0.8, 8.0, up=-1e-3, most=64.0) == 64
    assert climbed(lambda of: 0.8, 8.0) == 8


def test_a_change_must_gain() -> None:
    assert climbed(lambda of: 1 - 0.001 * min(of, 16), 8.0, gain=0.005) == 16
    assert climbed(lambda of: 1 - 0.001 * of, 8.0, gain=0.5) == 8


def test_errors_of_0_and_of_infinity() -> None:
    assert climbed(lambda of: 0.0, 8.0, up=-1e-3) == 8
    assert climbed(lambda of: inf, 8.0) == 8
    assert climbed(lambda of: inf if of > 4 else 1.0, 8.0) == 4
