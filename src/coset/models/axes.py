"""Principal axes: two tables turned so that their products stay, and dims fall in importance.

The products of rows `l · r` stay the same if all left rows are multiplied by an invertible matrix and all right rows by
the transpose of its inverse. Of all these forms one has dims that are uncorrelated on both sides and equally large on
both, as reads weigh them:

    Σ m_i l_i l_iᵀ / Σ m  =  Σ n_j r_j r_jᵀ / Σ n  =  diag(s),        s falling

where m and n are how often rows are read. It is the singular value decomposition of the table of all products, rows and
columns weighted by √m and √n, with the singular values shared out evenly (of vectors that are read alike often, the
principal axes of the products). Leaving dims out at its end loses least of the products, and rounding errors of a dim
weigh alike on either side.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from coset.errors import InputError

_NOTHING = 1e-12
"""Of the largest second moment: what a direction has that no row has anything of."""
_SELDOM = 1e-3
"""Of the mean count: what rows that are never read count, so that their products stay too."""


class Axes(NamedTuple):
    """Two tables, turned.

    Args:
        left, right: of the shapes and types of those given.
        strength: s of each dim: the mean square of the products that a dim adds is its square.
        left_turn, right_turn: what left and right rows were multiplied by, from the right; float64,
            shape `(dim, dim)`.
    """

    left: Tensor
    right: Tensor
    strength: Tensor
    left_turn: Tensor
    right_turn: Tensor


@torch.no_grad()
def principal_axes(
    left: Tensor, right: Tensor, left_counts: Tensor | None = None, right_counts: Tensor | None = None
) -> Axes:
    """Both tables in the form above. Dims that add nothing are last, and 0.

    Args:
        left, right: tables, shapes `(rows, dim)` and `(other rows, dim)`.
        left_counts, right_counts: how often their rows are read, shape `(rows,)`; alike by default.

    Raises:
        InputError: dims differ, a number is not finite, or counts do not fit.

    Example:
        >>> left, right = torch.tensor([[0.0, 2.0], [1.0, 0.0]]), torch.tensor([[0.0, 3.0], [1.0, 0.0]])
        >>> found = principal_axes(left, right)
        >>> (found.left @ found.right.T).round(decimals=5).abs(), found.strength
        (tensor([[6., 0.],
                [0., 1.]]), tensor([3.0000, 0.5000], dtype=torch.float64))
    """
    if left.dim() != 2 or right.dim() != 2 or left.shape[1] != right.shape[1]:
        raise InputError(
            "tables whose products are scores have rows of the same dim, not the shapes "
            f"{tuple(left.shape)} and {tuple(right.shape)}"
        )
    ours, theirs = _moments("left", left, left_counts), _moments("right", right, right_counts)
    values, vectors = torch.linalg.eigh(ours)
    there = values > _NOTHING * values.max().clamp(min=torch.finfo(torch.float64).tiny)
    root = torch.where(there, values, 0.0).sqrt()
    whiten, colour = vectors * torch.where(there, 1 / root, 0.0), vectors * root
    squares, turn = torch.linalg.eigh(colour.T @ theirs @ colour)
    squares, turn = squares.flip(0).clamp(min=0), turn.flip(1)
    shared = torch.where(squares > _NOTHING**2 * squares.max(), squares, 0.0) ** 0.25
    inverse = torch.where(shared > 0, 1 / shared, 0.0)
    left_turn, right_turn = whiten @ turn * shared, colour @ turn * inverse
    # Of either sign, the one in which most of the left column is positive, so that the form is one and the same.
    sign = torch.where((left.double() @ left_turn).sum(0) < 0, -1.0, 1.0)
    left_turn, right_turn = left_turn * sign, right_turn * sign
    return Axes(
        (left.double() @ left_turn).to(left.dtype),
        (right.double() @ right_turn).to(right.dtype),
        shared.square(),
        left_turn,
        right_turn,
    )


def _moments(side: str, table: Tensor, counts: Tensor | None) -> Tensor:
    """The second moments of a table's columns, as reads weigh them."""
    if not bool(table.isfinite().all()):
        row = int((~table.isfinite()).any(1).nonzero()[0])
        raise InputError(f"the {side} table has a number in row {row} that is not finite")
    if counts is None:
        weights = torch.ones(len(table), dtype=torch.float64, device=table.device)
    else:
        if counts.shape != (len(table),):
            raise InputError(
                f"counts of the {side} table must have the shape ({len(table)},), not {tuple(counts.shape)}"
            )
        if not bool((counts >= 0).all()):
            raise InputError(f"counts of the {side} table must be 0 or more, and one is {float(counts.min())}")
        weights = counts.double()
        mean = weights.mean() if bool(weights.any()) else weights.new_ones(())
        weights = torch.where(weights > 0, weights, _SELDOM * mean)
    wide = table.double()
    return wide.T @ (wide * weights.unsqueeze(1)) / weights.sum()
