"""The description of a table as a part of its state, so that no state is loaded into a table of another kind.

Equal arrays give other vectors under another operation, seed or number of ids, and their shapes need not differ.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import zip_longest
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from coset.errors import InputError
from coset.methods import TableModule
from coset.methods.index import Indexed
from coset.schema import CHOICE

SUBMODULE = CHOICE.partition(".")[0]
"""The name of the submodule of a table that holds its description."""
_LONGEST = 60


class Description(nn.Module):
    """Keeps the description of a table (`Method.description`) as torch's extra state, and refuses that of another
    table.

    The description is JSON in UTF-8, as a tensor of bytes, since files of tensors hold nothing else.
    """

    def __init__(self, table: str, description: str) -> None:
        super().__init__()
        self.table, self.description = table, description

    def get_extra_state(self) -> Tensor:
        """The description, a tensor of bytes on the CPU."""
        return torch.from_numpy(np.frombuffer(self.description.encode(), np.uint8).copy())

    def set_extra_state(self, state: Any) -> None:
        """Check the description in a state that is being loaded.

        Raises:
            InputError: it is of another table; the message names the first difference.
        """
        if isinstance(state, Tensor) and state.is_meta:
            return
        try:
            there = json.loads(bytes(state.cpu().numpy()))
            found = _difference("", there, json.loads(self.description))
        except (AttributeError, TypeError, ValueError, RecursionError):
            found = "this version of coset cannot read which"
        if found is not None:
            raise InputError(
                f"table {self.table!r}: the state to load is of another table: {found}; build the table as it was "
                f"built there"
            )


def check_state(module: TableModule, state: Mapping[str, Any], prefix: str) -> None:
    """Raise an `InputError` where a state is of another table than `module`, before anything is loaded.

    Args:
        module: a table.
        state: the state of a model.
        prefix: of the keys of the table in it.
    """
    choice: Description = module.get_submodule(SUBMODULE)  # type: ignore[assignment]
    if (words := state.get(f"{prefix}{CHOICE}")) is not None:
        choice.set_extra_state(words)
    if f"{prefix}order" in state and not hasattr(module, "order"):
        raise InputError(
            f"table {choice.table!r}: the state to load is of a table with an order, and this one has none; give "
            f"order={prefix}order of that state"
        )
    for path, inner in module.named_modules():
        if not isinstance(inner, Indexed):
            continue
        for name, own in inner.given.items():
            key = f"{path}.{name}" if path else name
            values = state.get(f"{prefix}{key}")
            if own is not None and isinstance(values, Tensor) and not values.is_meta and values.shape == own.shape:
                _check_index(choice.table, key, values.to(own.device), own)


def _check_index(table: str, key: str, values: Tensor, own: Tensor) -> None:
    differs = (values != own).reshape(len(own), -1).any(1)
    if not bool(differs.any()):
        return
    at = int(differs.nonzero()[0])
    cure = "the order that was given" if key == "order" else "the attributes that were given"
    raise InputError(
        f"table {table!r}: the state to load is of a table with other {key}, from id {at} on "
        f"({values[at].tolist()} there, {own[at].tolist()} here); give {cure} there"
    )


def _difference(where: str, there: Any, here: Any) -> str | None:
    """The first difference of two descriptions, as a sentence."""
    if isinstance(there, Mapping) and isinstance(here, Mapping):
        kinds = there.get("method"), here.get("method")
        if kinds[0] != kinds[1] and not all(isinstance(kind, Mapping) for kind in kinds):
            return f"{_called(where, 'method')} is {_short(kinds[0])} there and {_short(kinds[1])} here"
        for name in dict.fromkeys((*here, *there)):
            inner = where if name == "method" else _called(where, name)
            if (found := _difference(inner, there.get(name), here.get(name))) is not None:
                return found
        return None
    if isinstance(there, list) and isinstance(here, list) and any(isinstance(of, Mapping) for of in (*there, *here)):
        for number, pair in enumerate(zip_longest(there, here)):
            if (found := _difference(f"{where}[{number}]", *pair)) is not None:
                return found
        return None
    if there != here and where == "order":
        return (
            f"it was made {'with' if there else 'without'} an order, and this one {'with' if here else 'without'} one"
        )
    return None if there == here else f"{where} is {_short(there)} there and {_short(here)} here"


def _called(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _short(value: Any) -> str:
    shown = json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else repr(value)
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]} …"
