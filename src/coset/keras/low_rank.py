"""`LowRankEmbedding`: a narrow table and a projection as a Keras layer."""

from __future__ import annotations

from typing import Any, ClassVar

import keras

from coset.keras.composition import Composition, projected
from coset.keras.row_layer import RowLayer


@keras.saving.register_keras_serializable(package="coset")
class LowRankEmbedding(RowLayer):
    """A row of `rank` elements an id, times one `(rank, embedding_dim)` matrix that all ids share (the factorised
    embeddings of ALBERT, Lan et al., 2019, arXiv 1909.11942). The torch method is `coset.LowRank`.

    Args:
        num_embeddings: the number of ids n, or a vocabulary.
        embedding_dim: elements of a vector.
        rank: elements of a row, 1 … embedding_dim; at embedding_dim there is no projection.
        vocabulary: the words, by its own name.
        options: see `TableLayer`.

    Raises:
        ValueError: an argument is out of range.

    Example:
        >>> layer = LowRankEmbedding(6040, 64, rank=8)
        >>> layer.build()
        >>> layer.count_params()
        48832
    """

    torch_method: ClassVar[str] = "low_rank"

    def __init__(
        self,
        num_embeddings: Any = None,
        embedding_dim: Any = None,
        rank: Any = None,
        *,
        vocabulary: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(vocabulary, num_embeddings, embedding_dim, **options)
        self.rank = self._positive("rank", rank)
        if self.rank > self.embedding_dim:
            raise ValueError(
                f"{self._what}: expected a rank in 1 … {self.embedding_dim}, the embedding_dim, not {self.rank}"
            )

    def composition(self) -> Composition:
        """Narrow rows and, where they are narrow, the projection."""
        return projected(self.num_embeddings, self.rank, self.embedding_dim, self.std)

    def torch_fields(self) -> dict[str, Any]:
        """The field of `coset.LowRank`."""
        return {"rank": self.rank}

    def get_config(self) -> dict[str, Any]:
        """Everything that makes an equal layer."""
        return {**super().get_config(), **self.torch_fields()}
