"""What vectors are worth on ratings: on the scale that a model learns."""

from __future__ import annotations

import numpy as np

from coset.data import Ratings, random_split
from coset.tasks.ratings.signal import signal


def test_a_transform_decides_the_scale() -> None:
    draw = np.random.default_rng(0)
    users, items = draw.integers(0, 60, 3000), draw.integers(0, 40, 3000)
    counts = np.round(np.exp(draw.normal(3, 1, 60)[users] + draw.normal(0, 1, 40)[items]))
    logged = np.log1p(counts).astype(np.float32)
    split = random_split(3000, 0.2, 0)
    given = (signal(Ratings("x", users, items, counts).transformed("log"), split, (8.0, 4.0), 0),
             signal(Ratings("x", users, items, logged), split, (8.0, 4.0), 0))  # fmt: skip
    assert given[0] is not None
    assert given[1] is not None
    assert (given[0].alone, given[0].gain, given[0].sharing) == (given[1].alone, given[1].gain, given[1].sharing)
    assert given[0].alone < 2
