"""The stored and the training form of all arrays of a model."""

from __future__ import annotations

from typing import TypeVar

from torch import nn

from coset.errors import InputError
from coset.storage.base import StoredRows

M = TypeVar("M", bound=nn.Module)


def pack_(model: M) -> M:
    """Bring every table of a model into its stored form, which takes the bytes that its ledger says: of `Packed` arrays
    codes and steps are left, and float masters are gone. Lookups give the same to the bit. Tables that are stored as
    they are trained stay as they are.

    Args:
        model: a table, a collection or any model with some inside.

    Returns:
        The model itself.

    Raises:
        InputError: a number is not finite; nothing has changed.

    Example:
        >>> import coset
        >>> table = coset.Embedding(1000, 8, coset.Full(storage=coset.Packed(4)))
        >>> sum(value.nbytes for value in pack_(table).buffers())
        4032
    """
    arrays = _arrays(model)
    for name, array in arrays:
        if (fault := array.fault()) is not None:
            raise InputError(f"{name or 'the array'}: {fault}, and so it cannot be packed; nothing has changed")
    for _, array in arrays:
        array.pack()
    return model


def unpack_(model: M) -> M:
    """Bring every table of a model into its training form, whose parameters optimizers of torch train; a fresh table is
    in it already. `pack_` leads back.

    Args:
        model: as for `pack_`.

    Returns:
        The model itself.
    """
    for _, array in _arrays(model):
        array.unpack()
    return model


def _arrays(model: nn.Module) -> list[tuple[str, StoredRows]]:
    if not isinstance(model, nn.Module):
        raise InputError(f"a model is a torch.nn.Module, not {type(model).__name__}")
    return [(name, array) for name, array in model.named_modules() if isinstance(array, StoredRows)]
