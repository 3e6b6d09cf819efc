"""Weighted least squares: the small arrays whose composed rows come nearest to a trained table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import reduce

import torch
from torch import Tensor

from coset.vectors import Vectors

_AT_ONCE = 2**24
_RESTARTS = 8
_SOLVED_AT_ONCE = 256
"""Up to this many rows, eigenvectors take less time than conjugate gradients."""


def columns_at_once(target: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """The columns of a table in float64, a few at a time: columns are independent problems, so memory need not hold
    several copies of a large table."""
    count = max(1, _AT_ONCE // len(target))
    for at in range(0, target.shape[1], count):
        columns = slice(at, min(at + count, target.shape[1]))
        yield columns, target[:, columns].double()


def alternating(
    target: Tensor, share: Tensor, rows: Sequence[Tensor], stored: Sequence[int], mult: bool
) -> list[Tensor]:
    """The arrays such that the sum (or product) of the rows of an id, one from each array, comes nearest to `target`.

    By alternating least squares: each array in turn is solved exactly with the others held. The arrays with the fewest
    rows start as a constant, so that the first array to be solved is a weighted mean. Products of three and more have
    local minima; elements are independent, so other starting values are tried for those that still have an error.

    Args:
        target: one row an id, shape `(n, width)`, float64.
        share: how much each id counts, shape `(n,)`.
        rows: which row of each array an id reads, shape `(n,)` each.
        stored: number of rows of each array.
        mult: products, not sums.

    Returns:
        Shape `(stored, width)` each.
    """
    shapes = [(size, target.shape[1]) for size in stored]
    parts, error = descend([target.new_full(shape, float(mult)) for shape in shapes], target, share, rows, mult)
    generator = torch.Generator().manual_seed(0)
    power = (share[:, None] * target.square()).sum(0)
    for _ in range(_RESTARTS if mult and len(parts) > 2 else 0):
        worse = error > 1e-3 * power
        if not bool(worse.any()):
            break
        before = float(error.sum())
        begun = [torch.randn(shape, generator=generator, dtype=target.dtype).to(target) for shape in shapes]
        others, found = descend([part[:, worse] for part in begun], target[:, worse], share, rows, mult)
        better = found < error[worse]
        at = torch.nonzero(worse).squeeze(-1)[better]
        error[at] = found[better]
        for part, other in zip(parts, others, strict=True):
            part[:, at] = other[:, better]
        if float(error.sum()) > 0.9 * before > 0.45 * float(power.sum()):
            break  # the table has no such structure
    return _balanced(parts) if mult else parts


def descend(
    parts: list[Tensor], target: Tensor, share: Tensor, rows: Sequence[Tensor], mult: bool, sweeps: int = 50
) -> tuple[list[Tensor], Tensor]:
    """The parts that alternating leads to from `parts`, and the weighted squared error left in each element."""
    order = sorted(range(len(parts)), key=lambda at: -len(parts[at]))
    error = target.new_full((target.shape[1],), float("inf"))
    for _ in range(sweeps):
        for at in order:
            others = [parts[o][rows[o]] for o in order if o != at]
            if mult:
                rest = reduce(torch.mul, others, torch.ones_like(target))
                over = sum_by(rest * target * share[:, None], rows[at], len(parts[at]))
                under = sum_by(rest.square() * share[:, None], rows[at], len(parts[at]))
                parts[at] = torch.where(under > 0, over / under.clamp_min(1e-300), parts[at])
            else:
                rest = reduce(torch.add, others, torch.zeros_like(target))
                parts[at] = _weighted_mean(target - rest, share, rows[at], len(parts[at]))
        whole = reduce(torch.mul if mult else torch.add, [p[row] for p, row in zip(parts, rows, strict=True)])
        previous, error = error, ((whole - target).square() * share[:, None]).sum(0)
        if float(previous.sum() - error.sum()) <= 1e-9 * float(error.sum()):
            break
    return parts, error


def principal(target: Tensor, share: Tensor, rank: int, centred: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """`(narrow, basis, centre)` with `narrow @ basis + centre` the best approximation of `target` of that rank, ids
    weighted; where not `centred`, the centre is zeros.

    Through the (dim × dim) weighted Gram matrix, whose leading eigenvectors span the best subspace; so the cost in
    memory does not grow with the number of ids, but for the narrow rows.
    """
    count = max(1, _AT_ONCE // target.shape[1])
    pieces = list(zip(target.split(count), share.split(count), strict=True))
    centre = torch.zeros(target.shape[1], dtype=torch.float64, device=target.device)
    if centred:
        for piece, part in pieces:
            centre += part @ piece.double()
    gram = torch.zeros(len(centre), len(centre), dtype=torch.float64, device=target.device)
    for piece, part in pieces:
        apart = piece.double() - centre
        gram += apart.t() @ (apart * part[:, None])
    _, vectors = torch.linalg.eigh(gram)
    basis = vectors[:, -rank:].flip(-1).t()
    narrow = torch.cat([((piece.double() - centre) @ basis.t()).to(target.dtype) for piece, _ in pieces])
    return narrow, basis, centre


def principal_axes(vectors: Vectors, share: Tensor, rank: int, centred: bool = False) -> tuple[Tensor, Tensor]:
    """`(basis, centre)` as `principal` finds them, in a pass over pieces of the vectors, or two."""
    centre = torch.zeros(vectors.width, dtype=torch.float64)
    if centred:
        for rows, numbers in vectors.pieces():
            centre += share[rows] @ numbers.double()
    gram = torch.zeros(len(centre), len(centre), dtype=torch.float64)
    for rows, numbers in vectors.pieces():
        apart = numbers.double() - centre
        gram += apart.t() @ (apart * share[rows, None])
    return torch.linalg.eigh(gram).eigenvectors[:, -rank:].flip(-1).t(), centre


def fitted_rows(target: Tensor, share: Tensor, rows: Tensor, stored: int, factors: Tensor | None = None) -> Tensor:
    """The array of `stored` rows such that the weighted sums of the rows of each id come nearest to `target`.

    Args:
        target: one row an id, shape `(n, width)`, float64.
        share: how much each id counts, shape `(n,)`.
        rows: which rows of the array each id reads, shape `(n, k)`.
        factors: the weight of each of these rows, shape `(n, k)`; 1 by default.

    Returns:
        Shape `(stored, width)`; rows that no id reads are zeros.
    """
    weight = share[:, None]
    times = torch.ones_like(rows, dtype=target.dtype) if factors is None else factors
    if stored <= _SOLVED_AT_ONCE:
        return _solved(target * weight, share, rows, stored, times)

    def read(array: Tensor) -> Tensor:
        return torch.einsum("nkw,nk->nw", array[rows], times)

    def spread(values: Tensor) -> Tensor:
        array = values.new_zeros(stored, values.shape[1])
        for k in range(rows.shape[1]):
            array.index_add_(0, rows[:, k], values * times[:, k : k + 1])
        return array

    return conjugate_gradients(lambda array: spread(read(array) * weight), spread(target * weight))


def _solved(moment: Tensor, share: Tensor, rows: Tensor, stored: int, times: Tensor) -> Tensor:
    """As `fitted_rows`, for few rows: the normal equations are a small matrix, and its eigenvectors give the
    minimum-norm solution."""
    pairs = rows[:, :, None] * stored + rows[:, None, :]
    products = share[:, None, None] * times[:, :, None] * times[:, None, :]
    normal = sum_by(products.reshape(-1), pairs.reshape(-1), stored * stored).view(stored, stored)
    values, vectors = torch.linalg.eigh(normal)
    seen = values > stored * torch.finfo(values.dtype).eps * values[-1]
    right = sum_by((moment[:, None] * times[:, :, None]).flatten(0, 1), rows.reshape(-1), stored)
    solution: Tensor = (vectors / torch.where(seen, values, torch.inf)) @ (vectors.t() @ right)
    return solution * (normal.diagonal() > 0)[:, None]  # rounding would leave small values in rows that no id reads


def conjugate_gradients(apply: Callable[[Tensor], Tensor], right: Tensor, steps: int = 200) -> Tensor:
    """`x` with `apply(x) = right` for a symmetric positive semidefinite `apply`, each column independent of the others
    (Hestenes and Stiefel, 1952); of several solutions, the one of minimum norm."""
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


def sum_by(values: Tensor, place: Tensor, places: int) -> Tensor:
    """Sums of the values at each place, shape `(places, *values.shape[1:])`."""
    return values.new_zeros(places, *values.shape[1:]).index_add_(0, place, values)


def _weighted_mean(values: Tensor, share: Tensor, row: Tensor, rows: int) -> Tensor:
    """Mean of the values of each row, weighted by `share`; rows without weight take the plain mean."""
    weight = share[:, None] + 1e-12 * share.max()
    total = sum_by(weight, row, rows)
    return sum_by(values * weight, row, rows) / total.clamp_min(1e-300)


def _balanced(parts: list[Tensor]) -> list[Tensor]:
    """The same products, with all factors of one element at the same root mean square."""
    norms = [part.square().mean(0).sqrt().clamp_min(1e-30) for part in parts]
    middle = torch.stack(norms).log().mean(0).exp()
    return [part * (middle / norm) for part, norm in zip(parts, norms, strict=True)]
