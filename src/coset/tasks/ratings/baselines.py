"""What ratings are compared with before anything is trained: their mean, and the ridge bias model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from coset.data.encoded import Encoded
from coset.models.ridge import chosen, ridge_bias
from coset.tasks.baselines import Baseline

_BYTES = 4
"""Of a number: float32, as trained models store them."""


def baselines(encoded: Encoded, penalties: Sequence[float] = ()) -> list[Baseline]:
    """The constant, and the ridge bias model.

    Args:
        encoded: the ratings and their split.
        penalties: λ of users and of items; by default those that suit the training part.
    """
    users, items, ratings = (of.numpy() for of in (encoded.users, encoded.items, encoded.targets))
    known = encoded.split.training
    values = ratings[known].astype(np.float64)
    low, high, mean = values.min(), values.max(), values.mean()
    sizes = encoded.user.num_embeddings, encoded.item.num_embeddings
    given = (penalties[0], penalties[1]) if penalties else chosen(users[known], items[known], values, sizes)
    model = ridge_bias(users[known], items[known], values, sizes, given)

    def scored(predicted: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> dict[str, float]:
        found: dict[str, float] = {}
        for part, rows in (("train", known), ("val", encoded.split.validation)):
            gaps = np.clip(predicted(users[rows], items[rows]), low, high) - ratings[rows]
            found |= {f"{part}_mse": float(np.square(gaps).mean()), f"{part}_mae": float(np.abs(gaps).mean())}
        return found

    numbers = 1 + sum(sizes)
    return [
        Baseline("constant", "the mean of all training ratings.", 1, _BYTES,
                 scored(lambda users, items: np.full(len(users), mean))),
        Baseline("ridge bias", "the mean and one bias an id, shrunk by its count: in closed form, without training.",
                 numbers, _BYTES * numbers, scored(model.predict)),
    ]  # fmt: skip
