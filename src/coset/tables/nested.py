"""Ids as jagged nested tensors of torch: lists of any lengths, which are one array and where each list begins in it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from coset.errors import InputError
from coset.schema import Table


def is_nested(ids: Any) -> bool:
    """Whether these ids are a nested tensor."""
    return isinstance(ids, Tensor) and ids.is_nested


def values_within(table: Table, ids: Tensor) -> Tensor:
    """The ids of all lists, one list behind the other.

    Raises:
        InputError: the tensor is of torch's older, strided layout.
    """
    if ids.layout != torch.jagged:
        raise InputError(f"table {table.name!r}: nested ids must be of layout torch.jagged, not strided")
    values: Tensor = ids.values()
    return values


def like(vectors: Tensor, ids: Tensor) -> Tensor:
    """The vectors of all ids, in lists as the ids are."""
    nested: Any = ids
    found: Tensor = torch.nested.nested_tensor_from_jagged(
        vectors, nested.offsets(), nested.lengths(), jagged_dim=nested._ragged_idx
    )
    return found


def bags_within(table: Table, ids: Tensor) -> tuple[Tensor, Tensor]:
    """The ids of all bags, and where each begins, and, last, their number.

    Raises:
        InputError: not one list a bag, or lists with room between them.
    """
    values, nested = values_within(table, ids), ids
    if ids.dim() != 2 or nested.lengths() is not None:  # type: ignore[attr-defined]
        raise InputError(f"table {table.name!r}: nested ids of bags are one list a bag, without room between lists")
    offsets: Tensor = nested.offsets()  # type: ignore[attr-defined]
    return values, offsets
