"""Storages: how the numbers of one stored array are kept, one file each.

Every module of this folder is imported, and its `@register_storage`d classes are known by name. Storages of other
packages are found through the entry-point group `coset.storages`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

import torch

from coset.errors import InputError, unknown
from coset.storage.base import STORAGES, InTraining, KernelView, Storage, StoredRows, register_storage
from coset.storage.dense import Dense, DType
from coset.storage.forms import pack_, unpack_
from coset.storage.packed import Packed

__all__ = [
    "DEFAULT",
    "Dense",
    "InTraining",
    "KernelView",
    "Packed",
    "Storage",
    "StoredRows",
    "pack_",
    "register_storage",
    "registered_storages",
    "storage",
    "unpack_",
]

DEFAULT: Storage = Dense()
"""Numbers of the type of the table."""
_INTEGERS = {f"int{bits}": Packed(bits) for bits in range(8, 0, -1)}


def registered_storages() -> Mapping[str, type[Storage]]:
    """Every storage by name: coset's own and those of installed packages."""
    return STORAGES.all()


def storage(given: str | Storage | torch.dtype | Mapping[str, Any]) -> Storage:
    """The storage that `given` names: a storage itself, its JSON, its name, the dtype of dense numbers, or `"int8"` …
    `"int1"`, packed numbers of so many bits.

    Raises:
        InputError: an unknown name, wrong fields, or something else.

    Example:
        >>> storage("bfloat16"), storage({"storage": "dense", "dtype": "float16"}), storage("dense")
        (Dense(dtype='bfloat16'), Dense(dtype='float16'), Dense(dtype=None))
        >>> storage("int4").bits
        4
    """
    if isinstance(given, Storage):
        return given
    if isinstance(given, torch.dtype) or (isinstance(given, str) and given in get_args(DType)):
        return Dense(given)  # type: ignore[arg-type]
    if isinstance(given, str) and given in _INTEGERS:
        return _INTEGERS[given]
    if isinstance(given, str):
        if given not in registered_storages():
            raise unknown("storage", given, [*registered_storages(), *get_args(DType), *_INTEGERS])
        given = {"storage": given}
    if not isinstance(given, Mapping):
        raise InputError(
            f'a storage is a name like "dense", a type of numbers like "bfloat16", a Storage, or a mapping '
            f'{{"storage": "<name>", …}}, not {given!r}'
        )
    return STORAGES.from_json(given)
