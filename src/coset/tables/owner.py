"""What all that users put in a model has in common: tables owned, named, shared, and read by checked ids."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from coset.errors import InputError, unknown
from coset.ledger import measure
from coset.methods import Method, TableModule, method
from coset.schema import Component, Table

MethodLike = str | Method | Mapping[str, Any]


def check_ids(table: Table, ids: Tensor) -> None:
    """Raise unless `ids` are whole numbers in `0 … num_embeddings - 1`; compiled graphs check the type alone.

    Raises:
        TypeError: ids that are not int64 or int32.
        IndexError: an id out of range; the message names the table, the id and the range.
    """
    if ids.dtype not in (torch.int64, torch.int32):
        raise TypeError(f"table {table.name!r}: ids must be int64 or int32, not {str(ids.dtype)[6:]}")
    if torch.compiler.is_compiling() or ids.numel() == 0 or ids.is_meta:
        return
    low, high = (int(bound) for bound in ids.aminmax())
    if low < 0 or high >= table.num_embeddings:
        wrong = low if low < 0 else high
        raise IndexError(
            f"table {table.name!r}: id {wrong} is out of range, its ids are 0 … {table.num_embeddings - 1}"
        )


class NamedModules(nn.Module):
    """Modules by name. Unlike `nn.ModuleDict` it has room for tables called `items` or `type`."""

    def __init__(self, modules: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self._modules.update(modules)

    def __getitem__(self, name: str) -> Any:
        return self._modules[name]


class Tables(nn.Module):
    """Owns table modules, their state named `tables.<table>.<component>`, and reads checked ids from them.

    Args:
        methods: the tables and how each is stored.
        orders: id → popularity rank, a permutation, by table name; see `Embedding`.
        device: of the parameters.
    """

    def __init__(
        self,
        methods: Iterable[tuple[Table, MethodLike]],
        orders: Mapping[str, np.ndarray | Tensor] | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        with torch.device(device if device is not None else torch.get_default_device()):
            built = [method(how).build(table) for table, how in methods]
        if len({module.table.name for module in built}) < len(built):
            raise InputError(f"tables need distinct names, not {[module.table.name for module in built]}")
        self.tables = NamedModules({module.table.name: module for module in built})
        self._names = tuple(module.table.name for module in built)
        for name, order in (orders or {}).items():
            if name not in self._names:
                raise unknown("table with an order", name, self._names)
            self.tables[name].register_buffer("order", _checked_order(self.tables[name], order))

    def components(self) -> list[Component]:
        """What is stored, index state included, under the names of the state: read off the tensors, so that it
        stays true after `.half()`. What will be stored, `Method.components` tells in advance."""
        return measure(self)

    def reset_parameters(self) -> None:
        """Draw fresh values in every table."""
        for name in self._names:
            self.tables[name].reset_parameters()

    def _ranks(self, name: str, ids: Tensor) -> Tensor:
        """Ids of a table, or their ranks, as its method numbers them."""
        order = getattr(self.tables[name], "order", None)
        return ids.long() if order is None else order[ids.long()].long()


def _checked_order(module: TableModule, order: np.ndarray | Tensor) -> Tensor:
    n, name = module.table.num_embeddings, module.table.name
    ranks = torch.as_tensor(order)
    if ranks.dtype.is_floating_point or tuple(ranks.shape) != (n,):
        raise InputError(f"table {name!r}: order must be {n} whole numbers, one an id, not {tuple(ranks.shape)} "
                         f"of {str(ranks.dtype)[6:]}")  # fmt: skip
    if not ranks.is_meta and not torch.equal(ranks.long().sort().values, torch.arange(n, device=ranks.device)):
        raise InputError(f"table {name!r}: order must hold every rank 0 … {n - 1} once")
    return ranks.to(module.device, torch.int32)
