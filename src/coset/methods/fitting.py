"""Least squares for arrays that ids read in several places, so that no row can be solved for alone."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def fitted_rows(target: Tensor, share: Tensor, rows: Tensor, stored: int, factors: Tensor | None = None) -> Tensor:
    """The array of `stored` rows whose weighted sums come nearest to `target`.

    Args:
        target: one row an id, shape `(n, width)`, float64.
        share: how much each id counts, shape `(n,)`.
        rows: which rows of the array each id reads, shape `(n, k)`.
        factors: how it weighs them, shape `(n, k)`; 1 by default.

    Returns:
        Shape `(stored, width)`; rows that no id reads are zeros.
    """
    weight = share[:, None]
    times = torch.ones_like(rows, dtype=target.dtype) if factors is None else factors

    def read(array: Tensor) -> Tensor:
        return torch.einsum("nkw,nk->nw", array[rows], times)

    def spread(values: Tensor) -> Tensor:
        array = values.new_zeros(stored, values.shape[1])
        for k in range(rows.shape[1]):
            array.index_add_(0, rows[:, k], values * times[:, k : k + 1])
        return array

    return conjugate_gradients(lambda array: spread(read(array) * weight), spread(target * weight))


def conjugate_gradients(apply: Callable[[Tensor], Tensor], right: Tensor, steps: int = 200) -> Tensor:
    """`x` with `apply(x) = right` for a symmetric positive semidefinite `apply`, each column a problem of its own
    (Hestenes and Stiefel, 1952); of several solutions the shortest."""
    found, left, way = torch.zeros_like(right), right, right
    size = left.square().sum(0)
    enough = 1e-20 * size
    for _ in range(steps):
        ahead = apply(way)
        step = size / (way * ahead).sum(0).clamp_min(1e-300)
        found, left = found + step * way, left - step * ahead
        previous, size = size, left.square().sum(0)
        if bool((size <= enough).all()):
            break
        way = left + size / previous.clamp_min(1e-300) * way
    return found
