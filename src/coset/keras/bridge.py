"""Weights between Keras layers and torch modules of the same method.

The one file of this room that knows the torch side; it imports it inside its functions, so that a Keras program on
another backend never loads torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from coset.keras.base import TableLayer
from coset.keras.compositional import SCHEMES, CompositionalEmbedding
from coset.keras.full import FullEmbedding
from coset.keras.hashing import HashingEmbedding
from coset.keras.low_rank import LowRankEmbedding
from coset.keras.mixed_dimension import MDEmbedding
from coset.keras.quotient_remainder import QREmbedding

if TYPE_CHECKING:
    from coset.tables import Embedding


def from_torch(embedding: Embedding, **options: Any) -> TableLayer:
    """The layer of an `coset.Embedding`'s method, with its weights: equal vectors for equal ids.

    Args:
        embedding: its method is one of those that a layer computes.
        options: of the layer, such as `name` or `mask_zero`; its name is by default that of the table. With another
            `storage` than that of the method, numbers are rounded to it.

    Raises:
        ValueError: there is no layer for the method, or the embedding has an `order` or a `padding_idx`.

    Example:
        >>> from coset import Embedding, LowRank
        >>> from_torch(Embedding(10, 4, LowRank(2), name="user")).name
        'user'
    """
    table, method = embedding.table, embedding.method.to_json()
    module: Any = embedding.tables[table.name]
    ordered = getattr(module, "order", None) is not None
    if ordered or embedding.padding_idx is not None:
        kept = "an order" if ordered else "a padding_idx"
        raise ValueError(f"table {table.name!r}: expected an embedding of bare ids, but it has {kept}")
    other = options.pop("storage", None)
    dtype = str(table.dtype).removeprefix("torch.")
    layer = _layer(table, method, {"name": table.name, "std": table.std, "dtype": dtype} | options)
    layer.take_torch_state({array.name: _numpy(module.get_submodule(array.name)) for array in layer.arrays()})
    if other is not None:
        layer.store(other)
    return layer


def to_torch(layer: TableLayer) -> Embedding:
    """The `coset.Embedding` of a layer's method, with its weights: equal vectors for equal ids.

    The vocabulary, if there is one, stays with the layer: `layer.vocabulary.lookup(words)` gives the ids.

    Raises:
        ValueError: the layer is not built yet.

    Example:
        >>> layer = LowRankEmbedding(10, 4, rank=2, name="user")
        >>> layer.build()
        >>> to_torch(layer).method
        LowRank(rank=2)
    """
    import torch

    from coset.methods import from_json
    from coset.tables import Embedding

    if not layer.built:
        raise ValueError(f"{layer.name}: expected a built layer, but it has no weights yet; call it, or layer.build()")
    name = layer.name.replace(".", "_")
    embedding = Embedding(
        layer.num_embeddings,
        layer.embedding_dim,
        from_json({"method": layer.torch_method, **layer.torch_fields(), "storage": layer.storage.to_json()}),
        name=name,
        std=layer.std,
        dtype=getattr(torch, layer.variable_dtype),
    )
    for key, state in layer.torch_state().items():
        array = embedding.tables[name].get_submodule(key)
        array.load_state_dict({key: torch.from_numpy(values) for key, values in state.items()})
    return embedding


def _numpy(array: Any) -> dict[str, np.ndarray]:
    """The state of a torch module; floats of any type, which numpy may not know, as float64."""
    state = {key: value.detach().cpu() for key, value in array.state_dict().items()}
    return {key: np.asarray(value.double() if value.is_floating_point() else value) for key, value in state.items()}


def _layer(table: Any, method: dict[str, Any], options: dict[str, Any]) -> TableLayer:
    n, dim = table.num_embeddings, table.embedding_dim
    name, _ = method.pop("method"), method.pop("version")
    options = {"storage": method.pop("storage", "dense")} | options
    if name == "mixed_dimension":
        sizes, widths = method.pop("block_sizes"), method.pop("block_dims")
        return MDEmbedding(sizes, widths, dim, **method, **options)
    for scheme, of in SCHEMES.items():
        if name == of:
            if method.pop("widths", None) is not None:
                raise ValueError(
                    f"table {table.name!r}: expected parts of equal width, as layers have, but widths are given"
                )
            return CompositionalEmbedding(n, dim, **method, scheme=scheme, **options)
    layers = {cls.torch_method: cls for cls in (FullEmbedding, QREmbedding, HashingEmbedding, LowRankEmbedding)}
    if name not in layers:
        known = ", ".join(sorted({*layers, *SCHEMES, "mixed_dimension"}))
        raise ValueError(f"table {table.name!r}: expected a method that a layer computes, {known}, not {name}")
    return layers[name](n, dim, **method, **options)
