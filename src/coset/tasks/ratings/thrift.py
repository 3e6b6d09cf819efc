"""Biases that rare ids share: what that saves, and what it loses.

A bias of an id with few ratings is hardly more than its prior, 0, but takes as many bytes as any other. Where all ids
with fewer than so many training rows share one bias, their rows tell it well, and the bytes are free for ids that learn
more from them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np

from coset.planning.signal import Leaner, Signal

LIMITS = (1, 2, 3, 5, 9, 17, 33, 65, 129)
"""Training rows: ids with fewer may share a bias."""
_SIDES = "users", "items"


def together(ids: tuple[np.ndarray, np.ndarray], own: Sequence[int] | None) -> tuple[np.ndarray, np.ndarray]:
    """Users and items as rows of biases: those beyond the first `own` of a side have the same.

    Example:
        >>> together((np.array([0, 7, 9]), np.array([2, 3, 4])), (5, 9))
        (array([0, 5, 5]), array([2, 3, 4]))
    """
    if own is None:
        return ids
    users, items = (np.minimum(of, most) for of, most in zip(ids, own, strict=True))
    return users, items


def sharing_losses(
    ids: np.ndarray, left: np.ndarray, own: np.ndarray, penalty: float, known: int, errors: np.ndarray
) -> tuple[tuple[int, float, float], ...]:
    """By how much squared errors grow on rows that were held out, if ids of one side with fewer training rows than each
    of `LIMITS` share a bias: the limit, the mean and its standard error.

    Args:
        ids: of that side, shape `(rows,)`; the first `known` rows were learned from, the others held out.
        left: what the ridge bias model leaves of the ratings, shape `(rows,)`.
        own: its biases of that side.
        penalty: its λ.
        known: number of rows.
        errors: squared errors of the model on the rows held out.
    """
    counts = np.bincount(ids[:known], minlength=len(own))
    without = left + own[ids]
    found = []
    for limit in LIMITS:
        rare = counts[ids] < limit
        fit, test = rare[:known], rare[known:]
        shared = float(without[:known][fit].sum()) / (float(fit.sum()) + penalty)
        more = np.zeros(len(errors))
        more[test] = np.square(without[known:][test] - shared) - errors[test]
        found.append((limit, float(more.mean()), float(more.std() / np.sqrt(len(errors)))))
    return tuple(found)


def leaner(frequencies: tuple[np.ndarray, np.ndarray], signal: Signal | None) -> list[Leaner]:
    """The models in which rare ids share a bias, of all pairs of limits.

    Args:
        frequencies: training rows of users and of items, the most frequent first.
        signal: of the data; without it the loss is the share of the rows of ids that share.
    """
    sides = [_side(of, None if signal is None else signal.sharing[side]) for side, of in enumerate(frequencies)]
    found = {}
    for (users, loss, error), (items, more, other) in product(*sides):
        if (users, items) != (len(frequencies[0]), len(frequencies[1])):
            shared = [
                f"{len(of) - own:,} {name} with the fewest ratings share one bias"
                for of, own, name in zip(frequencies, (users, items), _SIDES, strict=True) if own < len(of)
            ]  # fmt: skip
            found[users, items] = Leaner(
                {"bias_ids": [users, items]}, loss + more, " and ".join(shared), error=float(np.hypot(error, other))
            )
    return list(found.values())


def _side(
    frequencies: np.ndarray, measured: Sequence[tuple[int, float, float]] | None
) -> list[tuple[int, float, float]]:
    """Numbers of ids with biases of their own, each with its loss and the standard error of that; all first.

    Of many that are measured the best is better by chance, so each counts as worse by its error, and none as better
    than biases of their own for all.
    """
    n, total = len(frequencies), max(1, int(frequencies.sum()))
    if measured is None:
        measured = [(limit, float(frequencies[frequencies < limit].sum()) / total, 0.0) for limit in LIMITS]
    found = {n: (0.0, 0.0)}
    for limit, loss, error in measured:
        own = int(np.count_nonzero(frequencies >= limit))
        if n - own > 1:  # of two ids and more one row saves something
            found.setdefault(own, (max(0.0, loss + error), error))
    return [(own, *both) for own, both in found.items()]
