"""Rounding a model of ratings: every number to a level of few bits, so that ratings are predicted best.

Rounding each number to its nearest level ignores that the numbers of a row make up for each other's errors, and that
the other side may answer. Here users and items are rounded in turn. Given the other side, rounded or not, an id with
precision P and right-hand side h (`posterior`) takes levels q that make

    ½ qᵀ P q - qᵀ h

small: from the levels nearest to the solution, one column after the other moves to its best level given the others,
until none moves. Given all levels, the same sum is quadratic in the steps, which are then solved for, all of a side at
once. What is not known of the other side stays in P after it is rounded, and beside its ratings each id keeps near what
was predicted of it for other ids before (`trust`); otherwise levels would follow the noise of the ratings.
No gradients, learning rates or epochs: a few sweeps settle it.

Blocks and bits come from `planning.bits`, where the error of a number weighs by how often its row is read and by the
mean square of what it is multiplied by.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from coset.errors import InputError
from coset.models.posterior import Met, Posterior, Ratings, Side, predicted
from coset.planning.bits import allocate_bits
from coset.planning.numbers import BitBlocks, Numbers
from coset.storage.levels import Levels, least_squares_steps

SWEEPS = 3
TRUST = 0.1
"""Rows that the predictions before rounding count, for each row of ratings."""
_PASSES = 10
"""Over the columns of a row, at most."""
_INNER = 3
"""Times that levels and steps are found in turn, in a sweep."""
_READ = 1.0
"""What is added to the counts of ids, as those without ratings are predicted too."""


class Blocks4(NamedTuple):
    """The blocks of the four arrays of a model; ids of each are in order of popularity."""

    user: BitBlocks
    item: BitBlocks
    user_biases: BitBlocks
    item_biases: BitBlocks


@dataclass(frozen=True, eq=False)
class Rounded:
    """A model whose numbers are levels of their steps.

    Args:
        user, item: vectors, shape `(ids, dims)`, float64; columns that are not stored are 0.
        user_biases, item_biases: shape `(ids, 1)`.
        steps: of each array in the order of `Blocks4`, a row a block, shape `(blocks, columns)`; 0 where nothing is
            stored.
        mean: of the ratings.
    """

    user: Tensor = field(repr=False)
    item: Tensor = field(repr=False)
    user_biases: Tensor = field(repr=False)
    item_biases: Tensor = field(repr=False)
    steps: tuple[Tensor, Tensor, Tensor, Tensor] = field(repr=False)
    mean: float

    def predict(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Ratings of pairs of ids, not cut to any range."""
        sides = torch.cat([self.user, self.user_biases], 1), torch.cat([self.item, self.item_biases], 1)
        return predicted(self.mean, sides, users, items)


def bits_for(found: Posterior, budget: int, *, most_bits: int = 6, step_bytes: int = 2) -> Blocks4:
    """The blocks and bits of a model in its principal axes (`Posterior.turned`) that lose least within a budget.

    Args:
        found: what ratings tell; ids of both sides in order of popularity.
        budget: in bytes, for codes and steps of vectors and biases.
        most_bits, step_bytes: see `allocate_bits`.
    """

    def importance(side: Side) -> Tensor:
        counts = side.counts.double()
        return counts @ side.vectors.square() / counts.sum()

    one, (user, item) = torch.ones(1), found.sides
    arrays = [
        Numbers(user.vectors, user.counts + _READ, importance(item)),
        Numbers(item.vectors, item.counts + _READ, importance(user)),
        Numbers(user.biases.unsqueeze(1), user.counts + _READ, one),
        Numbers(item.biases.unsqueeze(1), item.counts + _READ, one),
    ]
    return Blocks4(*allocate_bits(arrays, budget, most_bits=most_bits, step_bytes=step_bytes))


