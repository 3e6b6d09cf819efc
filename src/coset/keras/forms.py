"""The storage, and the training and the stored form, of all tables of a model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import keras

from coset.keras.stored import StoredLayer

M = TypeVar("M")


def pack_layers(model: M) -> M:
    """Bring every table of a model into its stored form, as `coset.pack_` does in torch: of packed storages codes and
    steps are left, the bytes that the ledger says, and float masters are gone. Lookups give the same. Tables that are
    stored as they are trained stay as they are.

    Packed rows are read, saved and loaded, and not trained. Functions that Keras compiled for the model are compiled
    anew, and a compiled model has a fresh optimizer of the same settings, as the state of rows that are gone goes with
    them; so hand over the outermost model. A `tf.function` of your own is to be made again.

    Args:
        model: a layer of coset, or any model or layer with some inside.

    Returns:
        The model itself.

    Raises:
        ValueError: a number is not finite; nothing has changed.

    Example:
        >>> from coset.keras import LowRankEmbedding
        >>> layer = LowRankEmbedding(1000, 8, rank=8, storage={"storage": "packed", "bits": 4})
        >>> [(variable.name, tuple(variable.shape)) for variable in pack_layers(layer).weights]
        [('rows_codes', (1000, 4)), ('rows_scales', (8,))]
    """
    layers = _layers(model)
    for layer in layers:
        if layer.storage.has_forms and (fault := layer.fault()) is not None:
            raise ValueError(f"{fault}, and so it cannot be packed; nothing has changed")
    return _changed(model, [one for one in layers if one.storage.has_forms and not one.packed], StoredLayer.pack)


def unpack_layers(model: M) -> M:
    """Bring every table of a model into its training form, in which a fresh table is already; `pack_layers` leads back.

    Args:
        model: as for `pack_layers`, and as there its optimizer is fresh.

    Returns:
        The model itself.
    """
    return _changed(model, [layer for layer in _layers(model) if layer.packed], StoredLayer.unpack)


def store_layers(model: M, storage: Any) -> M:
    """Keep the numbers of every table of a model in another storage from now on, in its training form: where it rounds,
    steps are fitted to the numbers by least squares. Then `pack_layers` makes what a server reads, or `fit` trains on,
    with rounding in the forward pass.

    Args:
        model: as for `pack_layers`, and as there its optimizer is fresh.
        storage: as a layer takes it.

    Returns:
        The model itself.

    Raises:
        ValueError: the storage cannot hold the arrays of a layer, and nothing has changed; or a number is not finite.

    Example:
        >>> from coset.keras import LowRankEmbedding
        >>> layer = store_layers(LowRankEmbedding(1000, 8, rank=8), "packed")
        >>> [variable.name for variable in layer.weights]
        ['rows_master', 'rows_scales']
    """
    layers = _layers(model)
    for layer in layers:
        layer.storable(storage)
    return _changed(model, layers, lambda layer: layer.store(storage))


def _changed(model: M, layers: list[StoredLayer], change: Callable[[StoredLayer], None]) -> M:
    for layer in layers:
        change(layer)
    if layers:
        for inner in _all(model):
            _forget(inner)
    return model


def _forget(model: Any) -> None:
    """Have a model compile its functions again, and train what there is now."""
    if not isinstance(model, keras.Model):
        return
    model.train_function = model.test_function = model.predict_function = None
    optimizer = getattr(model, "optimizer", None)
    if optimizer is not None and optimizer.built:
        model.optimizer = type(optimizer).from_config(optimizer.get_config())
        model.optimizer.build(model.trainable_variables)  # as Keras does when it loads the model


def _layers(model: Any) -> list[StoredLayer]:
    return [layer for layer in _all(model) if isinstance(layer, StoredLayer)]


def _all(model: Any) -> list[Any]:
    if not isinstance(model, keras.layers.Layer):
        raise ValueError(f"a model is a keras.Model or a layer, not {type(model).__name__}")
    return list(model._flatten_layers())
