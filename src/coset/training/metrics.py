"""Error of predicted ratings, summed in float64 in a fixed order so that no thread count changes a digit."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_CHUNK = 16384  # ratings scored at once; below the size from which torch splits a sum over threads


@dataclass
class Errors:
    """Running sums over the ratings seen so far."""

    count: int = 0
    squared: float = 0.0
    absolute: float = 0.0

    def add(self, gap: Tensor) -> None:
        """Take in differences of prediction and rating, shape `(batch,)`."""
        # numpy sums on one thread, pairwise, in an order that depends on the length alone
        values = gap.detach().double().cpu().numpy()
        self.count += len(values)
        self.squared += float((values * values).sum())
        self.absolute += float(abs(values).sum())

    @property
    def mse(self) -> float:
        """Mean squared error."""
        return self.squared / self.count

    @property
    def mae(self) -> float:
        """Mean absolute error."""
        return self.absolute / self.count


@torch.no_grad()
def predicted(model: object, users: Tensor, items: Tensor) -> Tensor:
    """`model.predict` of these users and items, some at a time."""
    parts = [slice(at, at + _CHUNK) for at in range(0, len(users), _CHUNK)]
    return torch.cat([model.predict(users[part], items[part]) for part in parts] or [torch.zeros(0)])  # type: ignore[attr-defined]


@torch.no_grad()
def evaluate(model: object, users: Tensor, items: Tensor, targets: Tensor) -> Errors:
    """Errors of `model.predict` on these ratings."""
    errors = Errors()
    for at in range(0, len(targets), _CHUNK):
        part = slice(at, at + _CHUNK)
        errors.add(model.predict(users[part], items[part]) - targets[part])  # type: ignore[attr-defined]
    return errors
