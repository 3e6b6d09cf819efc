"""Errors that a user can mend: what they say."""

from __future__ import annotations

import pytest

from coset.errors import InfeasibleBudget, InputError, unknown


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
