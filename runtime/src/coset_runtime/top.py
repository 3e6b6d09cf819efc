"""The exact top k of inner products, block by block of items, without a table of all scores.

Scores are found in the type of vectors first, whose rounding depends on how a library orders its sums. So each block
keeps what may be among the best by the bounds of that rounding, and the caller scores these few again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from coset_runtime.arrays import Products, Rows


class Items(NamedTuple):
    """What all users are scored against.

    Args:
        total: how many there are.
        products: of vectors with those of a range of them, or of some.
        biases: likewise, what their score has beside products, shape `(items,)`.
    """

    total: int
    products: Callable[[Rows, np.ndarray], Products]
    biases: Callable[[Rows], np.ndarray]


class Pairs(NamedTuple):
    """Some pairs of a user's place and an item, each of shape `(pairs,)`."""

    users: np.ndarray
    items: np.ndarray


_NUMBERS_AT_ONCE = 1 << 20
"""Of the vectors of a block."""
_SCORES_AT_ONCE = 1 << 22


def candidates(vectors: np.ndarray, items: Items, k: int, left_out: Pairs, among: np.ndarray | None) -> Pairs:
    """Pairs that hold the k best of every user, and few others.

    Args:
        vectors: of the users, shape `(users, dim)`.
        k: how many are asked for.
        left_out: pairs that do not count, in order of items.
        among: the items that count, ascending; all by default.
    """
    users, dim = vectors.shape
    count = items.total if among is None else len(among)
    step = max(1, min(_NUMBERS_AT_ONCE // max(1, dim), _SCORES_AT_ONCE // max(1, users)))
    unit = 4 * float(np.finfo(vectors.dtype).eps)
    kept = Pairs(np.zeros(0, np.int64), np.zeros(0, np.int64))
    low = high = np.zeros(0)
    for begin in range(0, count, step):
        rows: Rows = slice(begin, min(begin + step, count)) if among is None else among[begin : begin + step]
        (scores, errors), biases = items.products(rows, vectors), items.biases(rows)
        first = begin if among is None else int(among[begin])
        scores += biases
        errors = errors + unit * (2 * float(np.abs(biases).max(initial=0)))
        _leave_out(scores, left_out, rows, first)
        own = _best(scores, errors, k, kept.users, low)
        new = Pairs(own[0], own[1] + begin if among is None else among[begin + own[1]])
        of = scores[own].astype(np.float64)
        kept = Pairs(*(np.concatenate(each) for each in zip(kept, new, strict=True)))
        low, high = np.concatenate([low, of - errors[own[0]]]), np.concatenate([high, of + errors[own[0]]])
        there = high >= _least(kept.users, low, users, k)[kept.users]
        kept, low, high = Pairs(kept.users[there], kept.items[there]), low[there], high[there]
    return kept


def _best(
    scores: np.ndarray, errors: np.ndarray, k: int, known: np.ndarray, low: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Where a block may have one of the k best of its user: of the block and, by what is kept of others, of all."""
    users, width = scores.shape
    least = _least(known, low, users, k)
    if width > k and not np.isfinite(least).all():
        own = np.partition(scores, width - k, axis=1)[:, width - k].astype(np.float64) - 2 * errors
        least = np.maximum(least, own)
    # Rounded down, so that a bound never leaves out what it should not; -inf is of pairs that do not count.
    info, bound = np.finfo(scores.dtype), least - errors
    bound = np.where(np.isfinite(bound), bound - info.eps * np.abs(bound), -np.inf)
    lowest = np.maximum(bound, float(info.min)).astype(scores.dtype)
    at = np.flatnonzero((scores >= lowest[:, None]).ravel())
    return at // width, at % width


def _least(users: np.ndarray, low: np.ndarray, many: int, k: int) -> np.ndarray:
    """The k-th largest lower bound of each user, shape `(many,)`; -inf where there are fewer."""
    found = np.full(many, -np.inf)
    if not len(users):
        return found
    order = np.lexsort((-low, users))
    counts = np.bincount(users, minlength=many)
    ends = np.cumsum(counts)
    enough = counts >= k
    found[enough] = low[order[(ends - counts)[enough] + k - 1]]
    return found


def _leave_out(scores: np.ndarray, left_out: Pairs, rows: Rows, first: int) -> None:
    if not len(left_out.items):
        return
    if isinstance(rows, slice):
        some = slice(*np.searchsorted(left_out.items, (rows.start, rows.stop)))
        scores[left_out.users[some], left_out.items[some] - first] = -np.inf
        return
    some = slice(*np.searchsorted(left_out.items, (rows[0], rows[-1] + 1)))
    place = np.searchsorted(rows, left_out.items[some])
    there = rows[place] == left_out.items[some]
    scores[left_out.users[some][there], place[there]] = -np.inf


def ranked(pairs: Pairs, scores: np.ndarray, k: int, many: int) -> np.ndarray:
    """Which pairs are the k best of their users, users in order, the best first; the smaller item where scores are
    equal."""
    order = np.lexsort((pairs.items, -scores, pairs.users))
    counts = np.bincount(pairs.users, minlength=many)
    begins = np.cumsum(counts) - counts
    place = np.arange(len(order)) - np.repeat(begins, counts)
    return order[place < k]
