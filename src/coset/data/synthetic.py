"""A synthetic twin of MovieLens-1M: its sizes, skew and histogram of ratings, with a known noise floor.

A rating comes from a latent score, the sum of a user bias, an item bias and a short dot product, plus Gaussian
noise; four thresholds cut the result into 1 … 5. The generator knows the score, and so the error of the best possible
predictor, which is unknown for real data.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from coset.data import draws
from coset.data.attributes import Attributes
from coset.data.ratings import Ratings
from coset.errors import InputError

NUM_USERS = 6_040
NUM_ITEMS = 3_706
NUM_RATINGS = 1_000_209
HISTOGRAM = (56_174, 107_557, 261_197, 348_971, 226_310)
"""Numbers of ratings of 1, 2, 3, 4 and 5, as in MovieLens-1M."""

_HIGHEST_RAW_ITEM = 3_952  # raw movie ids of MovieLens-1M have gaps

# Number of ratings of a user and of a movie at these quantiles, as in MovieLens-1M.
_QUANTILES = (0.0, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1.0)
_USER_ACTIVITY = (20, 23, 27, 44, 96, 208, 400, 556, 907, 1_343, 2_314)
_ITEM_POPULARITY = (1, 2, 7, 33, 123, 350, 730, 1_052, 1_785, 2_734, 3_428)

# Parts of the latent score, as standard deviations in units of the noise's, which is 1. They were chosen so that
# biases alone, and with dot products of 4 and 8 dimensions, reach about the mean squared errors that they reach on
# MovieLens-1M (0.82, 0.74 and 0.73).
_USER_BIAS = 0.58
_ITEM_BIAS = 0.76
_DOT = 0.57
_RANK = 10  # of the dot product, whose k-th term has a variance proportional to k ** -_DECAY
_DECAY = 1.25
_POPULAR_IS_GOOD = 0.4  # correlation of an item's bias with the logarithm of its popularity

# Made-up attributes: how many values each column has, as in MovieLens-1M. They say nothing about ratings.
_USER_ATTRIBUTES = {"gender": 2, "age": 7, "occupation": 21}
_ITEM_ATTRIBUTES = {"year": 81, "genres": 301, "first_genre": 18}

_STREAMS = (
    "activity",
    "weights",
    "pairs",
    "order",
    "raw users",
    "raw items",
    "user bias",
    "item bias",
    "factors",
    "noise",
    "gender",
    "age",
    "occupation",
    "year",
    "genres",
    "first_genre",
)


def synthetic_ratings(seed: int = 0) -> Ratings:
    """The synthetic twin of MovieLens-1M for this seed, the same on every machine.

    1,000,209 distinct pairs of 6,040 users and 3,706 movies; every user has at least 20 ratings and every movie
    at least one. Rows are sorted by user, and raw ids say nothing about popularity. `noise_floor` is the mean,
    over all pairs, of the variance of the rating given its noiseless score: no predictor has a lower expected
    mean squared error. Users and movies have attributes of the names and sizes that they have in MovieLens-1M; their
    values are numbers that say nothing about ratings.

    Example:
        >>> twin = synthetic_ratings(seed=0)
        >>> len(twin), twin.synthetic
        (1000209, True)
    """
    if seed < 0:
        raise InputError(f"the seed of synthetic-ratings must be a whole number from 0 on, not {seed}")
    users, items, popularity = _pairs(seed)
    score = _scores(seed, users, items, popularity)
    noisy = score + _normals(seed, "noise", len(score))
    ratings, thresholds = _cut(noisy)
    raw_users = 1 + _permutation(seed, "raw users", NUM_USERS)
    raw_items = 1 + _permutation(seed, "raw items", _HIGHEST_RAW_ITEM)[:NUM_ITEMS]
    rows = np.argsort(raw_users[users] * (1 << 32) + _permutation(seed, "order", len(users)), kind="stable")
    return Ratings(
        "synthetic-ratings",
        raw_users[users][rows],
        raw_items[items][rows],
        ratings[rows],
        item_name="movie",
        synthetic=True,
        noise_floor=noise_floor(score, thresholds),
        source=f"synthetic-ratings (seed {seed})",
        user_attributes=_attributes(seed, raw_users, _USER_ATTRIBUTES),
        item_attributes=_attributes(seed, raw_items, _ITEM_ATTRIBUTES),
    )


def noise_floor(score: np.ndarray, thresholds: np.ndarray) -> float:
    """Mean over `score` of the variance of `1 + number of thresholds below score + standard normal noise`."""
    # The variance is a smooth function of the score: exact on a fine grid, straight lines between its points.
    grid = np.linspace(score.min(), score.max(), 4_001)
    above = np.array([[0.5 * math.erfc((cut - s) / math.sqrt(2)) for s in grid] for cut in thresholds])
    mean = above.sum(axis=0)
    second = ((2 * np.arange(len(thresholds)) + 1)[:, None] * above).sum(axis=0)  # of squares: 1, then 4 - 1, …
    return float(np.interp(score, grid, second - mean**2).mean())


def _pairs(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Users and items of all ratings, as numbers from 0, and the intended popularity of every item."""
    activity = _user_activity(seed)
    popularity = np.exp(np.interp(_ranks(seed, "weights", NUM_ITEMS), _QUANTILES, np.log(_ITEM_POPULARITY)))
    # A user draws distinct items by weight: those of the smallest exponential waiting times.
    weights = _weights(popularity, activity)
    stream = _stream(seed, "pairs")
    chosen = []
    for count in activity.tolist():  # a user at a time: no array of users × items
        waiting = -np.log(draws.uniforms(stream, NUM_ITEMS)) / weights
        chosen.append(np.sort(np.argpartition(waiting, count)[:count]))
    users = np.repeat(np.arange(NUM_USERS), activity)
    items = np.concatenate(chosen)
    return users, _leave_no_item_out(items), popularity


