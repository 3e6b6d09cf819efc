"""Logistic regression by hashing: one weight for each bucket of ids, one for each numeric column, and an intercept.

Ids of all features share one array of 2^k weights, in which the bucket of an id is a hash of its feature and itself
(Weinberger et al., 2009, "Feature hashing for large scale multitask learning"; Chapelle et al., 2014, "Simple and
scalable response prediction for display advertising", use it for clicks). Weights are fitted by FTRL-Proximal (McMahan
et al., 2013, "Ad click prediction: a view from the trenches", algorithm 1) without its L1 term, in batches: every
weight has a learning rate of its own, and λ holds back that of a rare id, so that it stays near 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import log

import numpy as np

from coset.errors import InputError
from coset.partitions.hashes import hash_words
from coset.schema import Component
from coset.settings import check_range, number, whole

MOST_BITS = 31
"""Of a bucket: hashes are words of 32 bits."""


@dataclass(frozen=True)
class LinearChoice:
    """The settings of a fit.

    Args:
        alpha: how far a weight moves: its learning rate is `alpha / (1 + √(the sum of its squared gradients))`.
        l2: λ, the weight of `λ/2 Σ w²` beside the sum of the log-losses.
        epochs: passes over the training rows.
    """

    alpha: float = 0.1
    l2: float = 10.0
    epochs: int = 1

    def __post_init__(self) -> None:
        for name in ("alpha", "l2"):
            object.__setattr__(self, name, number(f"linear: {name}", getattr(self, name)))
        if not self.alpha > 0:
            raise InputError(f"linear: alpha must be positive, not {self.alpha}")
        if not self.l2 >= 0:
            raise InputError(f"linear: l2 must be 0 or more, not {self.l2}")
        object.__setattr__(self, "epochs", whole("linear: epochs", self.epochs, 1))


@dataclass(frozen=True, eq=False)
class HashedRows:
    """Rows as the model takes them.

    Args:
        labels: 0 or 1, float64, shape `(rows,)`.
        numeric: float64, shape `(rows, numeric columns)`.
        buckets: int64, of all ids of a row, one row after the other.
        ends: of each row, how many of `buckets` there are up to its last, int64.
    """

    labels: np.ndarray
    numeric: np.ndarray
    buckets: np.ndarray
    ends: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def rows(self) -> np.ndarray:
        """Of each of `buckets`, the number of its row."""
        return np.repeat(np.arange(len(self)), np.diff(self.ends, prepend=0))

    def batches(self, size: int) -> Iterator[HashedRows]:
        """The rows in batches, in order; the last one may be smaller."""
        for at in range(0, len(self), size):
            rows = slice(at, at + size)
            begin, ends = int(self.ends[at - 1]) if at else 0, self.ends[rows]
            yield HashedRows(self.labels[rows], self.numeric[rows], self.buckets[begin : ends[-1]], ends - begin)


def hashed(
    labels: np.ndarray, numeric: np.ndarray, ids: np.ndarray, bags: Sequence[tuple[np.ndarray, np.ndarray]], bits: int
) -> HashedRows:
    """Rows with the buckets of their ids.

    Args:
        labels: shape `(rows,)`.
        numeric: shape `(rows, numeric columns)`.
        ids: one id a row of every one-hot feature, shape `(one-hot features, rows)`.
        bags: of multi-hot features, the ids of all rows one after the other, and where those of each row begin.
        bits: there are 2^bits buckets.

    Example:
        >>> import numpy as np
        >>> rows = hashed(np.zeros(2), np.zeros((2, 0)), np.array([[7, 7], [7, 8]]), [], 4)
        >>> rows.buckets, rows.ends
        (array([ 9, 12,  9, 11]), array([2, 4]))
    """
    check_range("linear: bits", bits, 1, MOST_BITS)
    last, seeds = (1 << bits) - 1, np.arange(len(ids), dtype=np.int64)
    buckets = hash_words(np.ascontiguousarray(ids.T, dtype=np.int64), seeds) & last
    lengths = np.full(len(labels), len(ids))
    if bags:
        rows, every = [np.repeat(np.arange(len(labels)), len(ids))], [buckets.reshape(-1)]
        for seed, (items, begins) in enumerate(bags, len(ids)):
            count = np.diff(begins, append=len(items))
            rows.append(np.repeat(np.arange(len(labels)), count))
            every.append(hash_words(items.astype(np.int64), np.int64(seed)) & last)
            lengths = lengths + count
        buckets = np.concatenate(every)[np.argsort(np.concatenate(rows), kind="stable")]
    return HashedRows(
        labels.astype(np.float64), numeric.astype(np.float64), buckets.reshape(-1), np.cumsum(lengths, dtype=np.int64)
    )


@dataclass(eq=False)
class HashedLinear:
    """A model and the state of its fit.

    Args:
        bits: it has 2^bits weights for ids.
        num_numeric: number of numeric columns.
        rate: the share of clicks that it begins at, in (0, 1).
        choice: the settings of its fit.

    Example:
        >>> import numpy as np
        >>> model = HashedLinear(8, 1, 0.5, LinearChoice(alpha=1.0, l2=0.0))
        >>> rows = hashed(np.array([1.0, 0.0]), np.zeros((2, 1)), np.array([[3, 4]]), [], 8)
        >>> model.fit([rows] * 5)
        >>> (model.logits(rows) > 0).tolist()
        [True, False]
    """

    bits: int
    num_numeric: int
    rate: float
    choice: LinearChoice = field(default_factory=LinearChoice)

    def __post_init__(self) -> None:
        check_range("linear: bits", self.bits, 1, MOST_BITS)
        if not 0 < self.rate < 1:
            raise InputError(f"linear: a model begins at a share of clicks between 0 and 1, not at {self.rate}")
        self.begin = log(self.rate / (1 - self.rate))
        # z and n of the paper: of ids, and of numeric columns with the intercept after them.
        self._z, self._n = np.zeros(1 << self.bits), np.zeros(1 << self.bits)
        self._dense_z, self._dense_n = np.zeros(self.num_numeric + 1), np.zeros(self.num_numeric + 1)

    def components(self) -> list[Component]:
        """What it stores: weights of ids, weights of numeric columns, the intercept; float32."""
        dense = [Component("numeric", self.num_numeric, 0)] if self.num_numeric else []
        return [Component("weights", 1 << self.bits, 0), *dense, Component("intercept", 1, 0)]

    def logits(self, rows: HashedRows) -> np.ndarray:
        """The logit of a click in each row, float64, shape `(rows,)`; the weights of all ids of a list are added up."""
        of_ids = self._weights(self._z[rows.buckets], self._n[rows.buckets])
        return self._logits(rows, of_ids, self._weights(self._dense_z, self._dense_n))

    def fit(self, batches: Iterable[HashedRows]) -> None:
        """Take a step with every batch, in order."""
        for batch in batches:
            self._step(batch)

    def _step(self, rows: HashedRows) -> None:
        # A bucket may occur many times in a batch, whose gradients are added up.
        met, place = np.unique(rows.buckets, return_inverse=True)
        z, n = self._z[met], self._n[met]
        weights, dense = self._weights(z, n), self._weights(self._dense_z, self._dense_n)
        gaps = _sigmoid(self._logits(rows, weights[place], dense)) - rows.labels
        gradient = np.bincount(place, gaps[rows.rows], len(met))
        self._z[met], self._n[met] = self._moved(z, n, weights, gradient)
        gradient = np.append(gaps @ rows.numeric, gaps.sum())
        self._dense_z, self._dense_n = self._moved(self._dense_z, self._dense_n, dense, gradient)

    def _logits(self, rows: HashedRows, of_ids: np.ndarray, dense: np.ndarray) -> np.ndarray:
        found = np.bincount(rows.rows, of_ids, len(rows))
        return np.asarray(found + rows.numeric @ dense[:-1] + (self.begin + dense[-1]))

    def _weights(self, z: np.ndarray, n: np.ndarray) -> np.ndarray:
        return np.asarray(-z / ((1 + np.sqrt(n)) / self.choice.alpha + self.choice.l2))

    def _moved(
        self, z: np.ndarray, n: np.ndarray, weights: np.ndarray, gradient: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """z and n after a gradient."""
        more = n + np.square(gradient)
        return z + gradient - (np.sqrt(more) - np.sqrt(n)) / self.choice.alpha * weights, more


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return np.asarray(np.exp(-np.logaddexp(0.0, -logits)))
