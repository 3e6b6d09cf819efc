"""Measured curves, from points to the planner."""

from __future__ import annotations

import numpy as np
import pytest

from coset.errors import InputError
from coset.planning.curves import Curve, Point, fit_curves


def test_a_planted_curve_is_found() -> None:
    points = {
        name: [Point(x, scale * x**0.5) for x in (0.02, 0.1, 0.4)] for name, scale in (("user", 0.3), ("movie", 0.05))
    }
    found = fit_curves(points)
    for name, scale in (("user", 0.3), ("movie", 0.05)):
        assert found[name](0.2) == pytest.approx(scale * 0.2**0.5, rel=0.03)


def test_noise_moves_curves_little() -> None:
    draws = np.random.default_rng(0)
    points = {
        f"t{number}": [Point(x, (number + 1) * 0.01 * x + draws.normal(0, 2e-4)) for x in (0.1, 0.3, 0.6)]
        for number in range(10)
    }
    found = fit_curves(points)
    for number in range(10):
        assert found[f"t{number}"](0.5) == pytest.approx((number + 1) * 0.005, abs=6e-4)


def test_a_table_whose_points_gain_costs_next_to_nothing() -> None:
    found = fit_curves({"user": [Point(0.1, -0.01)], "movie": [Point(0.1, 0.01), Point(0.0, 5.0)]})
    assert found["user"] == Curve(0.001, 1.0)
    assert found["movie"] == Curve(0.1, 1.0)


def test_rounding_errors_of_no_loss_are_no_points() -> None:
    assert fit_curves({"user": [Point(1e-16, 0.02), Point(-1e-16, 0.02), Point(0.1, 0.02)]}) == {"user": Curve(0.2)}


@pytest.mark.parametrize(
    ("points", "said"),
    [
        ({}, "at least one table"),
        ({"user": []}, "'user'.*no curve"),
        ({"user": [Point(0.0, 1.0)]}, "'user'.*no curve"),
        ({"user": [Point(1e-16, 1.0)]}, "'user'.*no curve"),
        ({"user": [Point(0.1, float("nan"))]}, "'user'.*finite"),
    ],
)
def test_points_that_tell_nothing(points, said: str) -> None:
    with pytest.raises(InputError, match=said):
        fit_curves(points)


def test_bad_curves() -> None:
    with pytest.raises(InputError, match="scale must be 0 or more"):
        Curve(-1.0)
