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

_INTEGERS = {f"int{bits}": bits for bits in range(8, 0, -1)}
"""As `coset.storage` names them."""


def layer_storage(given: Any) -> ArrayStorage:
    """The storage that `given` names: its name, a type of numbers, `"int8"` … `"int1"` for packed numbers of so many
    bits, its JSON, or a storage of coset or of its layers.

    Raises:
        InputError: an unknown name, wrong fields, or something else.

    Example:
        >>> layer_storage("bfloat16"), layer_storage("int4").bits
        (DenseNumbers(dtype='bfloat16'), 4)
    """
    if isinstance(given, ArrayStorage):
        return given
    if hasattr(given, "to_json"):
        given = given.to_json()
    name = str(given).removeprefix("torch.")
    if name in DTYPES and not isinstance(given, Mapping):  # also a dtype of torch, without torch
        given = {"storage": "dense", "dtype": name}
    elif isinstance(given, str) and given in _INTEGERS:
        given = {"storage": "packed", "bits": _INTEGERS[given]}
    elif isinstance(given, str):
        if given not in LAYER_STORAGES.all():
            raise unknown("storage", given, [*LAYER_STORAGES.all(), *DTYPES, *_INTEGERS])
        given = {"storage": given}
    if not isinstance(given, Mapping):
        raise InputError(
            f'a storage is a name like "packed", a type of numbers like "bfloat16", a mapping {{"storage": "<name>", …'
            f"}} or a storage of coset, not {given!r}"
        )
    return LAYER_STORAGES.from_json(given)
