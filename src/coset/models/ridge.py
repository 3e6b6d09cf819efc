"""Ridge bias: the closed-form model of a mean and one bias an id, shrunk by how often the id was rated.

`rating ≈ mean + user bias + item bias`, where a bias is the sum of its residuals over their number plus λ: the minimum
of the squared errors plus λ_user Σ b_user² + λ_item Σ b_item² (ridge regression, Hoerl and Kennard, 1970; the baseline
estimates of Koren, 2010, "Factor in the neighbors", section 2.1). λ is in ratings: an id with λ of them is moved half
of the way from the mean. An id with few ratings stays near the mean, one with many follows them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

import numpy as np

ROUNDS = 15
_TO_CHOOSE = 6
"""Rounds that tell one λ from another."""
GRID = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)
"""The λ that `chosen` tries."""
_MOST = 0.95
"""Of h, which this sum of two shares may overrate."""


@dataclass(frozen=True, eq=False)
class RidgeBias:
    """A solution.

    Args:
        mean: what a user and an item without ratings are predicted.
        user, item: a bias an id, float64, shape `(ids,)`, in the unit of ratings.
        penalties: λ of the users and of the items, in ratings.
    """

    mean: float
    user: np.ndarray = field(repr=False)
    item: np.ndarray = field(repr=False)
    penalties: tuple[float, float]

    def predict(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Ratings of pairs of ids, shape `(pairs,)`, not cut to any range."""
        return np.asarray(self.mean + self.user[users] + self.item[items])


def ridge_bias(
    users: np.ndarray, items: np.ndarray, ratings: np.ndarray, sizes: tuple[int, int], penalties: tuple[float, float],
    rounds: int = ROUNDS,
) -> RidgeBias:  # fmt: skip
    """The ridge bias model of these ratings.

    Args:
        users, items: ids, shape `(rows,)`.
        ratings: of the same shape.
        sizes: number of users and of items.
        penalties: λ of the users and of the items, in ratings; positive.
        rounds: how many times users and items are solved in turn; each is exact given the other.

    Example:
        >>> import numpy as np
        >>> found = ridge_bias(np.array([0, 0, 1]), np.array([0, 1, 0]), np.array([5.0, 4.0, 1.0]), (2, 2), (1.0, 1.0))
        >>> found.user.round(2)
        array([ 1., -1.])
    """
    values = np.asarray(ratings, np.float64)
    counts = [np.bincount(of, minlength=n) for of, n in zip((users, items), sizes, strict=True)]
    mean, user, item = 0.0, *(np.zeros(n) for n in sizes)
    for _ in range(rounds):
        # The mean is not shrunk: that of all ratings would be pulled by the ids that have most of them.
        mean = float((values - user[users] - item[items]).mean())
        user = np.bincount(users, values - mean - item[items], sizes[0]) / (counts[0] + penalties[0])
        item = np.bincount(items, values - mean - user[users], sizes[1]) / (counts[1] + penalties[1])
    return RidgeBias(mean, user, item, penalties)


def chosen(users: np.ndarray, items: np.ndarray, ratings: np.ndarray, sizes: tuple[int, int]) -> tuple[float, float]:
    """The λ of users and of items, of `GRID`, that predict each of these ratings best from all others: one for both
    first, then each by itself.

    The error of a rating that the model has not seen is its error over 1 - h (Allen, 1974, "The relationship between
    variable selection and data augmentation and a method for prediction"), where h is the share of the rating in its
    own prediction, here 1 / (n_user + λ_user) + 1 / (n_item + λ_item).
    """
    counts = [np.bincount(of, minlength=n)[of] for of, n in zip((users, items), sizes, strict=True)]

    @cache
    def error(user: float, item: float) -> float:
        model = ridge_bias(users, items, ratings, sizes, (user, item), _TO_CHOOSE)
        own = 1 / (counts[0] + user) + 1 / (counts[1] + item)
        left = (ratings - model.predict(users, items)) / (1 - np.minimum(own, _MOST))
        return float(np.square(left).mean())

    both = _climbed(lambda one: error(one, one), GRID[len(GRID) // 2])
    user = _climbed(lambda one: error(one, both), both)
    item = _climbed(lambda one: error(user, one), both)
    return _climbed(lambda one: error(one, item), user), item


def _climbed(error: Callable[[float], float], begin: float) -> float:
    """The λ of `GRID` with no smaller error beside it, from `begin` on."""
    at = GRID.index(begin)
    for step in (1, -1):
        while 0 <= at + step < len(GRID) and error(GRID[at + step]) < error(GRID[at]):
            at += step
    return GRID[at]
