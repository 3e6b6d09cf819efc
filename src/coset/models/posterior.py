"""Biases and vectors of ratings, learned in closed form, with what is not known about them.

`rating ≈ mean + user bias + item bias + user vector · item vector`, by variational Bayes as in `factors`, with three
differences. Biases are learned together with vectors: to the users an item is the regressors `(vector, 1)` of ratings
less the item's bias, and the other way round. Priors have a mean that goes with popularity, since what few rate is
rated unlike what many rate: ids in order of their counts are cut into a few groups, and each group's mean is learned,
with two further ids at 0. And covariances are kept, as rounding needs them (`rounding`).

Given the other side, an id whose regressors are z has the precision and the mean

    P = Σ E[z zᵀ] / noise + prior precision,        P⁻¹ (Σ E[z (rating - mean - other bias)] / noise + prior · prior mean).
"""  # noqa: E501

from __future__ import annotations

import warnings
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from coset.errors import InputError
from coset.models.axes import principal_axes

ROUNDS = 30
GROUPS = 8
_BEGIN_VECTORS, _BEGIN_BIASES = 0.1, 0.25
"""Variances that are assumed first."""
_LEAST = 1e-9


class Ratings(NamedTuple):
    """What is learned from: ids of users and items and ratings, shape `(rows,)` each; and how many ids there are.
    Ratings should vary by about 1, as those of five stars do: the variances that are assumed first fit these."""

    users: np.ndarray
    items: np.ndarray
    values: np.ndarray
    sizes: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Side:
    """What is known of the ids of one side. The last column is the bias.

    Args:
        means: shape `(ids, dims + 1)`, float64.
        spread: the covariances, shape `(ids, dims + 1, dims + 1)`.
        prior: the precision of the prior, shape `(dims + 1, dims + 1)`.
        expected: the prior means, of the shape of `means`.
        counts: of the training rows of each id.
    """

    means: Tensor = field(repr=False)
    spread: Tensor = field(repr=False)
    prior: Tensor = field(repr=False)
    expected: Tensor = field(repr=False)
    counts: Tensor = field(repr=False)

    @property
    def vectors(self) -> Tensor:
        """The means of the vectors."""
        return self.means[:, :-1]

    @property
    def biases(self) -> Tensor:
        """The means of the biases, shape `(ids,)`."""
        return self.means[:, -1]

    def turned(self, by: Tensor) -> Side:
        """With vectors multiplied by a matrix."""
        turn = torch.eye(len(by) + 1, dtype=by.dtype)
        turn[:-1, :-1] = by
        back = torch.linalg.inv(turn)
        spread = turn.T @ self.spread @ turn
        return Side(self.means @ turn, spread, back @ self.prior @ back.T, self.expected @ turn, self.counts)


