"""Tables: the vectors of ids, of which each may have several."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from coset_runtime.arrays import Rows
from coset_runtime.formulas import Node


class Table(NamedTuple):
    """The vectors of a table.

    Args:
        ids: how many it has.
        dim: elements of a vector.
        outputs: vectors an id.
        node: gives them side by side.
    """

    ids: int
    dim: int
    outputs: int
    node: Node

    def vectors(self, ids: Rows) -> np.ndarray:
        """Of ids, shape `(ids, outputs, dim)`."""
        found = self.node(ids)
        return found.reshape(len(found), self.outputs, self.dim)


def summed(vectors: np.ndarray) -> np.ndarray:
    """The sum of the vectors of each id, rounded once, shape `(ids, dim)`."""
    if vectors.shape[1] == 1:
        return vectors[:, 0]
    return np.asarray(vectors.sum(1, dtype=np.float64).astype(vectors.dtype))


def among(vectors: np.ndarray, sums: np.ndarray) -> np.ndarray:
    """The products of all pairs of the vectors of one id, of which `sums` are the sums: twice them is (Σ v)² - Σ v²."""
    return np.asarray((np.square(sums) - np.square(vectors).sum(1)).sum(-1) / 2)
