"""A synthetic long tail: most items are rated once or twice, and it is known how well any model can do.

Items are drawn by a law of Zipf and Mandelbrot (Mandelbrot, 1953), p ∝ (rank + 20)^-1.3, users by one with a shorter
tail. A rating is a mean, a user bias and an item bias, perhaps a short dot product, and Gaussian noise of deviation 1,
rounded to 1 … 5. Without the dot product biases are all that there is to learn, so tables of vectors can only lose.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from coset.data import draws
from coset.data.ratings import Ratings
from coset.data.synthetic import noise_floor
from coset.errors import InputError

ROWS = 100_000
"""Pairs that are drawn; of a pair that is drawn twice one stays."""
USERS, ITEMS = 4_000, 30_000
"""To be drawn from; those without a rating have no id."""
_USER_LAW, _ITEM_LAW = (30.0, 0.7), (20.0, 1.3)
FACTORS = 0.8
"""Deviation of the dot product in `synthetic-long-tail-factors`."""
_MEAN, _USER_BIAS, _ITEM_BIAS = 3.5, 0.4, 0.5
_RANK = 4
_CUTS = np.array([1.5, 2.5, 3.5, 4.5])
_STREAMS = ("users", "items", "user bias", "item bias", "user factors", "item factors", "noise", "order")


class Floors(NamedTuple):
    """The expected mean squared errors of the best predictors.

    Args:
        additive: of the best that adds a number of the user and one of the item.
        best: of the best of all; the same where there are no factors.
    """

    additive: float
    best: float


def long_tail_ratings(seed: int = 0, factors: float = 0.0) -> Ratings:
    """The long tail of this seed, the same on every machine; its `noise_floor` is that of the best predictor.

    Args:
        seed: of everything that is drawn.
        factors: standard deviation of the dot product of a user and an item, of 4 elements; 0 for none.

    Example:
        >>> ratings = long_tail_ratings(seed=0)
        >>> items = np.unique(ratings.items, return_counts=True)[1]
        >>> len(ratings), round(float((items <= 2).mean()), 2)
        (92511, 0.7)
    """
    return _drawn(seed, factors)[0]


def floors(seed: int = 0, factors: float = 0.0) -> Floors:
    """The floors of `long_tail_ratings` of these arguments."""
    return _drawn(seed, factors)[1]


def _drawn(seed: int, factors: float) -> tuple[Ratings, Floors]:
    if seed < 0:
        raise InputError(f"the seed of a long tail must be a whole number from 0 on, not {seed}")
    if not (factors >= 0 and math.isfinite(factors)):
        raise InputError(f"the deviation of factors must be 0 or more, not {factors}")
    users, items = _ids(seed, "users", USERS, *_USER_LAW), _ids(seed, "items", ITEMS, *_ITEM_LAW)
    pairs = np.unique(users * ITEMS + items)
    pairs = pairs[np.argsort(_stream(seed, "order").random_raw(len(pairs)), kind="stable")]
    users, items = pairs // ITEMS, pairs % ITEMS
    score = _MEAN + _USER_BIAS * _normals(seed, "user bias", USERS)[users]
    score = score + _ITEM_BIAS * _normals(seed, "item bias", ITEMS)[items]
    # Given the biases, the dot product is so much more noise, nearly normal.
    additive = noise_floor(score / math.hypot(1, factors), _CUTS / math.hypot(1, factors))
    if factors:
        left = _normals(seed, "user factors", USERS * _RANK).reshape(-1, _RANK)
        right = _normals(seed, "item factors", ITEMS * _RANK).reshape(-1, _RANK)
        score = score + factors / math.sqrt(_RANK) * (left[users] * right[items]).sum(1)
    best = noise_floor(score, _CUTS)
    ratings = 1 + np.searchsorted(_CUTS, score + _normals(seed, "noise", len(score)))
    name = "synthetic-long-tail-factors" if factors else "synthetic-long-tail"
    found = Ratings(
        name, users, items, ratings.astype(np.float32), synthetic=True, noise_floor=best,
        source=f"{name} (seed {seed}, factors {factors:g})",
    )  # fmt: skip
    return found, Floors(additive if factors else best, best)


def _ids(seed: int, stream: str, n: int, shift: float, power: float) -> np.ndarray:
    """`ROWS` ids of a law of Zipf and Mandelbrot, by the inverse of its distribution."""
    upper = np.cumsum((np.arange(1, n + 1) + shift) ** -power)
    drawn = np.searchsorted(upper, draws.uniforms(_stream(seed, stream), ROWS) * upper[-1])
    return np.asarray(np.minimum(drawn, n - 1))


def _normals(seed: int, stream: str, n: int) -> np.ndarray:
    return draws.normals(_stream(seed, stream), n)


def _stream(seed: int, name: str) -> np.random.PCG64:
    return draws.stream([seed, 7, _STREAMS.index(name)])
