"""Factors of ratings: what vectors of users and items find in the residuals of biases, without choices.

`residual ≈ user vector · item vector`, by variational Bayes (Lim and Teh, 2007, "Variational Bayesian approach to movie
rating prediction"; Raiko, Ilin and Karhunen, 2007, "Principal component analysis for large scale problems with lots of
missing values"). Vectors have a Gaussian prior whose deviation in each dim is learned, as is that of the noise. Given
the vectors of the other side, an id of n rows with regressors v has the posterior covariance

    C = (Σ E[v vᵀ] / noise + diag(1 / prior))⁻¹        and the mean        C Σ E[v] residual / noise.

So an id with few rows keeps a vector near 0, and where residuals are nothing but noise the priors, and with them all
vectors, shrink to 0. Nothing is to be tuned, and each of the few rounds is two products of sparse matrices.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

ROUNDS = 12
_BEGIN = 0.3
"""Of the noise: the variance that a dim is first assumed to have, on each side."""
_LEAST = 1e-9


@dataclass(frozen=True, eq=False)
class Factors:
    """A solution, the dims that explain most first.

    Args:
        user, item: the means of the vectors, float64, shape `(ids, dims)`.
        noise: the variance of what is left.
    """

    user: np.ndarray = field(repr=False)
    item: np.ndarray = field(repr=False)
    noise: float

    def products(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """What each dim adds to the ratings of pairs of ids, shape `(pairs, dims)`."""
        return np.asarray(self.user[users] * self.item[items])


def factors(
    users: np.ndarray, items: np.ndarray, residuals: np.ndarray, sizes: tuple[int, int], dims: int, seed: int = 0,
    rounds: int = ROUNDS,
) -> Factors:  # fmt: skip
    """The factors of these residuals.

    Args:
        users, items: ids, shape `(rows,)`.
        residuals: of the same shape.
        sizes: number of users and of items.
        dims: most of them; those that explain nothing shrink to 0.
        seed: of the vectors of items that it begins with.
        rounds: how many times users and items are solved in turn.

    Example:
        >>> import numpy as np
        >>> side = np.where(np.arange(40) % 2, 1.0, -1.0)
        >>> users, items = (of.ravel() for of in np.indices((40, 40)))
        >>> found = factors(users, items, side[users] * side[items], (40, 40), dims=2)
        >>> found.products(np.array([0, 0]), np.array([0, 1])).sum(1).round(1)
        array([ 1., -1.])
    """
    values = np.asarray(residuals, np.float64)
    mine, theirs = _Side(users, items, values, sizes), _Side(items, users, values, sizes[::-1])
    squares = float(values @ values)
    noise = max(squares / max(1, len(values)), _LEAST)
    prior = [torch.full((dims,), _BEGIN * noise**0.5, dtype=torch.float64)] * 2
    begin = np.random.Generator(np.random.PCG64(seed)).standard_normal((sizes[1], dims))
    item, spread = torch.from_numpy(begin) * prior[1].sqrt(), torch.zeros(sizes[1], dims, dims, dtype=torch.float64)
    for _ in range(rounds):
        user, apart, _, _ = mine.posterior(item, spread, prior[0], noise)
        item, spread, seen, met = theirs.posterior(user, apart, prior[1], noise)
        prior = [mine.variances(user, apart), theirs.variances(item, spread)]
        # Σ (r - u·v)² expected: the products of second moments are in what the items were solved from.
        crossed = float((met * item).sum())
        second = float((seen * (spread + item.unsqueeze(2) * item.unsqueeze(1))).sum())
        noise = max((squares - 2 * crossed + second) / max(1, len(values)), _LEAST)
    return Factors(*_apart(user.numpy(), item.numpy(), mine.counts, theirs.counts), noise)


class _Side:
    """The rows of one side's ids, as sparse matrices: own ids by others'."""

    def __init__(self, own: np.ndarray, others: np.ndarray, values: np.ndarray, sizes: tuple[int, int]) -> None:
        order = np.lexsort((others, own))
        self.counts = np.bincount(own, minlength=sizes[0])
        starts = torch.from_numpy(np.concatenate([[0], np.cumsum(self.counts)]))
        columns, sorted_values = torch.from_numpy(others[order].astype(np.int64)), torch.from_numpy(values[order])
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sparse")  # that torch may change their interface
            self._met = torch.sparse_csr_tensor(starts, columns, torch.ones_like(sorted_values), sizes)
            self._values = torch.sparse_csr_tensor(starts, columns, sorted_values, sizes)
        self._known = torch.from_numpy(self.counts > 0)

    def posterior(
        self, others: Tensor, spread: Tensor, prior: Tensor, noise: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Means and covariances of own vectors given the others', and the sums of E[v vᵀ] and of E[v] residual."""
        dims = others.shape[1]
        left, right = torch.triu_indices(dims, dims)
        second = (spread + others.unsqueeze(2) * others.unsqueeze(1))[:, left, right].contiguous()
        found = self._met @ second
        seen = found.new_empty(len(found), dims, dims)
        seen[:, left, right] = found
        seen[:, right, left] = found
        met = self._values @ others
        covariance = torch.linalg.inv(seen / noise + torch.diag(1 / prior))
        return (covariance @ met.unsqueeze(2)).squeeze(2) / noise, covariance, seen, met

    def variances(self, mean: Tensor, covariance: Tensor) -> Tensor:
        """The mean of E[v²] of each dim over the ids that have rows."""
        second = mean.square() + covariance.diagonal(dim1=1, dim2=2)
        return second[self._known].mean(0).clamp(min=_LEAST)


def _apart(user: np.ndarray, item: np.ndarray, many: np.ndarray, more: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same products in dims of their own: those of ratings are uncorrelated on either side, and fall."""
    left, right = (of.T @ (of * rows[:, None]) / max(1, rows.sum()) for of, rows in ((user, many), (item, more)))
    values, vectors = np.linalg.eigh(left)
    root = np.sqrt(np.maximum(values, max(1e-12 * values.max(), 1e-300)))
    whiten, colour = vectors / root, vectors * root
    _, turn = np.linalg.eigh(colour.T @ right @ colour)
    turn = turn[:, ::-1]
    return user @ (whiten @ turn), item @ (colour @ turn)