def _user_activity(seed: int) -> np.ndarray:
    """Number of ratings of every user, summing to `NUM_RATINGS`."""
    shape = np.exp(np.interp(_ranks(seed, "activity", NUM_USERS), _QUANTILES, np.log(_USER_ACTIVITY)))
    shape = np.rint(shape * (NUM_RATINGS / shape.sum()))
    activity: np.ndarray = np.maximum(shape.astype(np.int64), _USER_ACTIVITY[0])
    # Rounding leaves a few ratings too many or too few: one each from or to the most active users.
    surplus = int(activity.sum()) - NUM_RATINGS
    most_active = np.argsort(-activity, kind="stable")[: abs(surplus)]
    activity[most_active] -= np.sign(surplus)
    return activity


def _weights(popularity: np.ndarray, activity: np.ndarray) -> np.ndarray:
    """Weights with which items reach about their popularity, where a user's rate is proportional to their activity."""
    weights = np.geomspace(1e-5, 100, 300)
    reached = -np.expm1(-weights[:, None] * (activity / activity.mean())).sum(axis=1)
    return np.asarray(np.interp(popularity, reached, weights))


def _leave_no_item_out(items: np.ndarray) -> np.ndarray:
    """`items` with every item in it: one that no user drew replaces a popular one of some user."""
    items = items.copy()
    counts = np.bincount(items, minlength=NUM_ITEMS)
    most_popular = int(counts.argmax())
    for missing, row in zip(np.flatnonzero(counts == 0), np.flatnonzero(items == most_popular), strict=False):
        items[row] = missing
    return items


def _scores(seed: int, users: np.ndarray, items: np.ndarray, popularity: np.ndarray) -> np.ndarray:
    """The noiseless latent score of every pair."""
    user_bias = _USER_BIAS * _normals(seed, "user bias", NUM_USERS)
    fame = np.log(popularity)
    fame = (fame - fame.mean()) / fame.std()
    quality = _POPULAR_IS_GOOD * fame + math.sqrt(1 - _POPULAR_IS_GOOD**2) * _normals(seed, "item bias", NUM_ITEMS)
    variances = np.arange(1, _RANK + 1) ** -_DECAY
    factors = _normals(seed, "factors", (NUM_USERS + NUM_ITEMS) * _RANK).reshape(-1, _RANK)
    of_users = factors[:NUM_USERS] * np.sqrt(variances / variances.sum())
    of_items = factors[NUM_USERS:]
    score = user_bias[users] + _ITEM_BIAS * quality[items]
    for k in range(_RANK):  # a term at a time: no array of pairs × rank
        score += _DOT * of_users[users, k] * of_items[items, k]
    return np.asarray(score)


def _attributes(seed: int, ids: np.ndarray, sizes: Mapping[str, int]) -> Attributes:
    """Columns of these sizes whose values 0, 1, … are ever rarer, and each of which occurs."""
    columns = {name: (size * _ranks(seed, name, len(ids)) ** 2).astype(np.int64) for name, size in sizes.items()}
    columns = {name: np.minimum(values, sizes[name] - 1) for name, values in columns.items()}  # the last rank is 1
    return Attributes(ids, columns, f"synthetic-ratings (seed {seed})")


def _cut(noisy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ratings 1 … 5 whose histogram is `HISTOGRAM`, and the four thresholds that make them of `noisy`."""
    order = np.argsort(noisy, kind="stable")
    ratings = np.empty(len(noisy), dtype=np.float32)
    ratings[order] = np.repeat(np.arange(1, 6), HISTOGRAM)
    ends = np.cumsum(HISTOGRAM)[:-1]
    thresholds = (noisy[order[ends - 1]] + noisy[order[ends]]) / 2
    return ratings, thresholds


def _ranks(seed: int, stream: str, n: int) -> np.ndarray:
    """The numbers from 0 to 1 in `n` equal steps, in random order."""
    return _permutation(seed, stream, n) / (n - 1)


def _permutation(seed: int, stream: str, n: int) -> np.ndarray:
    return np.argsort(_stream(seed, stream).random_raw(n), kind="stable")


def _normals(seed: int, stream: str, n: int) -> np.ndarray:
    return draws.normals(_stream(seed, stream), n)


def _stream(seed: int, name: str) -> np.random.PCG64:
    """A generator for each purpose."""
    return draws.stream([seed, _STREAMS.index(name)])
