"""`HashingEmbedding`: the hashing trick as a Keras layer."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import keras
import numpy as np

from coset.keras.composition import Composition, compose
from coset.keras.row_layer import RowLayer
from coset.partitions import MultiplyShift, RowMap, remainder


@keras.saving.register_keras_serializable(package="coset")
class HashingEmbedding(RowLayer):
    """The hashing trick (Weinberger et al., 2009, arXiv 0902.2206): one row for each hash, so that ids which meet
    share a vector. The torch method is `coset.Hashing`, and both give an id the same row.

    Args:
        num_embeddings: the number of ids n, or a vocabulary.
        embedding_dim: elements of a vector.
        num_buckets: number of rows, 1 … n.
        hash: `"remainder"`, id modulo num_buckets; or `"multiply_shift"`, rows as if drawn at random
            (`coset.partitions.MultiplyShift`).
        seed: which hash function, 0 … 2^32 - 1; `multiply_shift` only.
        vocabulary: the words, by its own name.
        options: see `TableLayer`.

    Raises:
        ValueError: an argument is out of range.

    Example:
        >>> HashingEmbedding(6040, 64, num_buckets=1510, hash="multiply_shift").compute_output_shape((None,))
        (None, 64)
    """

    torch_method: ClassVar[str] = "hashing"

    def __init__(
        self,
        num_embeddings: Any = None,
        embedding_dim: Any = None,
        num_buckets: Any = None,
        hash: Literal["remainder", "multiply_shift"] = "remainder",
        seed: int = 0,
        *,
        vocabulary: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(vocabulary, num_embeddings, embedding_dim, **options)
        self.num_buckets = self._positive("num_buckets", num_buckets)
        if self.num_buckets > self.num_embeddings:
            raise ValueError(
                f"{self._what}: expected num_buckets in 1 … {self.num_embeddings}, the number of ids, "
                f"not {self.num_buckets}"
            )
        self.hash = self._one_of("hash", hash, ("remainder", "multiply_shift"))
        if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < 2**32:
            raise ValueError(f"{self._what}: seed must be an integer in 0 … 2^32 - 1, not {seed!r}")
        self.seed = int(seed)

    def composition(self) -> Composition:
        """One part, picked by the hash."""
        hashed: RowMap = remainder(self.num_buckets)
        if self.hash == "multiply_shift":
            hashed = MultiplyShift(self.num_buckets, self.seed)
        return compose([("buckets", hashed)], self.num_embeddings, self.embedding_dim, "concat", self.std)

    def torch_fields(self) -> dict[str, Any]:
        """The fields of `coset.Hashing`."""
        return {"num_buckets": self.num_buckets, "hash": self.hash, "seed": self.seed}

    def get_config(self) -> dict[str, Any]:
        """Everything that makes an equal layer."""
        return {**super().get_config(), **self.torch_fields()}
