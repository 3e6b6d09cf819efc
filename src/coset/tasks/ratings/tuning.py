"""What ratings choose themselves, and on which rows: the ridge of biases in closed form, other settings by a few short
trainings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from coset.data.attributes import rows_by_id
from coset.data.encoded import Encoded
from coset.data.ratings import Ratings
from coset.documents import Json
from coset.errors import InputError
from coset.models.ridge import chosen
from coset.tasks.ratings.search import FIELDS, Curve, Search
from coset.tasks.settings import TrainingSettings

CHOSEN = ("bias_ridge", *FIELDS)
FEWEST_ROWS = 50
"""Of fewer training rows no slice tells one setting from another."""
HELD = 0.1
"""The slice of the rows of a trial that it is scored on."""
MOST_ROWS = 120_000
"""Up to so many training rows trials see all; see `sample`."""
SHARE = 0.2
"""The visits of all trials are at most this share of those of the training that they inform, or so many where that is
less:"""
LEAST_VISITS, LEAST_OF_SAMPLE = 6_000_000, 2_000_000
"""Where trials see all training rows, and where they see a sample; a few seconds."""
_TRIALS = 5
"""About as many whole trainings as a search costs."""
DIM = 16
"""The widest model of a trial."""


def check(names: Sequence[str]) -> None:
    """Raise an `InputError` for a field that is not chosen."""
    if strange := sorted(set(names) - set(CHOSEN)):
        raise InputError(f"ratings choose {', '.join(CHOSEN[:-1])} and {CHOSEN[-1]} by themselves, not {strange[0]!r}")


def bias_ridge(encoded: Encoded) -> tuple[float, float]:
    """λ of the biases of users and of items, chosen on the training part."""
    rows = encoded.split.training
    users, items, ratings = (of.numpy()[rows] for of in (encoded.users, encoded.items, encoded.targets))
    sizes = encoded.user.num_embeddings, encoded.item.num_embeddings
    return chosen(users, items, ratings.astype(np.float64), sizes)


def searched(names: Sequence[str], training: TrainingSettings, curve: Curve, rows: int, of: int) -> Json:
    """The fields of these names that short trainings choose.

    Args:
        names: those of `bias_ridge` are not among the result.
        training: the settings that the search begins with.
        curve: trains on a sample.
        rows: of the sample.
        of: of the training part.
    """
    wanted = [name for name in FIELDS if name in names]
    if not wanted:
        return {}
    held = max(1, round(HELD * rows))
    visits = max(LEAST_OF_SAMPLE if rows < of else LEAST_VISITS, int(SHARE * training.epochs * of))
    begin = replace(training, evaluate_every=None, patience=None)
    found = Search(begin, curve, rows - held, held, rows < of, visits).run(wanted)
    return {name: getattr(found, name) for name in wanted}


def sample(ratings: Ratings, epochs: int, seed: int) -> Ratings:
    """All ratings; or of more than `MOST_ROWS`, all those of so many users, drawn at random, that a search can afford
    trainings of so many epochs on them.

    λ is the variance of noise over that of vectors, so it is that of all rows, too, as long as ids have rows enough to
    show it: a sample of rows would leave each user with few.
    """
    if len(ratings) <= MOST_ROWS:
        return ratings
    most = min(MOST_ROWS, int(max(LEAST_OF_SAMPLE / epochs, SHARE * len(ratings)) / _TRIALS))
    users, values = rows_by_id(ratings.users)
    many = len(values)
    order = np.random.default_rng([seed, 6]).permutation(many)
    upto = int(np.searchsorted(np.cumsum(np.bincount(users, minlength=many)[order]), most)) + 1
    return ratings.select(np.flatnonzero(np.isin(users, order[:upto])))
