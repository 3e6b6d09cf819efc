"""What vectors are worth on some ratings, in closed form: factors of what biases leave, scored on rows held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from coset.data.ratings import Ratings
from coset.data.splits import Split
from coset.models.factors import factors
from coset.models.ridge import chosen, ridge_bias
from coset.planning.signal import Gains, Signal
from coset.tasks.ratings.thrift import sharing_losses

HELD = 0.1
"""Of the training rows: those that are not learned from."""
FEWEST = 200
"""Of fewer training rows a tenth tells nothing."""
MOST_ROWS = 1_000_000
"""Of more rows, those of so many users, drawn at random, that there are about so many."""
_TO_CHOOSE = 200_000
"""Rows that λ of biases are chosen on, likewise."""
DIMS = (1, 2, 4, 8)
_MANY_IDS = 60_000
"""With more ids than this, vectors have half as many dims at most, as each id takes their cube in time."""


def signal(ratings: Ratings, split: Split, penalties: Sequence[float], seed: int) -> Signal | None:
    """The signal in the training part; None where it is too small to hold rows out.

    Args:
        ratings: all rows.
        split: of them; its validation part is not read.
        penalties: λ of users and of items in the ridge bias model; those that suit the rows where there are none.
        seed: of what is drawn.
    """
    if len(split.training) < FEWEST:
        return None
    inner = split.tuning(HELD, seed)
    known, held = _fewer(ratings.users, MOST_ROWS, inner.training, inner.validation, seed)
    if not len(held) or len(known) < FEWEST // 2:
        return None
    both = np.concatenate([known, held])
    users, items = (np.unique(of[both], return_inverse=True)[1].reshape(-1) for of in (ratings.users, ratings.items))
    values = ratings.targets[both].astype(np.float64)
    fit, test = slice(0, len(known)), slice(len(known), None)
    sizes = int(users.max()) + 1, int(items.max()) + 1
    given = (penalties[0], penalties[1]) if penalties else _chosen(users[fit], items[fit], values[fit], sizes, seed)
    biases = ridge_bias(users[fit], items[fit], values[fit], sizes, given)
    plain = biases.predict(users, items)
    dims = DIMS if sum(sizes) <= _MANY_IDS else DIMS[:-1]
    found = factors(users[fit], items[fit], (values - plain)[fit], sizes, dims[-1], seed)
    low, high = values[fit].min(), values[fit].max()

    def errors(more: np.ndarray | float) -> np.ndarray:
        return np.asarray(np.square(np.clip(plain[test] + more, low, high) - values[test]))

    alone = errors(0.0)
    upto = found.products(users[test], items[test]).cumsum(1)
    gains = np.stack([alone - errors(upto[:, many - 1]) for many in dims], axis=1)
    counts = [np.bincount(of[fit], minlength=n)[of[test]] for of, n in zip((users, items), sizes, strict=True)]
    found_signal = Signal.fitted(Gains(np.stack(counts, axis=1), dims, gains), float(alone.mean()), len(known))
    left = values - plain
    sharing = tuple(
        sharing_losses(ids, left, own, given[side], len(known), alone)
        for side, (ids, own) in enumerate(((users, biases.user), (items, biases.item)))
    )
    return replace(found_signal, sharing=sharing)


def _chosen(
    users: np.ndarray, items: np.ndarray, values: np.ndarray, sizes: tuple[int, int], seed: int
) -> tuple[float, float]:
    rows, _ = _fewer(users, _TO_CHOOSE, np.arange(len(users)), np.arange(0), seed)
    return chosen(users[rows], items[rows], values[rows], sizes)


def _fewer(
    column: np.ndarray, most: int, known: np.ndarray, held: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Both, of so many users that about `most` rows are known."""
    if len(known) <= most:
        return known, held
    users = np.unique(column, return_inverse=True)[1].reshape(-1)
    many = int(users.max()) + 1
    order = np.random.default_rng([seed, 8]).permutation(many)
    upto = int(np.searchsorted(np.cumsum(np.bincount(users[known], minlength=many)[order]), most)) + 1
    kept = np.zeros(many, dtype=bool)
    kept[order[:upto]] = True
    return known[kept[users[known]]], held[kept[users[held]]]
