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
FEWEST_ROWS = 50
"""Of fewer training rows no slice tells one λ from another."""
_TIE = 5e-4
"""Errors within this share of each other are as good."""
MOST_ROWS = 120_000
"""About the most rows of a short training; see `sample`."""
DIM = 8
"""Of a short training, which takes all epochs: too little shrinkage shows in the last ones."""


def bias_ridge(ratings: Ratings) -> tuple[float, float]:
    """λ of the biases of users and of items, chosen on all of these ratings."""
    (users, many), (items, more) = (_numbered(column) for column in (ratings.users, ratings.items))
    return chosen(users, items, ratings.ratings.astype(np.float64), (many, more))


def _numbered(column: np.ndarray) -> tuple[np.ndarray, int]:
    numbers, values = rows_by_id(column)
    return numbers, len(values)


def sample(ratings: Ratings, seed: int) -> Ratings:
    """All ratings; or of many, all those of so many users, drawn at random, that there are about `MOST_ROWS`.

    λ is the variance of noise over that of vectors, so it is that of all rows, too, as long as ids have rows enough to
    show it: a sample of rows would leave each user with few.
    """
    if len(ratings) <= MOST_ROWS:
        return ratings
    users, many = _numbered(ratings.users)
    order = np.random.default_rng([seed, 6]).permutation(many)
    upto = int(np.searchsorted(np.cumsum(np.bincount(users, minlength=many)[order]), MOST_ROWS)) + 1
    return ratings.select(np.flatnonzero(np.isin(users, order[:upto])))


def climbed(error: Callable[[float], float], cautious: bool = True) -> float:
    """The λ of `RIDGES` from which no neighbour is better.

    Args:
        error: of a short training.
        cautious: of errors that are as good, whether to take the larger λ, which learns less noise. On a sample all may
            be as good where all rows would show a difference, so there the search stays where it begins.

    Example:
        >>> climbed(lambda ridge: 1 + abs(ridge - 20))
        16.0
    """
    known, at, last = cache(error), _BEGIN, len(RIDGES) - 1
    # Downwards first: where all vectors shrink to nothing, larger λ are all as good.
    while at > 0 and known(RIDGES[at - 1]) < known(RIDGES[at]) * (1 - _TIE):
        at -= 1
    if at == _BEGIN:
        while at < last and known(RIDGES[at + 1]) <= known(RIDGES[at]) * (1 + (_TIE if cautious else -_TIE)):
            at += 1
    return RIDGES[at]