def rounded(
    ratings: Ratings, found: Posterior, blocks: Blocks4, *, sweeps: int = SWEEPS,
    trust: float = TRUST,
    storable: Callable[[Tensor], Tensor] = lambda steps: steps.half().to(steps.dtype),
) -> Rounded:  # fmt: skip
    """The model, rounded.

    Args:
        ratings: those that `found` was learned from.
        found: what they tell, in the axes that `blocks` were found for.
        blocks: see `bits_for`.
        sweeps: times that users and items are rounded in turn.
        trust: how much the predictions before rounding count, for ids of the other side as often as they are read; 1 as
            much as all ratings.
        storable: gives steps the nearest values that can be stored.

    Raises:
        InputError: blocks that do not fit the model, no sweeps, or a trust below 0.

    Example:
        >>> side = np.where(np.arange(40) % 2, 1.0, -1.0)
        >>> users, items = (of.ravel() for of in np.indices((40, 40)))
        >>> ratings = Ratings(users, items, 3 + side[users] * side[items], (40, 40))
        >>> from coset.models.posterior import posterior
        >>> found = posterior(ratings, dims=1).turned()
        >>> rounded(ratings, found, bits_for(found, 20)).predict(np.array([0, 0]), np.array([0, 1])).round(1)
        array([4., 2.])
    """
    if sweeps < 1:
        raise InputError(f"rounding takes at least 1 sweep, not {sweeps}")
    if not trust >= 0:
        raise InputError(f"trust must be 0 or more, not {trust}")
    grids = [_Grid(side, blocks[own], blocks[own + 2]) for own, side in enumerate(found.sides)]
    met, sides = [Met(ratings, own, found.mean) for own in (0, 1)], list(found.sides)
    for _ in range(sweeps):
        for own, other in ((0, 1), (1, 0)):
            precision, right = met[own].equations(sides[other], sides[own], found.noise)
            kept, toward = _kept(found, own, sides[other])
            many = trust * met[own].counts.double() / found.noise
            precision = precision + many[:, None, None] * kept
            right = right + many.unsqueeze(1) * toward
            spread = torch.linalg.inv(precision)
            if not grids[own].ready:
                grids[own].begin((spread @ right.unsqueeze(2)).squeeze(2), met[own].counts, storable)
            for _ in range(_INNER):
                grids[own].move(precision, right)
                grids[own].fit(precision, right, storable)
            sides[own] = replace(sides[own], means=grids[own].numbers, spread=spread)
    user, item = (side.means for side in sides)
    mine, theirs = grids
    steps = mine.steps_of(0), theirs.steps_of(0), mine.steps_of(1), theirs.steps_of(1)
    return Rounded(user[:, :-1], item[:, :-1], user[:, -1:], item[:, -1:], steps, found.mean)


def _kept(found: Posterior, own: int, other: Side) -> tuple[Tensor, Tensor]:
    """Of squared distances from the predictions before rounding, in the mean over all ids of the other side as often as
    they are read: the precision, and the right-hand side of each own id."""
    mine, theirs = found.sides[own], found.sides[1 - own]
    weights = theirs.counts.double() / theirs.counts.sum()
    now, before = other.means.clone(), theirs.means.clone()
    now[:, -1] = before[:, -1] = 1.0
    weighted = (now * weights.unsqueeze(1)).T
    return weighted @ now, mine.means @ (weighted @ before).T + weighted @ (theirs.biases - other.biases)


