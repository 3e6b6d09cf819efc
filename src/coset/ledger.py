"""The ledger: bytes of everything that tables need, predicted from components and measured on real tensors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Literal

from torch import nn

from coset.schema import Component

Optimizer = Literal["sgd", "adagrad", "adam", "lazy_adam"]

_STATE_ARRAYS: dict[str, int] = {"sgd": 0, "adagrad": 1, "adam": 2, "lazy_adam": 2}
TableOptimizer = Literal["sgd", "adagrad", "row_wise_adagrad", "lazy_adam", "dense_adam"]

_TABLE_STATE_ARRAYS: dict[str, int] = {"adagrad": 1, "lazy_adam": 2, "dense_adam": 2}
_STEP_BYTES = 4  # torch keeps a float32 step count beside the state arrays of each parameter


def parameters(components: Iterable[Component]) -> int:
    """Number of trained values; index state is not trained."""
    return sum(component.numel for component in components if component.kind == "parameter")


def inference_bytes(components: Iterable[Component]) -> int:
    """Bytes that lookups need: parameters and index state.

    Example:
        >>> inference_bytes([Component("rows.weight", 10, 4), Component("order", 10, 0, kind="index")])
        200
    """
    return sum(component.bytes for component in components)


def together(tables: Mapping[str, Iterable[Component]]) -> list[Component]:
    """The components of the tables of one collection, under the names of its state; arrays that they share are there
    once.

    Example:
        >>> array = Component("array.weight", 1000, 1, shared="all")
        >>> [(c.key, c.bytes) for c in together({"user": [array], "movie": [array]})]
        [('shared.all.weight', 4000)]
    """
    found: dict[str, Component] = {}
    for name, components in tables.items():
        for component in components:
            leaf = component.key.rpartition(".")[2]
            key = f"tables.{name}.{component.key}" if component.shared is None else f"shared.{component.shared}.{leaf}"
            found[key] = replace(component, key=key)
    return list(found.values())


def optimizer_bytes(components: Iterable[Component], optimizer: Optimizer) -> int:
    """Bytes of the state that the torch optimizer of that name keeps (`sgd` without momentum)."""
    arrays = _STATE_ARRAYS[optimizer]
    trained = [component for component in components if component.kind == "parameter"]
    return sum(arrays * component.bytes + (_STEP_BYTES if arrays else 0) for component in trained)


def table_optimizer_bytes(components: Iterable[Component], optimizer: TableOptimizer) -> int:
    """Bytes of the state that the optimizer of `coset.optimizers` of that name keeps.

    Example:
        >>> table_optimizer_bytes([Component("rows.weight", 1000, 16)], "row_wise_adagrad")
        4000
    """
    total = 0
    for component in components:
        if component.kind == "parameter":
            rows = component.rows if component.width else 1  # one-dimensional arrays are one row
            total += _TABLE_STATE_ARRAYS.get(optimizer, 0) * component.bytes
            total += rows * component.dtype.itemsize if optimizer == "row_wise_adagrad" else 0
            total += rows * _STEP_BYTES if optimizer == "dense_adam" else 0  # the step that each row is brought to
    return total


def measure(module: nn.Module) -> list[Component]:
    """The components that a module really holds, read off its state."""
    trained = {name for name, _ in module.named_parameters(remove_duplicate=False)}
    return [
        Component(
            name, value.shape[0] if value.dim() else 1, value.numel() // value.shape[0] if value.dim() > 1 else 0,
            value.dtype, "parameter" if name in trained else "index",
        )
        for name, value in module.state_dict().items()
    ]  # fmt: skip
