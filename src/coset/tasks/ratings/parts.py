"""Ratings by table id, in memory, and the order in which an epoch visits them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from coset.tasks.settings import Order


@dataclass(frozen=True)
class Interactions:
    """Ratings by table id: three tensors of one length, int64, int64 and float."""

    users: Tensor
    items: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, rows: Tensor | slice) -> Interactions:
        """The ratings at these rows, in this order."""
        return Interactions(self.users[rows], self.items[rows], self.targets[rows])


class RatingsPart:
    """The ratings of a part of the data."""

    def __init__(self, ratings: Interactions) -> None:
        self.ratings = ratings
        self._last: tuple[Order, Interactions] | None = None

    def __len__(self) -> int:
        return len(self.ratings)

    def ordered(self, order: Order | None) -> Interactions:
        """All ratings in this order; keeps the result of the last call."""
        if order is None:
            return self.ratings
        if self._last is None or self._last[0] != order:
            self._last = order, self.ratings.take(permutation(len(self), order))
        return self._last[1]

    def batches(self, size: int, order: Order | None = None, start: int = 0) -> Iterator[Interactions]:
        """Every rating once; see `coset.tasks.Part`."""
        ratings = self.ordered(order)
        for at in range(start * size, len(ratings), size):
            yield ratings.take(slice(at, at + size))


def permutation(n: int, order: Order) -> Tensor:
    """The rows `0 … n - 1`, int64, in this order."""
    bits = np.random.PCG64(np.random.SeedSequence([order.seed, order.epoch, 3]))
    if order.buffer is None or order.buffer >= n:
        return torch.from_numpy(_sorting(bits.random_raw(n)))
    waiting = list(range(order.buffer))
    raw = bits.random_raw(n)
    draws = (raw % np.uint64(order.buffer)).tolist()
    found = []
    for row in range(order.buffer, n):
        at = draws[row]
        found.append(waiting[at])
        waiting[at] = row
    rest = np.array(waiting)[np.argsort(raw[: order.buffer], kind="stable")]
    return torch.from_numpy(np.concatenate([np.array(found, dtype=np.int64), rest]))


def _sorting(raw: np.ndarray) -> np.ndarray:
    """The permutation that sorts `raw`, ties in file order; uses the faster unstable sort where there are no ties."""
    order = np.argsort(raw)
    drawn = raw[order]
    return np.argsort(raw, kind="stable") if bool((drawn[1:] == drawn[:-1]).any()) else order
