"""Ids as jagged nested tensors of torch: lists of any lengths, which are one array and where each list begins in it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from coset.errors import InputError
from coset.schema import Table
from coset.storage.graphs import unseen


def is_nested(ids: Any) -> bool:
    """Whether these ids are a nested tensor."""
    return isinstance(ids, Tensor) and ids.is_nested


def values_within(table: Table, ids: Tensor, what: str = "ids") -> Tensor:
    """The ids (or `what` they are) of all lists, concatenated.

    Raises:
        InputError: the tensor is of torch's older, strided layout.
    """
    if ids.layout != torch.jagged:
        raise InputError(f"table {table.name!r}: nested {what} must be of layout torch.jagged, not strided")
    values: Tensor = ids.values()
    return values


def like(vectors: Tensor, ids: Tensor) -> Tensor:
    """The vectors of all ids, in lists as the ids are."""
    nested: Any = ids
    found: Tensor = torch.nested.nested_tensor_from_jagged(
        vectors, nested.offsets(), nested.lengths(), jagged_dim=nested._ragged_idx
    )
    return found


def bags_within(table: Table, ids: Tensor, what: str = "ids") -> tuple[Tensor, Tensor]:
    """The ids (or `what` they are) of all bags, and where each begins, and, last, their number.

    Raises:
        InputError: not one list a bag, or lists with gaps between them.
    """
    values, nested = values_within(table, ids, what), ids
    if ids.dim() != 2 or nested.lengths() is not None:  # type: ignore[attr-defined]
        raise InputError(f"table {table.name!r}: nested {what} of bags are one list a bag, without room between lists")
    offsets: Tensor = nested.offsets()  # type: ignore[attr-defined]
    return values, offsets


def weights_within(table: Table, weights: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor | None]:
    """The weights of the ids of all bags, which begin at `offsets`, and None; or, in graphs, where lengths are unknown,
    which lists are as long as those of the ids.

    Raises:
        InputError: as `bags_within`; or lists of other lengths, so that a weight would meet the id of another bag.
    """
    values, begins = bags_within(table, weights, "per_sample_weights")
    if begins is offsets:
        return values, None
    if len(begins) != len(offsets):
        raise InputError(
            f"table {table.name!r}: nested per_sample_weights have {len(begins) - 1} lists, the ids {len(offsets) - 1}"
        )
    alike = torch.eq(begins.diff(), offsets.diff())
    if unseen(alike):
        return values, alike
    if not alike.all():
        bag = int(alike.int().argmin())
        lengths = [int(each[bag + 1] - each[bag]) for each in (begins, offsets)]
        raise InputError(
            f"table {table.name!r}: nested per_sample_weights have {lengths[0]} elements in bag {bag}, the ids "
            f"{lengths[1]}; give a weight for each id, in lists of the same lengths"
        )
    return values, None
