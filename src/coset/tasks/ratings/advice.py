"""Sentences on ratings: whether they look like counts, and on which scale a transform makes a model learn them."""

from __future__ import annotations

import numpy as np

from coset.data.attributes import rows_by_id
from coset.data.ratings import Ratings

_LARGEST = 20
"""Of a scale of ratings whose numbers are whole, and mostly small; counts go beyond it."""
_SKEWED = 10
"""Times the mean, or twice as often the median: the largest rating of no scale goes so far."""


def hints(ratings: Ratings) -> list[str]:
    """What should be known before training; nothing of ratings that have a transform already."""
    if ratings.transform is not None or not _are_counts(ratings.ratings):
        return []
    median, high = float(np.median(ratings.ratings)), ratings.range[1]
    return [
        f"the ratings look like counts (median {median:g}, largest {high:g}), and a few large ones make nearly all of "
        'a squared error: train on their logarithms, by --rating-transform log or rating_transform = "log" in [data]'
    ]


def scale(ratings: Ratings) -> str | None:
    """What a transform makes of ratings, such as `"log(1 + rating)"`; None where they are learned as they are."""
    return None if ratings.transform is None else ratings.transform.formula


def terms(ratings: Ratings) -> list[str]:
    """What the errors of results mean, where that is not plain."""
    if (learned := scale(ratings)) is None:
        return []
    return [f"Ratings are learned as {learned}, and errors are of that; coset predict gives ratings."]


def bounded(ratings: Ratings, most: int) -> list[str]:
    """How many histories are cut to `most` items, if any are."""
    counts = np.bincount(rows_by_id(ratings.users)[0])
    if not (many := int((counts > most).sum())):
        return []
    return [
        f"{many:,} of {len(counts):,} users have more than {most:,} ratings; their histories hold {most:,} items of "
        "them, spread evenly over popularity (model.history)."
    ]


def _are_counts(ratings: np.ndarray) -> bool:
    """Whether none is negative, and the largest are far above the others, as no scale of ratings has them."""
    low, high = float(ratings.min()), float(ratings.max())
    mean, median = float(ratings.mean(dtype=np.float64)), float(np.median(ratings))
    far = high >= _SKEWED * mean or high >= 2 * _SKEWED * median > 0
    return low >= 0 and high > _LARGEST and far
