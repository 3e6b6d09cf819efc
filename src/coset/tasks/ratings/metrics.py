"""Error of predicted ratings, summed in float64 in a fixed order so that no thread count changes a digit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from coset.models.dot import DotModel
from coset.tasks.rows import Running

CHUNK = 16384
"""Ratings scored at once; below the size from which torch splits a sum over threads."""


@dataclass
class Errors(Running):
    """Running sums over the ratings seen so far; `loss` is that of the squares."""

    absolute: float = 0.0

    def add(self, gap: Tensor) -> None:
        """Take in differences of prediction and rating, shape `(batch,)`."""
        self.take(_float64(gap), len(gap))

    def take(self, gaps: np.ndarray, size: int) -> None:
        """Take in those of several batches of `size`, float64, one after the other as `add` does."""
        # numpy sums on one thread, pairwise, in an order that depends on the length alone
        whole = len(gaps) // max(1, size) * size
        blocks = [gaps[:whole].reshape(-1, size)] if whole else []
        if whole < len(gaps):
            blocks.append(gaps[whole:].reshape(1, -1))
        for block in blocks:
            for squared, absolute in zip((block * block).sum(1).tolist(), abs(block).sum(1).tolist(), strict=True):
                self.loss += squared
                self.absolute += absolute
        self.rows += len(gaps)

    @property
    def mse(self) -> float:
        """Mean squared error."""
        return self.loss / self.rows

    @property
    def mae(self) -> float:
        """Mean absolute error."""
        return self.absolute / self.rows

    def report(self) -> dict[str, float | None]:
        """Both."""
        return {"mse": self.mse, "mae": self.mae}


def _float64(values: Tensor) -> np.ndarray:
    found: np.ndarray = values.detach().double().cpu().numpy()
    return found


@torch.no_grad()
def predicted(model: DotModel, users: Tensor, items: Tensor) -> Tensor:
    """`model.predict` of these users and items, some at a time."""
    parts = [slice(at, at + CHUNK) for at in range(0, len(users), CHUNK)]
    return torch.cat([model.predict(users[part], items[part]) for part in parts] or [torch.zeros(0)])