@dataclass(frozen=True, eq=False)
class Posterior:
    """What ratings tell.

    Args:
        user, item: see `Side`.
        mean: of the ratings.
        noise: the variance that is left.
    """

    user: Side
    item: Side
    mean: float
    noise: float

    @property
    def sides(self) -> tuple[Side, Side]:
        """Users and items."""
        return self.user, self.item

    def predict(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Ratings of pairs of ids, not cut to any range."""
        return predicted(self.mean, (self.user.means, self.item.means), users, items)

    def turned(self) -> Posterior:
        """The same, vectors in their principal axes (`principal_axes`), so that bits can be found for them.

        Raises:
            InputError: a dim that adds nothing; learn fewer dims.
        """
        axes = principal_axes(self.user.vectors, self.item.vectors, self.user.counts, self.item.counts)
        if not bool((axes.strength > 0).all()):
            some = int((axes.strength > 0).sum())
            raise InputError(f"{some} dims explain all that these ratings show; learn no more")
        return replace(self, user=self.user.turned(axes.left_turn), item=self.item.turned(axes.right_turn))


def predicted(mean: float, sides: tuple[Tensor, Tensor], users: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Ratings of pairs of ids, from vectors and biases side by side."""
    left, right = sides[0][torch.as_tensor(users)], sides[1][torch.as_tensor(items)]
    return np.asarray(mean + (left[:, :-1] * right[:, :-1]).sum(1) + left[:, -1] + right[:, -1])


def posterior(ratings: Ratings, dims: int, seed: int = 0, rounds: int = ROUNDS, groups: int = GROUPS) -> Posterior:
    """Learn biases and vectors.

    Args:
        ratings: the training rows.
        dims: of the vectors, at least 1.
        seed: of the vectors of items that it begins with.
        rounds: how many times users and items are solved in turn.
        groups: by popularity, that have prior means of their own.

    Example:
        >>> side = np.where(np.arange(40) % 2, 1.0, -1.0)
        >>> users, items = (of.ravel() for of in np.indices((40, 40)))
        >>> found = posterior(Ratings(users, items, 3 + side[users] * side[items], (40, 40)), dims=1)
        >>> found.predict(np.array([0, 0]), np.array([0, 1])).round(1)
        array([4., 2.])
    """
    if dims < 1:
        raise InputError(f"vectors have at least 1 dim, not {dims}")
    mean = float(np.mean(ratings.values))
    met = (Met(ratings, 0, mean), Met(ratings, 1, mean))
    begin = np.random.default_rng(seed).standard_normal((ratings.sizes[1], dims)) * _BEGIN_VECTORS**0.5
    variances = torch.tensor([_BEGIN_VECTORS] * dims + [_BEGIN_BIASES], dtype=torch.float64)

    def fresh(of: Met) -> Side:
        zeros = torch.zeros(len(of.counts), dims + 1, dtype=torch.float64)
        spread = torch.zeros(len(of.counts), dims + 1, dims + 1, dtype=torch.float64)
        return Side(zeros, spread, torch.diag(1 / variances), zeros, of.counts)

    sides = [fresh(of) for of in met]
    sides[1].means[:, :-1] = torch.from_numpy(begin)
    noise = max(float(np.var(ratings.values)), _LEAST)
    for number in range(rounds):
        for own, other in ((0, 1), (1, 0)):
            precision, right = met[own].equations(sides[other], sides[own], noise)
            spread = torch.linalg.inv(precision)
            means = (spread @ right.unsqueeze(2)).squeeze(2)
            sides[own] = replace(sides[own], means=means, spread=spread)
            if number:
                sides[own] = _with_prior(sides[own], groups)
        noise = max(_noise(met[0], *sides), _LEAST)
    return Posterior(sides[0], sides[1], mean, noise)


class Met:
    """The ratings of one side's ids, as sparse matrices: own ids by others'.

    Args:
        ratings: see `Ratings`.
        side: 0 for users, 1 for items.
        mean: that is taken off the ratings.
    """

    def __init__(self, ratings: Ratings, side: int, mean: float) -> None:
        own, others = (ratings.users, ratings.items) if side == 0 else (ratings.items, ratings.users)
        sizes = ratings.sizes if side == 0 else ratings.sizes[::-1]
        order = np.lexsort((others, own))
        counts = np.bincount(own, minlength=sizes[0])
        starts = torch.from_numpy(np.concatenate([[0], np.cumsum(counts)]))
        columns = torch.from_numpy(others[order].astype(np.int64))
        values = torch.from_numpy(np.asarray(ratings.values, np.float64)[order] - mean)
        self.counts = torch.from_numpy(counts)
        self.squares = float(values @ values)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sparse")  # that torch may change their interface
            self._met = torch.sparse_csr_tensor(starts, columns, torch.ones_like(values), sizes)
            self._values = torch.sparse_csr_tensor(starts, columns, values, sizes)

    def sums(self, other: Side) -> tuple[Tensor, Tensor]:
        """Σ E[z zᵀ] and Σ E[z (rating - mean - other bias)] of each own id."""
        means = other.means
        seen = means.clone()
        seen[:, -1] = 1.0
        size = seen.shape[1]
        second = seen.unsqueeze(2) * seen.unsqueeze(1)
        second[:, :-1, :-1] += other.spread[:, :-1, :-1]
        biased = seen * means[:, -1:]
        biased[:, :-1] += other.spread[:, :-1, -1]
        first, last = torch.triu_indices(size, size)
        together = self._met @ torch.cat([second[:, first, last], biased], 1)
        sums = together.new_empty(len(together), size, size)
        sums[:, first, last] = sums[:, last, first] = together[:, : len(first)]
        return sums, self._values @ seen - together[:, len(first) :]

    def equations(self, other: Side, own: Side, noise: float) -> tuple[Tensor, Tensor]:
        """The precision of each own id and its right-hand side, of which the mean is the solution."""
        sums, right = self.sums(other)
        return sums / noise + own.prior, right / noise + own.expected @ own.prior

    def others(self, numbers: Tensor) -> Tensor:
        """The sum of a number of the other id over all ratings."""
        return (self._met @ numbers.unsqueeze(1)).sum()

    def of_others(self, numbers: Tensor) -> Tensor:
        """The same, each times the rating less the mean."""
        return (self._values @ numbers.unsqueeze(1)).sum()


def _with_prior(side: Side, groups: int) -> Side:
    """With the prior that suits its means best."""
    order = torch.argsort(side.counts, descending=True, stable=True)
    upto = side.counts[order].double().clamp(min=0.25).sqrt().cumsum(0)
    group = torch.empty_like(order)
    group[order] = (upto / upto[-1] * groups).long().clamp(max=groups - 1)
    sums = torch.zeros(groups, side.means.shape[1], dtype=torch.float64).index_add_(0, group, side.means)
    many = torch.bincount(group, minlength=groups).unsqueeze(1)
    expected = (sums / (many + 2))[group]
    variances = ((side.means - expected).square() + side.spread.diagonal(dim1=1, dim2=2)).mean(0).clamp(min=_LEAST)
    return replace(side, expected=expected, prior=torch.diag(1 / variances))


def _noise(met: Met, own: Side, other: Side) -> float:
    """The mean of (rating - prediction)², expected."""
    sums, right = met.sums(other)
    second = own.spread + own.means.unsqueeze(2) * own.means.unsqueeze(1)
    # (r - b - w·z)² = (r - b)² - 2 (r - b) w·z + (w·z)², where b is the other's bias.
    bias, unsure = other.means[:, -1], other.spread[:, -1, -1]
    left = met.squares - 2 * float(met.of_others(bias)) + float(met.others(bias.square() + unsure))
    return (left - 2 * float((right * own.means).sum()) + float((sums * second).sum())) / int(met.counts.sum())
