"""What each optimizer keeps of a parameter from step to step, and what it needs while it takes one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch

from coset.errors import unknown
from coset.schema import Component
from coset.settings import one_of

TableOptimizerName = Literal["sgd", "adagrad", "row_wise_adagrad", "lazy_adam", "adam"]
"""What `coset.optimizers` has."""
EngineName = Literal["plain", "fused"]


@dataclass(frozen=True)
class Keeps:
    """What an optimizer keeps of a parameter.

    Args:
        arrays: number of arrays of the size and type of the parameter.
        scalars: number of float32 scalars for each parameter, such as torch's count of steps.
        rows: numbers of the type of the parameter for each row; of one dimension, for each element.
        steps: int32 numbers for each row.
        factored: whether it keeps a number for each row and each column in place of an array, where there are rows.
        beside: arrays of the size of a dense parameter that a step makes and drops, one parameter after the other.
        sparse: if it takes sparse gradients, how many arrays of the looked-up vectors and how many bytes for each id a
            step makes and drops again; None if it takes none.
        only_sparse: whether it takes no dense gradients.
        computed: whether arrays and numbers have the type that a parameter is computed in, not its own.
    """

    arrays: int = 0
    scalars: int = 0
    rows: int = 0
    steps: int = 0
    factored: bool = False
    beside: int = 0
    sparse: tuple[int, int] | None = None
    only_sparse: bool = False
    computed: bool = False

    def bytes(self, of: Component) -> int:
        """Bytes of the state of a parameter that has had a gradient."""
        itemsize = (of.computed or of.dtype if self.computed else of.dtype).itemsize
        rows = of.state_rows or of.rows
        arrays = self.arrays * of.numel
        if self.factored:
            arrays = of.rows + of.width if of.width else of.numel
        return (arrays + rows * self.rows) * itemsize + rows * 4 * self.steps + self.scalars * _scalar_bytes()


TORCH: Mapping[str, Keeps] = {
    "sgd": Keeps(sparse=(0, 0)),
    "sgd_momentum": Keeps(1),
    "adagrad": Keeps(1, 1, beside=1, sparse=(3, 40)),
    "adam": Keeps(2, 1, beside=2),
    "adam_amsgrad": Keeps(3, 1, beside=2),
    "adamw": Keeps(2, 1, beside=2),
    "adamw_amsgrad": Keeps(3, 1, beside=2),
    "sparse_adam": Keeps(2, sparse=(6, 40), only_sparse=True),  # its count of steps is a Python number
    "lazy_adam": Keeps(2, 1),  # in the kernels' loop for dot models, which keeps what Adam does
    "rmsprop": Keeps(1, 1, beside=1),
    "rmsprop_centered": Keeps(2, 1, beside=1),
    "rmsprop_momentum": Keeps(2, 1, beside=1),
    "adadelta": Keeps(2, 1, beside=2),
    "adamax": Keeps(2, 1, beside=1),
    "nadam": Keeps(2, 2, beside=2),
    "radam": Keeps(2, 1, beside=5),
    "asgd": Keeps(1, 3),
    "rprop": Keeps(2, 1, beside=3),
    "adafactor": Keeps(scalars=1, factored=True, beside=2),
}
"""Torch's optimizers by name; a word after the name is an option that is set."""

TABLES: Mapping[str, Keeps] = {
    "sgd": Keeps(),
    "adagrad": Keeps(1, computed=True),
    "row_wise_adagrad": Keeps(rows=1, computed=True),
    "lazy_adam": Keeps(2, computed=True),
    "adam": Keeps(2, steps=1, computed=True),
}
"""The optimizers of `coset.optimizers` by name."""


def keeps(optimizer: str, engine: EngineName) -> Keeps:
    """What the optimizer of this name keeps: torch's where the engine is plain, that of `coset.optimizers` where it is
    fused.

    Raises:
        InputError: there is no such engine, or no such optimizer for it.
    """
    known = TORCH if one_of("engine", engine, ("plain", "fused")) == "plain" else TABLES
    if not isinstance(optimizer, str) or optimizer not in known:
        raise unknown(f"optimizer of engine {engine!r}", optimizer, known)
    return known[optimizer]


def optimizer_bytes(components: Iterable[Component], optimizer: str) -> int:
    """Bytes of the state that the torch optimizer of that name keeps when every parameter has had a gradient."""
    return _sum(components, keeps(optimizer, "plain"))


def table_optimizer_bytes(components: Iterable[Component], optimizer: str) -> int:
    """Bytes of the state that the optimizer of `coset.optimizers` of that name keeps.

    Example:
        >>> table_optimizer_bytes([Component("rows.weight", 1000, 16)], "row_wise_adagrad")
        4000
    """
    return _sum(components, keeps(optimizer, "fused"))


def _sum(components: Iterable[Component], kept: Keeps) -> int:
    return sum(kept.bytes(component) for component in components if component.is_trained)


def _scalar_bytes() -> int:
    """Bytes of a count of steps, which torch keeps in float32, or in float64 where that is its default type."""
    return 8 if torch.get_default_dtype() == torch.float64 else 4
