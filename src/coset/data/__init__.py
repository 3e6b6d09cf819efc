"""Ratings from files, MovieLens or a synthetic twin; vocabularies that map raw ids to table ids; splits.

The names below load lazily, so `import coset.data` itself costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from coset.lazy import handing_on

if TYPE_CHECKING:
    from coset.data.attributes import Attributes
    from coset.data.encoded import Encoded, encode, look_up
    from coset.data.loading import DATASETS, load_ratings
    from coset.data.movielens import DataNotFound, available, load_movielens
    from coset.data.ratings import Ratings
    from coset.data.splits import Split, ordered_split, random_split
    from coset.data.synthetic import synthetic_ratings
    from coset.data.vocabulary import Vocabulary

_HOMES = {
    "Attributes": "attributes",
    "DATASETS": "loading",
    "DataNotFound": "movielens",
    "Encoded": "encoded",
    "Ratings": "ratings",
    "Split": "splits",
    "Vocabulary": "vocabulary",
    "available": "movielens",
    "encode": "encoded",
    "load_movielens": "movielens",
    "load_ratings": "loading",
    "look_up": "encoded",
    "ordered_split": "splits",
    "random_split": "splits",
    "synthetic_ratings": "synthetic",
}

__all__ = [
    "DATASETS",
    "Attributes",
    "DataNotFound",
    "Encoded",
    "Ratings",
    "Split",
    "Vocabulary",
    "available",
    "encode",
    "load_movielens",
    "load_ratings",
    "look_up",
    "ordered_split",
    "random_split",
    "synthetic_ratings",
]


if not TYPE_CHECKING:  # to a type checker, only the names above are there
    __getattr__, __dir__ = handing_on(__name__, _HOMES)
