"""The settings that ratings choose themselves: the ridge of biases in closed form, that of vectors by a few short
trainings."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from coset.data.attributes import rows_by_id
from coset.data.ratings import Ratings
from coset.models.ridge import chosen

RIDGES = (2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
"""The λ of vectors to choose from; the search begins with the third and climbs from there."""
_BEGIN = 2
_TIE = 5e-4
"""Errors within this share of each other are as good, and of those the larger λ is taken: it learns less noise."""
MOST_ROWS = 150_000
"""Rows of a short training. λ is the variance of noise over that of vectors, so it is that of all rows, too."""
DIM = 8
"""Of a short training, which takes all epochs: too little shrinkage shows in the last ones."""


def bias_ridge(ratings: Ratings) -> tuple[float, float]:
    """λ of the biases of users and of items, chosen on all of these ratings."""
    (users, many), (items, more) = (_numbered(column) for column in (ratings.users, ratings.items))
    return chosen(users, items, ratings.ratings.astype(np.float64), (many, more))


def _numbered(column: np.ndarray) -> tuple[np.ndarray, int]:
    numbers, values = rows_by_id(column)
    return numbers, len(values)


def climbed(error: Callable[[float], float]) -> float:
    """The λ of `RIDGES` from which no neighbour is better.

    Example:
        >>> climbed(lambda ridge: 1 + abs(ridge - 20))
        16.0
    """
    known, at, last = cache(error), _BEGIN, len(RIDGES) - 1
    while at < last and known(RIDGES[at + 1]) <= known(RIDGES[at]) * (1 + _TIE):
        at += 1
    if at == _BEGIN:
        while at > 0 and known(RIDGES[at - 1]) < known(RIDGES[at]) * (1 - _TIE):
            at -= 1
    return RIDGES[at]
