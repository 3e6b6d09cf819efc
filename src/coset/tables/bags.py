"""Bags: the ids of multi-hot values, and where each begins."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from coset.errors import InputError
from coset.methods.wrapped import batched, every_one, transforming, values_of
from coset.schema import Table
from coset.settings import one_of
from coset.storage.graphs import unseen

Mode = Literal["sum", "mean", "max"]


class Bags(NamedTuple):
    """Ids in one dimension, where each bag begins, whether the last offset is where the last bag ends, and how many
    ids every bag has, where all have as many."""

    ids: Tensor
    offsets: Tensor
    include_last: bool = False
    length: int | None = None


def checked_mode(mode: Any) -> Mode:
    """`mode`, if it is a known one."""
    chosen: Any = one_of("mode", mode, ("sum", "mean", "max"))
    found: Mode = chosen
    return found


def read_bags(table: Table, ids: Tensor, offsets: Tensor | None, include_last: bool) -> Bags:
    """The bags of these ids.

    Args:
        table: named in errors.
        ids: 1-D with `offsets`, or 2-D `(bags, ids in each)` without.
        offsets: where each bag begins in `ids`.
        include_last: whether `offsets` ends with the number of ids.

    Raises:
        InputError: ids of other dimensions, offsets missing, falling, or leaving ids in no bag.
    """
    name = table.name
    if ids.dim() == 2:
        if offsets is not None:
            raise InputError(f"table {name!r}: ids of shape (bags, length) take no offsets")
        bags, length = ids.shape
        return Bags(ids.reshape(-1), torch.arange(bags, device=ids.device) * length, length=length)
    if ids.dim() != 1:
        raise InputError(f"table {name!r}: ids of a bag are 1-D or 2-D, not {ids.dim()}-D")
    if offsets is None:
        raise InputError(f"table {name!r}: 1-D ids need offsets, which say where each bag begins")
    check_offsets(table, ids, offsets, include_last)
    return Bags(ids, offsets.long(), include_last)


def check_offsets(table: Table, ids: Tensor, offsets: Tensor, include_last: bool) -> None:
    """Raise an `InputError` unless `offsets` cut all of `ids` into bags; in graphs, check their type alone."""
    name = table.name
    if not isinstance(offsets, Tensor):
        raise InputError(
            f"table {name!r}: offsets must be a 1-D tensor of int64 or int32, not {type(offsets).__name__}"
        )
    if offsets.layout != torch.strided or (offsets.is_meta and not ids.is_meta):
        kind = "on the meta device, without values" if offsets.is_meta else str(offsets.layout)[6:]
        raise InputError(f"table {name!r}: offsets must be a dense tensor where the ids are, not {kind}")
    if offsets.dim() != 1 or offsets.dtype not in (torch.int64, torch.int32):
        raise InputError(f"table {name!r}: offsets must be 1-D int64 or int32")
    if unseen(offsets):
        return
    if len(offsets) == 0:
        if include_last:
            raise InputError(f"table {name!r}: include_last_offset needs offsets to end with {len(ids)}, not none")
        if len(ids):  # torch's kernel would read beyond its memory
            raise InputError(f"table {name!r}: offsets are empty, so {len(ids)} ids are in no bag; begin with 0")
        return
    for each in every_one(offsets) if batched(offsets) else [values_of(offsets)]:
        starts: Any = each.numpy() if each.is_cpu and not transforming() else each  # numpy takes a fifth of the time
        last = int(starts[-1])
        wrong = int(starts[0]) != 0 or last > len(ids) or bool((starts[1:] < starts[:-1]).any())
        if wrong or (include_last and last != len(ids)):
            end = f"end at {len(ids)}" if include_last else f"stay within {len(ids)}"
            raise InputError(f"table {name!r}: offsets must begin at 0, not fall, and {end}, not {_short(each)}")


def closed(offsets: Tensor, ids: int, include_last: bool) -> Tensor:
    """A copy of offsets that have been checked, int64, which ends with the number of ids."""
    if unseen(offsets) or not offsets.is_cpu:
        return torch.cat([offsets.long(), offsets.new_tensor([] if include_last else [ids], dtype=torch.int64)])
    bounds = np.empty(len(offsets) + (not include_last), np.int64)
    bounds[: len(offsets)] = offsets.numpy()
    if not include_last:
        bounds[-1] = ids
    return torch.from_numpy(bounds)


def check_weights(table: Table, mode: Mode, ids: Tensor, weights: Tensor | None) -> None:
    """Raise an `InputError` unless there is a weight for each id, and the mode takes weights."""
    if weights is None:
        return
    if not isinstance(weights, Tensor) or weights.is_complex():
        kind = str(weights.dtype)[6:] if isinstance(weights, Tensor) else type(weights).__name__
        raise InputError(f"table {table.name!r}: per_sample_weights must be a tensor of real numbers, not {kind}")
    if weights.layout != torch.strided or (weights.is_meta and not ids.is_meta):  # torch would read no matter what
        kind = "on the meta device, without values" if weights.is_meta else str(weights.layout)[6:]
        raise InputError(
            f"table {table.name!r}: per_sample_weights must be a dense tensor where the ids are, not {kind}"
        )
    if mode != "sum":
        raise InputError(f"table {table.name!r}: per_sample_weights are for mode 'sum', not {mode!r}")
    if weights.shape != ids.shape:
        raise InputError(
            f"table {table.name!r}: per_sample_weights have shape {tuple(weights.shape)}, the ids {tuple(ids.shape)}"
        )


def _short(values: Tensor) -> str:
    shown = [int(value) for value in values[:6]]
    return f"{shown}" if len(values) <= 6 else f"{str(shown)[:-1]}, …, {int(values[-1])}]"
