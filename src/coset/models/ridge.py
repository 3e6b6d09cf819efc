"""Ridge bias: the closed-form model of a mean and one bias an id, shrunk by how often the id was rated.

`rating ≈ mean + user bias + item bias`, where a bias is the sum of its residuals over their number plus λ: the minimum
of the squared errors plus λ_user Σ b_user² + λ_item Σ b_item² (ridge regression, Hoerl and Kennard, 1970; the baseline
estimates of Koren, 2010, "Factor in the neighbors", section 2.1). λ is in ratings: an id with λ of them is moved half
of the way from the mean. An id with few ratings stays near the mean, one with many follows them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

import numpy as np

from coset.models.climb import climbed

ROUNDS = 15
_TO_CHOOSE = 6
"""Rounds that tell one λ from another."""
BEGIN = 8.0
"""The λ at which the search for one begins."""
_GAIN = 1e-6
"""The share of the error by which another λ must be better: where ids do not differ at all, ever larger ones are, by
less and less."""
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
    ids = users, items
    counts = [np.bincount(of, minlength=n) for of, n in zip(ids, sizes, strict=True)]
    sums = [np.bincount(of, values, n) for of, n in zip(ids, sizes, strict=True)]
    total, biases, mean = values.sum(), [np.zeros(n) for n in sizes], 0.0
    for _ in range(rounds):
        # The mean is not shrunk: that of all ratings would be pulled by the ids that have most of them.
        mean = float((total - sum(n @ bias for n, bias in zip(counts, biases, strict=True))) / len(values))
        for side, other in ((0, 1), (1, 0)):
            of_others = np.bincount(ids[side], biases[other][ids[other]], sizes[side])
            biases[side] = (sums[side] - counts[side] * mean - of_others) / (counts[side] + penalties[side])
    user, item = biases
    return RidgeBias(mean, user, item, penalties)


def chosen(users: np.ndarray, items: np.ndarray, ratings: np.ndarray, sizes: tuple[int, int]) -> tuple[float, float]:
    """The λ of users and of items that predict each of these ratings best from all others: one for both first, then
    each by itself. They are powers of two, from very small ones, where ratings have no noise, to very large ones, where
    ids do not differ.

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

    both = climbed(lambda one: error(one, one), BEGIN, gain=_GAIN)
    user = climbed(lambda one: error(one, both), both, gain=_GAIN)
    item = climbed(lambda one: error(user, one), both, gain=_GAIN)
    return climbed(lambda one: error(one, item), user, gain=_GAIN), item
