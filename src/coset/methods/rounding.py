"""Whether tables of a model are read as they will be stored."""

from __future__ import annotations

from typing import TypeVar

from torch import Tensor, nn

from coset.errors import InputError
from coset.methods.base import TableModule
from coset.storage import StoredRows

M = TypeVar("M", bound=nn.Module)


def rounding_(model: M, on: bool, fit: bool = True) -> M:
    """Have tables in their training form read as they will be stored, or as they are trained: in floats, for the first
    part of a training, which has yet to find the range of values. `pack_` rounds in any case.

    Args:
        model: a table, a collection or any model with some inside.
        on: as they will be stored; how fresh tables are read.
        fit: where it is turned on, whether levels are fitted to the numbers first; each row counts as often as it is
            read, where a table has frequencies.

    Returns:
        The model itself.

    Raises:
        InputError: something that is no module, or levels cannot be fitted, since a number is not finite; nothing has
            changed.
    """
    if not isinstance(model, nn.Module):
        raise InputError(f"a model is a torch.nn.Module, not {type(model).__name__}")
    weights: dict[int, Tensor] = {}
    if on and fit:
        for table in model.modules():
            if isinstance(table, TableModule):
                weights |= {id(array): of for array, of in table.reads()}
    arrays = [(name, array) for name, array in model.named_modules() if isinstance(array, StoredRows)]
    for name, array in arrays if on and fit else []:
        if array.adjusted and (fault := array.fault()) is not None:
            raise InputError(f"{name or 'the array'}: {fault}, so no levels can be fitted; nothing has changed")
    for _, array in arrays:
        array.rounding_(on, fit, weights.get(id(array)))
    return model
