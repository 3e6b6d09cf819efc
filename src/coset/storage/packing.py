"""What is kept of a packed array of so many columns: where codes lie, what has a step in common, and which types."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from coset.schema import Component
from coset.storage.bits import BitLayout
from coset.storage.steps import Kind, Steps, scales_of, steps_of


@dataclass(frozen=True)
class Packing:
    """The choices of `Packed` for an array of so many columns.

    Args:
        bits: of each column.
        kind: what has a step in common.
        block: columns of a block.
        padded: whether every row begins at a byte.
        step_dtype: the type that logarithms of steps are stored in.
        masters: whether floats are trained.
    """

    bits: tuple[int, ...]
    kind: Kind
    block: int
    padded: bool
    step_dtype: torch.dtype
    masters: bool

    @cached_property
    def layout(self) -> BitLayout:
        """Where the codes of rows lie."""
        return BitLayout(self.bits, self.padded)

    @cached_property
    def steps(self) -> Steps:
        """What has a step in common, of the columns that are stored."""
        return Steps(self.kind, self.block, [bits for bits in self.bits if bits])

    @property
    def form(self) -> str | None:
        """As kernels see the arrays that they train (`Storage.form`)."""
        if not self.masters:
            return "codes"
        return "masters" if all(self.bits) and self.kind != "row" else None

    def stored(self, name: str, rows: int) -> list[Component]:
        """The codes, and the logarithms of the steps."""
        size, numbers = self.layout.bytes(rows), rows * len(self.layout.columns)
        return [Component(f"{name}.codes", size, 0, torch.uint8, "codes", numbers=numbers),
                Component(f"{name}.scales", self.steps.number(rows), 0, self.step_dtype, "codes")]  # fmt: skip

    def trained(self, name: str, rows: int, dtype: torch.dtype) -> list[Component]:
        """The masters, and the logarithms of the steps; without masters, what is stored."""
        if not self.masters:
            codes, scales = self.stored(name, rows)
            return [replace(codes, computed=dtype, state_rows=rows), scales]
        columns = len(self.layout.columns)
        wide = torch.promote_types(dtype, torch.float32)
        # A width of 0 would mean an array of one dimension.
        return [Component(f"{name}.master", rows if columns else 0, columns, dtype),
                Component(f"{name}.scales", self.steps.number(rows), 0, wide)]  # fmt: skip

    def storable(self, steps: Tensor) -> Tensor:
        """The nearest steps that can be stored, in the same type."""
        return steps_of(scales_of(steps).to(self.step_dtype).to(steps.dtype))
