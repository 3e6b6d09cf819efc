"""`CompositionalEmbedding`: any number of complementary partitions as a Keras layer."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, Literal

import keras
import numpy as np

from coset.keras.composition import Composition, Operation, compose
from coset.keras.row_layer import RowLayer
from coset.partitions import chinese_remainder, mixed_radix

Scheme = Literal["mixed_radix", "chinese_remainder"]
SCHEMES: dict[Scheme, str] = {
    "mixed_radix": "generalized_quotient_remainder",
    "chinese_remainder": "chinese_remainder",
}
"""The torch method of every scheme."""


@keras.saving.register_keras_serializable(package="coset")
class CompositionalEmbedding(RowLayer):
    """Compositional embeddings of any number of complementary partitions (Shi et al., 2019, arXiv 1909.02107):
    the vector of an id is composed of one row for each of its digits, or of its remainders.

    It stores `sum(moduli)` rows or less, and no two ids share all of theirs. `coset.partitions.balanced_moduli` and
    `coprime_moduli` give the moduli of the fewest rows.

    Args:
        num_embeddings: the number of ids n, or a vocabulary.
        embedding_dim: elements of a vector; for `concat` a multiple of the number of moduli.
        moduli: rows of every part; their product is at least n.
        operation: `"mult"`, `"add"` or `"concat"`.
        scheme: `"mixed_radix"`, the digits of the id, the least significant first; or `"chinese_remainder"`, its
            remainders by moduli that are pairwise coprime.
        vocabulary: the words, by its own name.
        options: see `TableLayer`.

    Raises:
        ValueError: an argument is out of range, the product is too small, or the moduli are not coprime.

    Example:
        >>> layer = CompositionalEmbedding(6040, 64, moduli=(20, 19, 17), scheme="chinese_remainder")
        >>> layer.build()
        >>> layer.count_params() // 64
        56
    """

    def __init__(
        self,
        num_embeddings: Any = None,
        embedding_dim: Any = None,
        moduli: Any = None,
        operation: Operation = "mult",
        scheme: Scheme = "mixed_radix",
        *,
        vocabulary: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(vocabulary, num_embeddings, embedding_dim, **options)
        if not isinstance(moduli, Sequence | np.ndarray) or isinstance(moduli, str) or len(moduli) == 0:
            raise ValueError(f"{self._what}: moduli must be a list of positive integers, not {moduli!r}")
        self.moduli = tuple(self._positive("every modulus", modulus) for modulus in moduli)
        if prod(self.moduli) < self.num_embeddings:
            raise ValueError(
                f"{self._what}: expected moduli whose product is at least the {self.num_embeddings} ids, but "
                f"{list(self.moduli)} have the product {prod(self.moduli)}, so ids would share every row"
            )
        self.operation = self._operation(operation, parts=len(self.moduli))
        self.scheme = self._one_of("scheme", scheme, tuple(SCHEMES))
        self._partitions = (mixed_radix if scheme == "mixed_radix" else chinese_remainder)(self.moduli)

    @property
    def torch_method(self) -> str:  # type: ignore[override]
        """Name of the torch method that computes the same."""
        return SCHEMES[self.scheme]

    def composition(self) -> Composition:
        """A part for each modulus."""
        partitions = [(f"part{number}", partition) for number, partition in enumerate(self._partitions)]
        return compose(partitions, self.num_embeddings, self.embedding_dim, self.operation, self.std)

    def torch_fields(self) -> dict[str, Any]:
        """The fields of the torch method."""
        return {"moduli": list(self.moduli), "operation": self.operation}

    def get_config(self) -> dict[str, Any]:
        """Everything that makes an equal layer."""
        return {**super().get_config(), **self.torch_fields(), "scheme": self.scheme}
