"""The signal in some data: what vectors are worth on them, fitted to what they gained on rows that were held out.

A model of vectors of K dims gains over biases alone, on rows of a user with m training rows and an item with n,

    unit · Σ_{k ≤ K} λ_k s_k(m) s_k(n)

with the λ_k and s_k of `Proxy`. `Signal.fitted` finds the unit, ν and the decay of the spectrum by least squares from
the mean gains of groups of rows, at several K. A weak prior keeps ν and the decay near the proxy's own where gains are
too noisy to tell.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from coset.planning.proxy import Proxy

_ROWS = 8.0 * 2.0 ** np.arange(-3, 7)
_DECAYS = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0)
_SURE = 1.0
"""Standard errors that a gain must be above 0 by to count as one."""
NOTICED = 1e-3
"""Gains below this share of the score are not worth any bytes."""


@dataclass(frozen=True, eq=False)
class Gains:
    """What vectors gained over biases alone on held-out rows.

    Args:
        counts: training rows of the ids of both sides, shape `(rows, 2)`.
        dims: the numbers K of dims that were measured, rising.
        gains: by how much the error of each row was less, shape `(rows, len(dims))`.
    """

    counts: np.ndarray
    dims: tuple[int, ...]
    gains: np.ndarray


@dataclass(frozen=True)
class Foretold:
    """What a model reaches on rows that were held out of its training.

    Args:
        alone: the score of biases alone there.
        gain: by how much it is better.
        error: the standard error of the gain.
        rows: the training rows, with those that were held out.
    """

    alone: float
    gain: float
    error: float
    rows: int


@dataclass(frozen=True)
class Leaner:
    """A model that stores less beside its tables.

    Args:
        model: the changes to its settings.
        loss: by how much the score is worse.
        why: what is stored in place of what, as part of a sentence.
        error: the standard error of the loss.
    """

    model: Mapping[str, Any]
    loss: float
    why: str
    error: float = 0.0


@dataclass(frozen=True)
class Signal:
    """What vectors are worth on some data.

    Args:
        proxy: the constants that suit these data.
        unit: by how much the score gets better for a worth of 1 (`proxy.worth`).
        alone: the score of biases alone on the rows that were held out.
        gain: by how much vectors made it better there.
        error: the standard error of the gain.
        residual: how far fitted gains are from measured ones, as a root mean square over numbers of dims.
        rows: how many rows they were learned from.
        sharing: a number of training rows, by how much the score is worse if ids with fewer share what is stored beside
            tables, and the standard error of that; several for each side.

    Example:
        >>> Signal(Proxy(), unit=0.0, alone=1.03, gain=-0.001, error=0.002, residual=0.0, rows=1000).found
        False
    """

    proxy: Proxy
    unit: float
    alone: float
    gain: float
    error: float
    residual: float
    rows: int
    sharing: tuple[tuple[tuple[int, float, float], ...], ...] = ()

    @property
    def found(self) -> bool:
        """Whether vectors gained more than chance explains, and enough to be noticed."""
        return self.unit > 0 and self.gain > max(_SURE * self.error, self.least)

    @property
    def least(self) -> float:
        """The gain that is worth bytes at all."""
        return NOTICED * abs(self.alone)

    def gained(self, worth: float) -> float:
        """By how much the score gets better for this worth, on the data that it was measured on."""
        return self.unit * worth

    def within(self, share: float, more: float = 0.0) -> float:
        """Half the width of the 95 % interval of a share of the gain, less a loss of which `more` is the standard
        error."""
        return float(2 * np.hypot(np.hypot(share * self.error, self.residual), more))

    @staticmethod
    def fitted(measured: Gains, alone: float, rows: int, proxy: Proxy | None = None) -> Signal:
        """The signal that these gains show.

        Args:
            measured: on the rows that were held out, one at least.
            alone: the score of biases alone there.
            rows: how many were learned from.
            proxy: the constants near which the fitted ones are where gains do not tell.
        """
        prior = proxy or Proxy()
        gains = measured.gains.astype(np.float64)
        many, mean = len(gains), gains.mean(0)
        variance = max(float(gains[:, -1].var()), 1e-300)
        counts, weights, grouped = _groups(measured, gains)
        best: tuple[float, Proxy, float, np.ndarray] | None = None
        for decay in _DECAYS:
            for nu in _ROWS:
                tried = replace(prior, decay=decay, noise=1e-9, rows=float(nu))
                shares = tried.learned(counts[:, 0], 2) * tried.learned(counts[:, 1], 2) * tried.spectrum
                told = shares.cumsum(1)[:, [dims - 1 for dims in measured.dims]]
                squares = float((weights[:, None] * told * told).sum())
                unit = max(0.0, float((weights[:, None] * told * grouped).sum()) / max(squares, 1e-300))
                missed = float((weights[:, None] * np.square(grouped - unit * told)).sum()) / variance
                missed += float(np.log(nu / prior.rows) ** 2) + (decay - prior.decay) ** 2
                if best is None or missed < best[0]:
                    best = missed, tried, unit, unit * (weights @ told) / many
        assert best is not None
        _, found, unit, predicted = best
        residual = float(np.sqrt(np.square(predicted - mean).mean()))
        error = float(np.sqrt(variance / many))
        return Signal(found, unit, float(alone), float(mean.max()), error, residual, rows)


def _groups(measured: Gains, gains: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean counts, numbers of rows and mean gains of rows whose ids have counts of the same powers of two."""
    power = np.floor(np.log2(measured.counts + 1)).astype(np.int64)
    _, group = np.unique(power[:, 0] * 64 + power[:, 1], return_inverse=True)
    weights = np.bincount(group).astype(np.float64)

    def mean(column: np.ndarray) -> np.ndarray:
        return np.asarray(np.bincount(group, column) / weights)

    counts = np.stack([mean(measured.counts[:, side].astype(np.float64)) for side in (0, 1)], axis=1)
    return counts, weights, np.stack([mean(column) for column in gains.T], axis=1)
