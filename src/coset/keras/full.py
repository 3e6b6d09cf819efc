"""`FullEmbedding`: the table as it is, as a Keras layer."""

from __future__ import annotations

from typing import Any, ClassVar

import keras

from coset.keras.composition import Composition, projected
from coset.keras.row_layer import RowLayer


@keras.saving.register_keras_serializable(package="coset")
class FullEmbedding(RowLayer):
    """One row an id: `keras.layers.Embedding` with a vocabulary and a storage. The torch method is `coset.Full`.

    Args:
        num_embeddings: the number of ids n, or a vocabulary.
        embedding_dim: elements of a vector.
        vocabulary: the words, by its own name.
        options: see `TableLayer`.

    Raises:
        ValueError: an argument is out of range.

    Example:
        >>> layer = FullEmbedding(6040, 64, storage={"storage": "packed", "bits": 4})
        >>> layer.build()
        >>> layer.pack()
        >>> layer.count_params()  # 6040 · 64 / 2 bytes, and 64 steps
        193344
    """

    torch_method: ClassVar[str] = "full"

    def __init__(
        self, num_embeddings: Any = None, embedding_dim: Any = None, *, vocabulary: Any = None, **options: Any
    ) -> None:  # fmt: skip
        super().__init__(vocabulary, num_embeddings, embedding_dim, **options)

    def composition(self) -> Composition:
        """Rows as wide as vectors."""
        return projected(self.num_embeddings, self.embedding_dim, self.embedding_dim, self.std)

    def torch_fields(self) -> dict[str, Any]:
        """`coset.Full` has none."""
        return {}