class _Grid:
    """The levels of one side: which step each number has, and at which level it is. Columns are those of vectors and,
    last, the bias; steps of both lie in one vector."""

    def __init__(self, side: Side, *arrays: BitBlocks) -> None:
        rows, columns = side.means.shape
        self._slot = torch.zeros(rows, columns, dtype=torch.int64)
        self._bits = torch.zeros(rows, columns, dtype=torch.int64)
        self._spans: list[tuple[slice, int, int]] = []
        self._places: tuple[list[list[int]], list[list[int]]] = ([], [])
        for number, (array, first, width) in enumerate(zip(arrays, (0, columns - 1), (columns - 1, 1), strict=True)):
            ends = [0, *array.bounds, rows]
            if len(array.bits) != len(ends) - 1 or any(begin >= end for begin, end in pairwise(ends)):
                raise InputError(f"blocks that end at {list(array.bounds)} do not fit {rows} ids")
            for (begin, end), bits in zip(pairwise(ends), array.bits, strict=True):
                if len(bits) != width:
                    raise InputError(f"bits of {len(bits)} columns for an array of {width}")
                self._places[number].append([])
                for column, each in enumerate(bits, first):
                    self._places[number][-1].append(len(self._spans) if each else -1)
                    if each:
                        self._slot[begin:end, column] = len(self._spans)
                        self._bits[begin:end, column] = each
                        self._spans.append((slice(begin, end), column, each))
        self._stored = self._bits > 0
        top = torch.zeros(rows, columns, dtype=torch.float64)
        for part, column, each in self._spans:
            top[part, column] = Levels([each]).top(top)
        self._top = top
        self._steps = torch.ones(len(self._spans), dtype=torch.float64)
        self._codes = torch.zeros_like(top)
        self.ready = False

    @property
    def _levels(self) -> Tensor:
        """Of all numbers, in steps."""
        return self._codes - self._top / 2

    @property
    def _each(self) -> Tensor:
        """The step of every number; 1 where nothing is stored."""
        if not len(self._steps):
            return torch.ones_like(self._top)
        return torch.where(self._stored, self._steps[self._slot], 1.0)

    @property
    def numbers(self) -> Tensor:
        """What is stored."""
        return self._levels * self._each

    def steps_of(self, array: int) -> Tensor:
        """The steps of vectors (0) or biases (1), a row a block; 0 where nothing is stored."""
        steps = [*self._steps.tolist(), 0.0]
        return torch.tensor([[steps[place] for place in row] for row in self._places[array]], dtype=torch.float64)

    def begin(self, numbers: Tensor, counts: Tensor, storable: Callable[[Tensor], Tensor]) -> None:
        """At the levels nearest to these numbers, with steps of least squares."""
        for place, (part, column, bits) in enumerate(self._spans):
            piece = numbers[part, column : column + 1]
            found = least_squares_steps(piece, Levels([bits]), (0,), counts[part] + _READ)
            self._steps[place] = found.squeeze()
        self._steps = storable(self._steps)
        self._codes = (numbers / self._each + self._top / 2).round().clamp(min=0).minimum(self._top)
        self.ready = True

    def move(self, precision: Tensor, right: Tensor) -> None:
        """Every column in turn to its best level given the others, until none moves."""
        numbers, each = self.numbers, self._each
        for _ in range(_PASSES):
            before = self._codes.clone()
            for column in range(numbers.shape[1]):
                own = precision[:, column, column]
                rest = (precision[:, column] * numbers).sum(1) - own * numbers[:, column]
                wanted = (right[:, column] - rest) / own / each[:, column] + self._top[:, column] / 2
                self._codes[:, column] = wanted.round().clamp(min=0).minimum(self._top[:, column])
                numbers[:, column] = (self._codes[:, column] - self._top[:, column] / 2) * each[:, column]
            if torch.equal(before, self._codes):
                return

    def fit(self, precision: Tensor, right: Tensor, storable: Callable[[Tensor], Tensor]) -> None:
        """The best steps for these levels; a step that would not be positive stays."""
        many = len(self._spans)
        if not many:
            return
        levels = torch.where(self._stored, self._levels, 0.0)
        square = levels.unsqueeze(2) * precision * levels.unsqueeze(1)
        pairs = self._slot.unsqueeze(2) * many + self._slot.unsqueeze(1)
        matrix = torch.zeros(many * many, dtype=torch.float64)
        matrix.index_add_(0, pairs.flatten(), square.flatten())
        wanted = torch.zeros(many, dtype=torch.float64).index_add_(0, self._slot.flatten(), (levels * right).flatten())
        system = matrix.reshape(many, many)
        # A step of levels that are all 0 may be anything.
        ridge = 1e-9 * system.diagonal().max().clamp(min=1e-300)
        solved = torch.linalg.solve(system + ridge * torch.eye(many, dtype=torch.float64), wanted + ridge * self._steps)
        solved = storable(solved)
        self._steps = torch.where(solved > 0, solved, self._steps)


def bytes_of(blocks: Sequence[BitBlocks]) -> int:
    """Of codes and steps of all arrays."""
    return sum(each.bytes for each in blocks)
