"""Storages of layers: how the numbers of one stored array are kept, one file each, as `coset.storage` for torch.

They have the names, fields and JSON of coset's storages, so that these may be given to a layer. Those of other packages
are found through the entry-point group `coset.keras_storages`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from coset.errors import InputError, unknown
from coset.keras.storage.base import LAYER_STORAGES, ArrayStorage, LayerArray, Weight, register_layer_storage
from coset.keras.storage.dense import DTYPES

__all__ = ["ArrayStorage", "LayerArray", "Weight", "layer_storage", "register_layer_storage"]


def layer_storage(given: Any) -> ArrayStorage:
    """The storage that `given` names: its name, a type of numbers, its JSON, or a storage of coset or of its layers.

    Raises:
        InputError: an unknown name, wrong fields, or something else.

    Example:
        >>> layer_storage("bfloat16"), layer_storage({"storage": "packed", "bits": 4}).bits
        (DenseNumbers(dtype='bfloat16'), 4)
    """
    if isinstance(given, ArrayStorage):
        return given
    if hasattr(given, "to_json"):
        given = given.to_json()
    name = str(given).removeprefix("torch.")
    if name in DTYPES and not isinstance(given, Mapping):  # also a dtype of torch, without torch
        given = {"storage": "dense", "dtype": name}
    elif isinstance(given, str):
        if given not in LAYER_STORAGES.all():
            raise unknown("storage", given, [*LAYER_STORAGES.all(), *DTYPES])
        given = {"storage": given}
    if not isinstance(given, Mapping):
        raise InputError(
            f'a storage is a name like "packed", a type of numbers like "bfloat16", a mapping {{"storage": "<name>", …'
            f"}} or a storage of coset, not {given!r}"
        )
    return LAYER_STORAGES.from_json(given)
