"""`MDEmbedding`: mixed dimensions as a Keras layer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate
from reprlib import repr as short
from typing import Any, ClassVar, Literal

import keras
import numpy as np
from keras import ops

from coset.keras.base import LAYOUTS, TableLayer
from coset.keras.composition import Array, Composition, projected, projected_as_keras
from coset.keras.vocabulary import checked_words

Tensor = Any


@keras.saving.register_keras_serializable(package="coset")
class MDEmbedding(TableLayer):
    """Mixed-dimension embeddings (Ginart et al., 2019, arXiv 1909.11810): ids in order of popularity are cut into
    blocks, and a block narrower than the dim has a projection of its own to it.

    The torch method is `coset.MixedDimension`. On TensorFlow an id is looked up in its own block only. JAX and
    torch compile for shapes that do not depend on ids: every block computes every id, and the right one is kept.

    Args:
        blocks_vocabulary: the words of every block, the most popular first, or the number of ids in each.
        blocks_embedding_dims: row width of every block, each 1 … base_embedding_dim.
        base_embedding_dim: elements of a vector.
        block_sizes: the number of ids in every block, by its own name.
        layout: `"compact"`, or `"keras"`, the layout of the Keras example "Memory-efficient embeddings for
            recommendation systems": one more row a block, that is never read, a bias in every projection, and
            Keras' initial values.
        options: see `TableLayer`. With `num_oov_indices=1`, unseen words share one more row of the last block.

    Raises:
        ValueError: an argument is out of range, or a word is in two blocks or twice in one.

    Example:
        >>> layer = MDEmbedding([400, 1300, 2006], [64, 32, 16], 64)
        >>> layer.build()
        >>> layer.count_params()
        102368
    """

    torch_method: ClassVar[str] = "mixed_dimension"

    def __init__(
        self,
        blocks_vocabulary: Any = None,
        blocks_embedding_dims: Any = None,
        base_embedding_dim: Any = None,
        *,
        block_sizes: Any = None,
        layout: Literal["compact", "keras"] = "compact",
        name: str | None = None,
        **options: Any,
    ) -> None:
        where = f"{type(self).__name__} {name!r}" if name else type(self).__name__
        words, sizes = _blocks(blocks_vocabulary, block_sizes, where)
        super().__init__(words, None if words else sum(sizes), base_embedding_dim, name=name, **options)
        self.block_sizes = (*sizes[:-1], sizes[-1] + self.num_oov_indices)
        if not isinstance(blocks_embedding_dims, Sequence | np.ndarray) or len(blocks_embedding_dims) != len(sizes):
            raise ValueError(
                f"{self._what}: blocks_embedding_dims must be one width for each of the {len(sizes)} blocks, "
                f"not {blocks_embedding_dims!r}"
            )
        self.blocks_embedding_dims = tuple(self._positive("every width", width) for width in blocks_embedding_dims)
        if max(self.blocks_embedding_dims) > self.embedding_dim:
            raise ValueError(
                f"{self._what}: expected blocks_embedding_dims in 1 … {self.embedding_dim}, the base_embedding_dim, "
                f"not {list(self.blocks_embedding_dims)}"
            )
        self.layout = self._one_of("layout", layout, LAYOUTS)

    def arrays(self) -> list[Array]:
        """The arrays of every block."""
        return [array for block in self._compositions for array in block.arrays()]

    def vectors(self, ids: Tensor) -> Tensor:
        """Vectors of ids that are in range."""
        if len(self.block_sizes) == 1:
            return self._block(0, ids)
        return self._chosen(ids) if keras.backend.backend() == "tensorflow" else self._masked(ids)

    def vectors_or_nan(self, ids: Tensor, inside: Tensor) -> Tensor:
        """Vectors of any ids; NaN for those that are not `inside` the range."""
        if len(self.block_sizes) > 1 and keras.backend.backend() == "tensorflow":
            return self._chosen(ids)
        return super().vectors_or_nan(ids, inside)

    def torch_fields(self) -> dict[str, Any]:
        """The fields of `coset.MixedDimension`."""
        return {
            "block_sizes": list(self.block_sizes),
            "block_dims": list(self.blocks_embedding_dims),
            "layout": self.layout,
        }

    def get_config(self) -> dict[str, Any]:
        """Everything that makes an equal layer."""
        config = super().get_config()
        words, _, dim = (config.pop(key) for key in ("vocabulary", "num_embeddings", "embedding_dim"))
        return {
            **config,
            "blocks_vocabulary": words and [words[start:stop] for start, stop in self._ranges],
            "block_sizes": None if words else list(self.block_sizes),
            "blocks_embedding_dims": list(self.blocks_embedding_dims),
            "base_embedding_dim": dim,
            "layout": self.layout,
        }

    @cached_property
    def _compositions(self) -> list[Composition]:
        dim = self.embedding_dim
        return [
            (
                projected(size, width, dim, self.std)
                if self.layout == "compact"
                else projected_as_keras(size, width, dim)
            ).under(f"blocks.{number}")
            for number, (size, width) in enumerate(zip(self.block_sizes, self.blocks_embedding_dims, strict=True))
        ]

    @cached_property
    def _ranges(self) -> list[tuple[int, int]]:
        """Where every block begins and ends."""
        stops = list(accumulate(self.block_sizes))
        return list(zip([0, *stops], stops, strict=False))

    def _block(self, number: int, ids: Tensor) -> Tensor:
        """Vectors of ids counted from the beginning of their block."""
        return self._compositions[number].vectors(ids, self._stored_arrays, self.compute_dtype)

    def _chosen(self, ids: Tensor) -> Tensor:
        """Every id in its own block only, and NaN for one in none; the shapes of what is computed depend on the ids."""
        shape = (*ops.shape(ids), self.embedding_dim)
        ids = ops.reshape(ids, (-1,))
        bounds = np.array([0, *(stop for _, stop in self._ranges)], dtype=np.int32)
        block_of = ops.searchsorted(ops.cast(bounds, ids.dtype), ids, side="right")  # blocks count from 1 here
        block_of = ops.pad(block_of, ((0, 1),))  # XLA treats a single element as found, found or not
        places = [ops.nonzero(ops.equal(block_of, number + 1))[0] for number in range(len(self._ranges))]
        place = ops.concatenate(places)
        ids_by_block = ops.take(ids, place, axis=0)  # one read: on TensorFlow, one for each block would take longer
        stops = list(accumulate(ops.shape(block_places)[0] for block_places in places))
        parts = list(zip([0, *stops], stops, strict=False))
        found = [
            self._block(number, ids_by_block[start:stop] - first)
            for number, ((start, stop), (first, _)) in enumerate(zip(parts, self._ranges, strict=True))
        ]
        rows = ops.arange(1, stops[-1] + 1, dtype="int32")
        back = ops.scatter(ops.expand_dims(place, -1), rows, ops.shape(ids))
        return ops.reshape(_put_back(found, parts, back, place), shape)

    def _masked(self, ids: Tensor) -> Tensor:
        """The same vectors in shapes that do not depend on the ids."""
        vectors: Tensor = None
        for number, (start, stop) in enumerate(self._ranges):
            found = self._block(number, ops.clip(ids - start, 0, stop - start - 1))
            vectors = found if vectors is None else ops.where(ops.expand_dims(ids >= start, -1), found, vectors)
        return vectors


def _put_back(found: list[Tensor], parts: list[tuple[Tensor, Tensor]], back: Tensor, place: Tensor) -> Tensor:
    """Row `back` of a row of NaN and, after it, the rows `found`; `parts` are the places of those of each block among
    all, and `place` the readers of each row.

    Its gradient is a read like this one, where TensorFlow would add up rows one by one, and XLA would assume blocks of
    their largest possible size.
    """

    @ops.custom_gradient
    def read(*found: Tensor) -> tuple[Tensor, Any]:
        nowhere = ops.full((1, found[0].shape[-1]), float("nan"), dtype=found[0].dtype)

        def gradient(*args: Tensor, upstream: Tensor = None) -> tuple[Tensor, ...]:
            given = ops.take(args[0] if upstream is None else upstream, place, axis=0)
            return tuple(given[start:stop] for start, stop in parts)

        return ops.take(ops.concatenate([nowhere, *found]), back, axis=0), gradient

    return read(*found)


def _blocks(vocabulary: Any, sizes: Any, where: str) -> tuple[list[Any] | None, list[int]]:
    """All words in one list, or None, and the number of words or ids of every block."""
    given = [value for value in (vocabulary, sizes) if value is not None]
    if len(given) != 1:
        raise ValueError(
            f"{where}: expected a blocks_vocabulary or block_sizes, one of them, but "
            f"{'both' if given else 'neither'} came"
        )
    if isinstance(given[0], str) or not isinstance(given[0], Sequence | np.ndarray) or len(given[0]) == 0:
        raise ValueError(
            f"{where}: expected a list of words, or a number of ids, for every block, at least one, "
            f"not {short(given[0])}"
        )
    blocks = list(given[0])
    if all(isinstance(block, int | np.integer) and not isinstance(block, bool) for block in blocks):
        if min(blocks) < 1:
            raise ValueError(f"{where}: expected at least one id in every block, not {[int(size) for size in blocks]}")
        return None, [int(size) for size in blocks]
    block_of: dict[Any, int] = {}
    sizes = []
    for number, block in enumerate(blocks):
        words = checked_words(block, f"{where}: block {number}")
        for word in words:
            if word in block_of:
                raise ValueError(
                    f"{where}: expected every word in one block, once, but {short(word)} is in block {block_of[word]} "
                    f"and in block {number}"
                )
            block_of[word] = number
        sizes.append(len(words))
    return list(block_of), sizes
