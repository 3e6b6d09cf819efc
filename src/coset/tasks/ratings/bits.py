"""A dim and bits for the tables of a dot model within a budget, found on its training part."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from weakref import WeakKeyDictionary

import numpy as np

from coset.data.encoded import Encoded
from coset.errors import InfeasibleBudget, InputError
from coset.methods import Method
from coset.models.posterior import Posterior, Ratings, posterior
from coset.models.ridge import chosen, ridge_bias
from coset.models.rounding import bits_for, rounded
from coset.planning.bits import as_method
from coset.planning.numbers import BitBlocks
from coset.planning.signal import Foretold
from coset.tasks.ratings.solver import ratings_of

DIMS = (2, 3, 5, 7, 10, 14)
"""That are tried. The further columns of wide vectors get no bits where they are not worth any, but to learn them takes
the cube of their number."""
HELD = 0.1
"""Of the training rows: those that judge dims."""
MEAN_BYTES = 4


class Finder:
    """Finds dims and bits of one training part.

    Args:
        encoded: the data; the validation part is not read.
        widest: of the dims to try.
        unit: of scores, in ratings.
    """

    def __init__(self, encoded: Encoded, widest: int, unit: float) -> None:
        self._split = encoded.split
        self._encoded, self._unit = encoded, unit
        self.dims = [dim for dim in DIMS if dim <= widest] or [widest]
        self._learned = cache(self._learn)
        self.best = cache(self._best)

    def _best(self, budget: int) -> tuple[int, Mapping[str, BitBlocks], Foretold]:
        """The dim that does best on rows that are held out, the blocks of users, items and both biases, and how well it
        does there.

        Raises:
            InfeasibleBudget: not even the mean fits into the budget.
        """
        if budget < MEAN_BYTES:
            raise InfeasibleBudget(f"the mean alone takes {MEAN_BYTES} bytes, and the budget is {budget}", MEAN_BYTES)
        inner = self._split.tuning(HELD, 0)
        known, held = (ratings_of(self._encoded, rows, self._unit) for rows in (inner.training, inner.validation))
        low, high = float(known.values.min()), float(known.values.max())
        squares: dict[int, np.ndarray] = {}
        errors: dict[int, float] = {}
        for dim in self.dims:
            if (found := self._learned(dim, whole=False)) is None:
                break  # nor would more
            tried = rounded(known, found, bits_for(found, budget - MEAN_BYTES))
            predicted = np.clip(tried.predict(held.users, held.items), low, high)
            squares[dim] = np.square(predicted - held.values)
            errors[dim] = float(squares[dim].mean())
            if errors[dim] > 1.02 * min(errors.values()):
                break
        for dim in sorted(errors, key=lambda dim: errors[dim]):
            if (found := self._learned(dim, whole=True)) is not None:
                blocks = bits_for(found, budget - MEAN_BYTES)
                roles = dict(zip(("user", "item", "user_bias", "item_bias"), blocks, strict=True))
                return dim, roles, self._foretold(known, held, squares[dim])
        raise InputError("vectors explain nothing of these ratings; take a model of biases alone")

    def _foretold(self, known: Ratings, held: Ratings, squares: np.ndarray) -> Foretold:
        """Of the squared errors on rows that are held out, beside those of biases alone."""
        penalties = chosen(known.users, known.items, known.values, known.sizes)
        alone = ridge_bias(known.users, known.items, known.values, known.sizes, penalties)
        predicted = np.clip(alone.predict(held.users, held.items), known.values.min(), known.values.max())
        by_biases = np.square(predicted - held.values)
        gains, unit = by_biases - squares, self._unit**2
        error = unit * float(gains.std()) / len(gains) ** 0.5
        rows = len(known.values) + len(held.values)
        return Foretold(unit * float(by_biases.mean()), unit * float(gains.mean()), error, rows)

    def _learn(self, dim: int, whole: bool) -> Posterior | None:
        """What all training rows tell, or those that do not judge; None where fewer dims tell as much."""
        rows = self._split.training if whole else self._split.tuning(HELD, 0).training
        ratings: Ratings = ratings_of(self._encoded, rows, self._unit)
        try:
            return posterior(ratings, dim).turned()
        except InputError:
            return None


_FINDERS: WeakKeyDictionary[Encoded, dict[tuple[int, float], Finder]] = WeakKeyDictionary()


def found(encoded: Encoded, widest: int, budget: int, unit: float) -> tuple[int, dict[str, Method], Foretold]:
    """The dim and the methods of tables and biases, by role: `user`, `item`, `user_bias` and `item_bias`; and what the
    model reaches on rows that are held out.

    Args:
        encoded: the data; the validation part is not read.
        widest: dim of the model, and of those to try.
        budget: bytes of the model.
        unit: of its scores, in ratings.

    Raises:
        InfeasibleBudget: not even the mean fits into the budget.
        InputError: vectors explain nothing of these ratings.
    """
    finders = _FINDERS.setdefault(encoded, {})
    dim, blocks, foretold = finders.setdefault((widest, unit), Finder(encoded, widest, unit)).best(budget)
    return dim, {role: as_method(of) for role, of in blocks.items()}, foretold
