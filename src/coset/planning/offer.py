"""All candidates of all tables at one dim of the model, whatever the budget, and the best choice within one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, cached_property

import numpy as np

from coset.methods.traffic import Traffic
from coset.planning.candidates import Allowed, Candidate, candidates, full, within
from coset.planning.curves import Curve
from coset.planning.knapsack import Group, solve
from coset.planning.plan import Alternative
from coset.planning.proxy import DIMS, Judge, losses, partners
from coset.planning.storages import AllowedStorages
from coset.schema import Table

_ROUNDS = 5  # of choosing given the other tables' choices; the third seldom changes anything
_BEGINNINGS = (64, 8, 6, 4, 3, 2, 1)  # dims that the others are first assumed to keep
_SMALL = 64  # tables that together take no more than this part of the budget stay full

Chosen = Mapping[str, Candidate]
"""A candidate for every table."""


def rounded(loss: float) -> float:
    """The loss in six digits, more than a prediction is good for, so that plans can be compared line by line."""
    return float(f"{round(loss, 9):.6g}") + 0.0


class Stock:
    """The candidates of tables of one dim, computed when a table is first looked up.

    Args:
        tables: the tables, of that dim.
        traffic, judges: those of every table.
        allowed: classes of methods.
        optimizer: name of the optimizer whose state counts, if any.
        spectrum: the weight of each dim.
        sizes: how many sizes of every method are tried.
        together: whether the model multiplies the vectors of tables; else every table is judged by itself.
        storages: besides the types of tables; none by default.
    """

    def __init__(
        self, tables: Sequence[Table], traffic: Mapping[str, Traffic], judges: Mapping[str, Judge], allowed: Allowed,
        optimizer: str | None, spectrum: np.ndarray, sizes: int, together: bool = True,
        storages: AllowedStorages | None = None,
    ) -> None:  # fmt: skip
        self.tables, self.judges, self.spectrum, self.together = tables, judges, spectrum, together
        self.full = {table.name: full(table, judges[table.name], optimizer) for table in tables}
        own, kept = {table.name: table for table in tables}, storages or AllowedStorages([])
        self.every = cache(
            lambda name: candidates(
                own[name], traffic[name], judges[name], allowed, optimizer, sizes, kept
            )
        )  # fmt: skip
        """The candidates of a table, by its name."""


class Offer:
    """The choices from a stock within a limit.

    Args:
        stock: of candidates.
        limit: bytes of all tables together.
        curves: measured losses in the place of predicted ones.
    """

    def __init__(self, stock: Stock, limit: int, curves: Mapping[str, Curve] | None = None) -> None:
        self._tables = [table.name for table in stock.tables]
        self._judges, self._spectrum, self._together = stock.judges, stock.spectrum, stock.together
        self._reference = {name: stock.judges[name].unlimited for name in self._tables}  # which loses nothing
        self._full, self._limit, self._curves = stock.full, limit, curves
        self._every = cache(lambda name: within(stock.every(name), limit))

    def floors(self) -> dict[str, int]:
        """Bytes of the smallest candidate of every table."""
        return {name: min(one.weight for one in self._every(name)) for name in self._tables}

    def full_loss(self) -> float:
        """The loss of full tables, below which no choice of this dim can be."""
        return sum(self.losses(self._full).values())

    def choose(self) -> Chosen | None:
        """The candidates with the least loss within the limit; None where even the smallest are over it."""
        if (small := self._small()) and (
            best := self._best({name: self._offered(name, small) for name in self._tables})
        ):
            return best
        return self._best({name: self._every(name) for name in self._tables})

    def losses(self, chosen: Chosen) -> dict[str, float]:
        """The part of every table in the loss of a choice."""
        found = losses(
            {name: one.kept.dims for name, one in chosen.items()}, self._reference, self._spectrum, self._together
        )
        return {name: self._measured(name, loss) for name, loss in found.items()}

    @property
    def measured(self) -> bool:
        """Whether losses are measured, in units of a metric, or predicted, as shares."""
        return self._curves is not None

    def instead(self, name: str, chosen: Chosen) -> Alternative | None:
        """The best candidate of another method for a table, with the same choice for the others and within the same
        limit; another size of the same method where there is no other method."""
        mine = chosen[name]
        room = self._limit - sum(one.weight for other, one in chosen.items() if other != name)
        others = [one for one in self._every(name) if one.weight <= room and one.method != mine.method]
        others = [one for one in others if one.method.name != mine.method.name] or others
        if not others:
            return None
        beside = {other: (one.kept.dims + self._reference[other]) / 2 for other, one in chosen.items()}
        found = self._judged(name, np.stack([one.kept.dims for one in others]), self._prices(beside)[name])
        at = int(np.argmin(found))
        return Alternative(others[at].method, others[at].bytes, rounded(float(found[at])))

    def _offered(self, name: str, small: frozenset[str]) -> list[Candidate]:
        return [self._full[name]] if name in small else self._every(name)

    def _small(self) -> frozenset[str]:
        """The smallest tables, as many as take little of the limit in full."""
        taken, small = 0, []
        for name, one in sorted(self._full.items(), key=lambda item: item[1].weight):
            taken += one.weight
            if taken * _SMALL > self._limit:
                break
            small.append(name)
        return frozenset(small)

    def _best(self, offered: Mapping[str, list[Candidate]]) -> Chosen | None:
        """The best choice from several starting points: that the other tables keep all dims, or only the first few, as
        under a low limit."""
        weights = {name: np.array([one.weight for one in found]) for name, found in offered.items()}
        dims = {name: np.stack([one.kept.dims for one in found]) for name, found in offered.items()}

        def picked(beside: Mapping[str, np.ndarray]) -> tuple[int, ...] | None:
            prices = self._prices(beside)
            groups = [Group(weights[name], self._judged(name, dims[name], prices[name])) for name in offered]
            picks = solve(groups, self._limit)
            return None if picks is None else tuple(picks)

        @cache  # several starting points soon lead to the same choice
        def after(picks: tuple[int, ...]) -> tuple[int, ...] | None:
            return picked({name: dims[name][pick] for name, pick in zip(offered, picks, strict=True)})

        best: tuple[float, Chosen] | None = None
        for width in _BEGINNINGS:
            few = {name: np.where(np.arange(DIMS) < width, one.kept.dims, 0) for name, one in self._full.items()}
            picks, before = picked(few), float("inf")
            for _ in range(_ROUNDS):
                if picks is None:
                    return None
                chosen = {name: offered[name][pick] for name, pick in zip(offered, picks, strict=True)}
                loss = sum(self.losses(chosen).values())
                if loss >= before * (1 - 1e-9):
                    break
                if best is None or loss < best[0]:
                    best = loss, chosen
                before, picks = loss, after(picks)
        return None if best is None else best[1]

    def _judged(self, name: str, dims: np.ndarray, price: np.ndarray) -> np.ndarray:
        """Losses of candidates that keep `dims`, shape `(candidates, DIMS)`, where dims have this price."""
        # In steps finer than any prediction, so that of candidates with equal losses the smallest is taken.
        found = np.round((self._reference[name] - dims) @ price * self._scale, 8)
        return found if self._curves is None else np.array([self._curves[name](float(loss)) for loss in found])

    @cached_property
    def _scale(self) -> float:
        """The factor from what tables lose to parts of the loss."""
        alike = self._prices(self._reference)
        whole = sum(float(self._reference[name] @ price) for name, price in alike.items())
        return (2 if self._together and len(self._tables) > 1 else 1) / max(whole, 1e-300)

    def _prices(self, kept: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return partners(kept, self._spectrum, self._together)

    def _measured(self, name: str, loss: float) -> float:
        return loss if self._curves is None else self._curves[name](loss)
