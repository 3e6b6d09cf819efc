"""One id a bag of several features, as many of each: most calls of a server, made without a loop of Python."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from coset.kernels import layout

_layout, _dtype, _is_cpu = map(attrgetter, ("layout", "dtype", "is_cpu"))


def alike(given: dict[str, Any]) -> list[Tensor] | None:
    """The ids that are given; None unless all are plain tensors of one dimension and as many, int64, one after the
    other in the memory of this process."""
    ids = [*given.values()]
    fit = (
        {*map(type, ids)} == {Tensor}
        and {*map(Tensor.dim, ids)} == {1}  # of which nested tensors have two at least
        and {*map(_layout, ids)} == {torch.strided}
        and {*map(_dtype, ids)} == {torch.int64}
        and all(map(_is_cpu, ids))
        and all(map(Tensor.is_contiguous, ids))
        and len({*map(Tensor.numel, ids)}) == 1
    )
    return ids if fit else None


class Singles:
    """What all such lookups of some features have in common. It is never changed.

    Args:
        names: the features.
        numbers: of them.
        dims: elements of a vector of each.
        pieces: of each, its first piece, how many it has, and how many ids.
        weights: the parameters that they read.
        dtype: of the vectors.
    """

    def __init__(
        self, names: Sequence[str], numbers: list[int], dims: list[int], pieces: list[tuple[int, int, int]],
        weights: list[nn.Parameter], dtype: torch.dtype,
    ) -> None:  # fmt: skip
        self.numbers, self.weights = numbers, weights
        self.dims, self.width = dims, sum(dims)
        self._one_dim = len(set(dims)) == 1
        self._begins = (np.cumsum([0, *dims[:-1]]) * dtype.itemsize).astype(np.int64)
        self._frame = np.zeros((len(numbers), layout.FEATURE_COLUMNS), np.int64)
        self._frame[:, layout.DIM] = self._frame[:, layout.STRIDE] = dims
        self._frame[:, [layout.PIECE, layout.PIECES, layout.IDS]] = pieces

    def is_trained(self) -> bool:
        """Whether a gradient of any table may be wanted."""
        return any(weight.requires_grad for weight in self.weights)

    def frame(self, ids: list[Tensor], bags: int, base: int, joined: bool) -> np.ndarray:
        """A call as kernels take it, whose vectors go to the address `base` and on."""
        frame = self._frame.copy()
        frame[:, layout.VALUES] = [*map(Tensor.data_ptr, ids)]
        frame[:, layout.COUNT] = frame[:, layout.BAGS] = bags
        frame[:, layout.VECTORS] = base + (self._begins if joined else self._begins * bags)
        if joined:
            frame[:, layout.STRIDE] = self.width
        return frame

    def parts(self, vectors: Tensor, bags: int) -> tuple[Tensor, ...]:
        """The vectors of each feature, of all that stand one after the other; shape `(bags, dim)`."""
        # Views of one call, which are made in less time, are not to be changed in place where there are gradients.
        if self._one_dim and torch.is_inference_mode_enabled():
            return vectors.view(len(self.dims), bags, self.dims[0]).unbind()
        if self._one_dim and bags:
            return vectors.view(-1, self.dims[0]).unsafe_split(bags)
        parts = vectors.unsafe_split_with_sizes([bags * dim for dim in self.dims])
        return tuple(part.view(bags, dim) for part, dim in zip(parts, self.dims, strict=True))
