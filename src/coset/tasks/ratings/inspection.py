"""What `coset inspect` shows of ratings: their range, how often users and items occur, and what is odd about them."""

from __future__ import annotations

import numpy as np

from coset.data.attributes import Attributes
from coset.data.ratings import Ratings
from coset.data.vocabulary import Vocabulary
from coset.schema import Table
from coset.tasks.inspection import Inspection
from coset.tasks.ratings.advice import hints

_MOST_VALUES = 20  # distinct ratings that are counted one by one


def inspected(ratings: Ratings) -> Inspection:
    """All ratings of a data set, counted.

    `details` are `rating_range`, `rating_mean`, `rating_variance`, `ratings` (how many rows have each rating; null for
    more than 20 different ones), `repeated`, the rows of a user and item that an earlier row has, `left_out`, the rows
    without any value, and `files`, the parts of a folder in the order in which they were read.
    """
    low, high = ratings.range
    values, counts = np.unique(ratings.ratings, return_counts=True)
    mean = float(ratings.ratings.mean(dtype=np.float64))
    variance = float(ratings.ratings.var(dtype=np.float64))
    listed = [{"rating": float(value), "rows": int(count)} for value, count in zip(values, counts, strict=True)]
    return Inspection(
        ratings.name,
        len(ratings),
        f"{len(ratings):,} ratings from {low:g} to {high:g}, mean {mean:.3f}, variance {variance:.3f}",
        [
            _table(ratings.user_name, ratings.users, ratings.user_attributes),
            _table(ratings.item_name, ratings.items, ratings.item_attributes),
        ],
        synthetic=ratings.synthetic,
        noise_floor=ratings.noise_floor,
        notes=_notes(ratings),
        details={
            "rating_range": [low, high],
            "rating_mean": mean,
            "rating_variance": variance,
            "ratings": listed if len(listed) <= _MOST_VALUES else None,
            "repeated": ratings.repeated,
            "left_out": ratings.left_out,
            "files": list(ratings.files),
        },
    )


def _table(name: str, raw: np.ndarray, attributes: Attributes | None) -> Table:
    vocabulary = Vocabulary.build(name, raw)
    codes = {} if attributes is None else attributes.codes(vocabulary)
    return Table(name, vocabulary.num_embeddings, 1, frequencies=vocabulary.frequencies, attributes=codes or None)


def _notes(ratings: Ratings) -> list[str]:
    """What is odd about the data, and what to do about it."""
    notes = []
    if count := len(ratings.files):
        first, last = ratings.files[:3], ratings.files[-1:]
        shown = ", ".join(ratings.files) if count <= 5 else f"{', '.join(first)} … {last[0]}"
        notes.append(f"read from {count:,} {'file' if count == 1 else 'files'}, in this order: {shown}")
    if ratings.left_out:
        notes.append(f"{ratings.left_out:,} rows without user, item and rating were left out")
    if ratings.repeated:
        rows = "1 row is" if ratings.repeated == 1 else f"{ratings.repeated:,} rows are"
        notes.append(
            f"{rows} of a user and item that came before: a random split keeps the rows of a pair on one side, an "
            "ordered one may train on the first and validate on the next"
        )
    return [*notes, *hints(ratings)]
