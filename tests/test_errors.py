"""Errors that a user can mend: what they say."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from coset.errors import LONGEST, InfeasibleBudget, InputError, unknown


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ("low_rnk", "did you mean 'low_rank'?"),
        ("Full", "did you mean 'full'?"),
        ("hashin", "did you mean 'hashing'?"),
        ("zzz", "known are full, hashing, low_rank"),
        ("", "known are full, hashing, low_rank"),
    ],
)
def test_unknown_names_what_was_given_and_the_nearest(given: str, hint: str) -> None:
    error = unknown("method", given, ["low_rank", "full", "hashing"])
    assert str(error) == f"unknown method {given!r}: {hint}"
    assert isinstance(error, InputError)


def test_infeasible_budget_carries_its_floor() -> None:
    error = InfeasibleBudget("too small", 464)
    assert error.floor == 464
    assert str(error) == "too small"
    assert isinstance(error, InputError)
    assert isinstance(error, ValueError)


@pytest.mark.parametrize(
    "make", [InputError, lambda message: InfeasibleBudget(message, 3)], ids=["plain", "with a floor"]
)
def test_an_error_does_not_grow_with_what_it_quotes(make: Callable[[str], InputError]) -> None:
    just = "mine.csv: " + "x" * (LONGEST - 10)
    assert str(make(just)) == just
    long = f"mine.csv, line 1: {'x' * 100_000!r} is no header; add one such as user,item,rating"
    error = str(make(long))
    assert len(error) <= LONGEST
    assert error.startswith("mine.csv, line 1: 'xxx")
    assert error.endswith("xxx' is no header; add one such as user,item,rating")
    assert " characters left out) … " in error
