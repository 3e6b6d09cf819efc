"""`QREmbedding`: the quotient-remainder trick as a Keras layer."""

from __future__ import annotations

from dataclasses import replace
from math import isqrt
from typing import Any, ClassVar, Literal

import keras

from coset.keras.base import LAYOUTS
from coset.keras.composition import Array, Composition, Operation, RowPart, compose
from coset.keras.row_layer import RowLayer
from coset.partitions import quotient, remainder


@keras.saving.register_keras_serializable(package="coset")
class QREmbedding(RowLayer):
    """The quotient-remainder trick (Shi et al., 2019, arXiv 1909.02107): the vector of id i is composed of row
    `i // m` of a quotient array and row `i % m` of a remainder array, with m = num_buckets.

    It stores ⌈n / m⌉ + m rows, least at m = ⌈√n⌉, and no two ids share both. The torch method is
    `coset.QuotientRemainder`.

    Args:
        vocabulary: the words, or the number of ids n.
        embedding_dim: elements of a vector.
        num_buckets: m, the number of remainder rows, 1 … n.
        operation: `"mult"`, `"add"`, or `"concat"` of two halves, for which the dim must be even.
        num_embeddings: the number of ids, by its own name.
        layout: `"compact"` stores the quotient rows that ids can reach; `"keras"` is the layout of the Keras
            example "Memory-efficient embeddings for recommendation systems": m quotient rows, reached or not, and
            initial values uniform in ±0.05.
        options: see `TableLayer`.

    Raises:
        ValueError: an argument is out of range, or does not fit the others.

    Example:
        >>> layer = QREmbedding(vocabulary=["ann", "bob", "cid", "dan", "eve"], embedding_dim=4, num_buckets=2)
        >>> layer(layer.vocabulary.lookup(["eve", "ann"])).shape[1], layer.count_params()
        (4, 20)
    """

    torch_method: ClassVar[str] = "quotient_remainder"

    def __init__(
        self,
        vocabulary: Any = None,
        embedding_dim: Any = None,
        num_buckets: Any = None,
        operation: Operation = "mult",
        *,
        num_embeddings: Any = None,
        layout: Literal["compact", "keras"] = "compact",
        **options: Any,
    ) -> None:
        super().__init__(vocabulary, num_embeddings, embedding_dim, **options)
        self.num_buckets = self._positive("num_buckets", num_buckets)
        self.operation = self._operation(operation, parts=2)
        self.layout = self._one_of("layout", layout, LAYOUTS)
        n, m = self.num_embeddings, self.num_buckets
        if m > n:
            raise ValueError(f"{self._what}: expected num_buckets in 1 … {n}, the number of ids, not {m}")
        if layout == "keras" and n > m * m:
            raise ValueError(
                f"{self._what}: the keras layout has {m} quotient rows for {m} buckets, and {n} ids need "
                f"{-(-n // m)}; take num_buckets ≥ {isqrt(n - 1) + 1} or layout='compact'"
            )

    def composition(self) -> Composition:
        """Two parts: quotient, remainder."""
        n, m = self.num_embeddings, self.num_buckets
        partitions = [("quotient", quotient(m, n)), ("remainder", remainder(m))]
        compact = compose(partitions, n, self.embedding_dim, self.operation, self.std)
        if self.layout == "compact":
            return compact
        width = compact.parts[0].rows.shape[1]
        parts = [RowPart(Array(part.rows.name, (m, width), "keras"), part.row_of) for part in compact.parts]
        return replace(compact, parts=tuple(parts))

    def torch_fields(self) -> dict[str, Any]:
        """The fields of `coset.QuotientRemainder`."""
        return {"num_buckets": self.num_buckets, "operation": self.operation, "layout": self.layout}

    def get_config(self) -> dict[str, Any]:
        """Everything that makes an equal layer."""
        return {**super().get_config(), **self.torch_fields()}
