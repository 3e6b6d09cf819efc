"""The storages that a planner may choose from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from coset.errors import InputError, brief
from coset.storage import Storage, registered_storages
from coset.storage import storage as storage_of

Storages = Sequence[str | Storage | Mapping[str, Any]]
"""Names of storages, or storages with their choices."""


_COLUMNS = 8


class AllowedStorages:
    """The storages that may be chosen.

    Args:
        given: a name, such as `"packed"`, allows every choice of bits; `"int8"`, `"bfloat16"` or a storage allows that
            one alone. All registered storages where this is None. The type of the table is always allowed.

    Attributes:
        each: all of them that take less than floats of 32 bits.
        free: whether bits may differ by column and by block of popularity.

    Raises:
        InputError: an unknown name, or something else.

    Example:
        >>> AllowedStorages(["float32"]).each, AllowedStorages(["int8"]).each, AllowedStorages().free
        ([], [Packed(bits=8, step='column', block=8, padded=False, step_dtype='float32', masters=True)], True)
    """

    def __init__(self, given: Storages | None = None) -> None:
        known = registered_storages()
        names: Storages = list(known) if given is None else given
        if isinstance(names, str) or not isinstance(names, Sequence):
            raise InputError(f"storages must be a list of names or of storages, not {brief(given)}")
        found: list[Storage] = []
        for one in names:
            found += known[one].candidates() if isinstance(one, str) and one in known else [storage_of(one)]
        self.each = [one for one in dict.fromkeys(found) if _is_smaller(one)]
        self.free = any(isinstance(one, str) and one in known and known[one].by_bits for one in names)

    @property
    def floats_alone(self) -> bool:
        """Whether nothing but floats of the types of tables is allowed."""
        return not self.each


def _is_smaller(one: Storage) -> bool:
    """Whether it takes less than floats of 32 bits."""
    return sum(part.bytes for part in one.components("rows", 1024, _COLUMNS, torch.float32)) < 4096 * _COLUMNS
