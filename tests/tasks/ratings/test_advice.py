"""When ratings look like counts."""

from __future__ import annotations

import numpy as np
import pytest

from coset.data import Ratings
from coset.tasks.ratings.advice import hints, terms


def ratings(values: np.ndarray) -> Ratings:
    return Ratings("some", np.arange(len(values)), np.arange(len(values)), values)


DRAW = np.random.default_rng(0)
COUNTS = np.maximum(1, DRAW.lognormal(1, 1.5, 3000).astype(int))
SCALES = {
    "stars": DRAW.integers(1, 6, 3000),
    "a hundred": DRAW.integers(0, 101, 3000),
    "clicks, few of them": (DRAW.random(3000) < 0.01).astype(int),
    "ten stars, mostly none": np.where(DRAW.random(3000) < 0.02, 10, 0),
    "around zero": np.append(DRAW.normal(0, 5, 3000), 500.0),
    "temperatures in kelvin": DRAW.normal(290, 10, 3000),
    "nothing": np.zeros(50),
}


def test_counts_are_told_to_take_logarithms_in_one_sentence() -> None:
    (hint,) = hints(ratings(COUNTS))
    assert "--rating-transform log" in hint
    assert f"largest {COUNTS.max()}" in hint
    logged = ratings(COUNTS).transformed("log")
    assert not hints(logged)
    assert "log(1 + rating)" in terms(logged)[0]


@pytest.mark.parametrize("name", SCALES)
def test_scales_are_left_alone(name: str) -> None:
    assert not hints(ratings(SCALES[name]))
    assert not terms(ratings(SCALES[name]))
