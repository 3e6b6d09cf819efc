"""Vectors composed of stored rows: the composition of `coset.methods`, in `keras.ops`.

The stored arrays have the names and shapes of the torch module of the same method, and the same laws of initial
values, so that weights move between the two by key and fresh tables train alike.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from coset.keras.arithmetic import rows_of
from coset.keras.storage import LayerArray
from coset.partitions import RowMap

Tensor = Any
Operation = Literal["mult", "add", "concat"]
OPERATIONS = ("mult", "add", "concat")
Law = Literal["normal", "keras", "waves", "glorot", "zeros"]

_FACTOR_STD = 0.7
"""Deviation of the factors of `mult` other than the largest: if all were small, every gradient would be too."""


@dataclass(frozen=True)
class Array:
    """One stored array: its name in the torch module, its shape, and the law of its initial values.

    `normal` has deviation `std`; `keras` is Keras' default of an embedding, uniform in ±0.05; `waves` are the first
    cosine waves of the discrete cosine transform, scaled by `std`, the same in every table, so that narrow rows
    of several tables begin in one common subspace; `glorot` is uniform, `zeros` are zeros.
    """

    name: str
    shape: tuple[int, int]
    law: Law
    std: float = 0.0

    @property
    def is_rows(self) -> bool:
        """Whether its rows belong to ids, so that the embedding's initializer and regularizer apply to it."""
        return self.law in ("normal", "keras")

    def initializer(self) -> Any:
        """The initializer of Keras for the array."""
        if self.law == "normal":
            return keras.initializers.RandomNormal(stddev=self.std)
        if self.law == "keras":
            return keras.initializers.RandomUniform(-0.05, 0.05)
        if self.law == "waves":
            return lambda shape, dtype=None: ops.convert_to_tensor(_waves(shape) * self.std, dtype=dtype)
        return keras.initializers.GlorotUniform() if self.law == "glorot" else keras.initializers.Zeros()


@dataclass(frozen=True)
class RowPart:
    """Stored rows, and the row of every id."""

    rows: Array
    row_of: Callable[[Tensor], Tensor] = lambda ids: ids


@dataclass(frozen=True)
class Composition:
    """Rows of `parts`, made one by `operation`, then perhaps widened by a matrix `projection` and a `bias`."""

    parts: tuple[RowPart, ...]
    operation: Operation = "concat"
    projection: Array | None = None
    bias: Array | None = None

    def arrays(self) -> list[Array]:
        """The stored arrays."""
        return [*(part.rows for part in self.parts), *(a for a in (self.projection, self.bias) if a is not None)]

    def under(self, prefix: str) -> Composition:
        """The same, stored below `prefix`."""

        def moved(array: Array) -> Array:
            return replace(array, name=f"{prefix}.{array.name}")

        return replace(
            self,
            parts=tuple(replace(part, rows=moved(part.rows)) for part in self.parts),
            projection=self.projection and moved(self.projection),
            bias=self.bias and moved(self.bias),
        )

    def vectors(self, ids: Tensor, stored: Mapping[str, LayerArray], dtype: str) -> Tensor:
        """Vectors of ids that are in range: shape `(*ids.shape, dim)`.

        Args:
            ids: integer tensor of any shape.
            stored: the array of every name.
            dtype: to compute in; rows are read first and cast after, never the whole array.
        """
        rows = [ops.cast(stored[part.rows.name].at(part.row_of(ids)), dtype) for part in self.parts]
        if self.operation == "concat":
            vectors = ops.concatenate(rows, axis=-1) if len(rows) > 1 else rows[0]
        else:
            # Not ops.add: on TensorFlow it takes rows of no ids for a bias.
            vectors = reduce(operator.mul if self.operation == "mult" else operator.add, rows)
        if self.projection is not None:
            vectors = ops.matmul(vectors, ops.cast(stored[self.projection.name].whole(), dtype))
        return vectors if self.bias is None else vectors + ops.cast(stored[self.bias.name].whole()[0], dtype)


def compose(
    partitions: Sequence[tuple[str, RowMap]], num_embeddings: int, embedding_dim: int, operation: Operation, std: float
) -> Composition:
    """A part with the reachable rows for each named partition; fresh vectors have mean 0 and deviation `std`."""
    k = len(partitions)
    width = embedding_dim // k if operation == "concat" else embedding_dim
    sizes = [partition.rows(num_embeddings) for _, partition in partitions]
    stds = [std / k**0.5 if operation == "add" else std] * k
    if operation == "mult":
        largest = sizes.index(max(sizes))
        stds = [std / _FACTOR_STD ** (k - 1) if part == largest else _FACTOR_STD for part in range(k)]
    parts = [
        RowPart(Array(f"{name}", (size, width), "normal", part_std), rows_of(partition, num_embeddings))
        for (name, partition), size, part_std in zip(partitions, sizes, stds, strict=True)
    ]
    return Composition(tuple(parts), operation)


def projected(num_embeddings: int, width: int, embedding_dim: int, std: float) -> Composition:
    """A row of `width` elements an id, and a projection where that is less than the dim."""
    rows = RowPart(Array("rows", (num_embeddings, width), "normal", std))
    if width == embedding_dim:
        return Composition((rows,))
    # Σ over `width` products: width · std² · (1 / width) = std².
    return Composition((rows,), projection=Array("projection", (width, embedding_dim), "waves", width**-0.5))


def projected_as_keras(num_embeddings: int, width: int, embedding_dim: int) -> Composition:
    """As `projected`, in the layout of the Keras example: one more row, that no id reads, and a bias."""
    rows = RowPart(Array("rows", (num_embeddings + 1, width), "keras"))
    if width == embedding_dim:
        return Composition((rows,))
    projection = Array("projection", (width, embedding_dim), "glorot")
    return Composition((rows,), projection=projection, bias=Array("projection_bias", (1, embedding_dim), "zeros"))


def _waves(shape: tuple[int, ...]) -> np.ndarray:
    """The first `shape[0]` cosine waves of `shape[1]` elements, each of mean square 1."""
    wave, element = np.arange(shape[0])[:, None], np.arange(shape[1])
    values = np.cos(np.pi / shape[1] * (element + 0.5) * wave) * np.where(wave == 0, 1.0, 2**0.5)
    return np.asarray(values, dtype=np.float32)
