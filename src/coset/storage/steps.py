"""The steps of an array of levels: what has one in common, how they are fitted, and what is stored of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from coset.storage.levels import LEAST, Levels, least_squares_steps

Kind = Literal["array", "column", "block", "row"]
"""What has a step in common."""
RATE = 0.05
"""How much of its logarithm a step moves where its parameter moves by 1, so that the learning rate of rows fits it."""
_WORSE = 2.0
"""Numbers that lose more than this many times what steps of their own would lose have steps fitted again."""
_ROUNDING = 1e-12
"""A loss of this share of the squares is that of rounding to float32."""


class Steps:
    """The steps of an array.

    Args:
        kind: what has one in common.
        block: columns of a block.
        bits: of the stored columns, each 1 or more.

    Example:
        >>> Steps("block", 2, [4, 4, 3]).number(1000), Steps("row", 2, [4, 4, 3]).number(1000)
        (2, 1000)
    """

    def __init__(self, kind: Kind, block: int, bits: Sequence[int]) -> None:
        self.kind, self.block, self.bits = kind, block, list(bits)
        self.levels = Levels(self.bits)

    def number(self, rows: int) -> int:
        """How many there are."""
        if not self.bits:
            return 0
        return {"array": 1, "column": len(self.bits), "row": rows, "block": -(-len(self.bits) // self.block)}[self.kind]

    @property
    def in_common(self) -> int:
        """How many columns have one in common; 0 where a row has."""
        return {"array": max(1, len(self.bits)), "column": 1, "block": self.block, "row": 0}[self.kind]

    def each(self, steps: Tensor) -> Tensor:
        """The step of every stored number, shape `(rows, columns)`, or `(1, columns)` where all rows have the same."""
        columns = len(self.bits)
        if not columns:
            return steps.new_empty(1, 0)
        if self.kind == "row":
            return steps.unsqueeze(1).expand(-1, columns)
        if self.kind == "block":
            steps = steps.repeat_interleave(self.block)[:columns]
        return steps.expand(1, columns)

    def at(self, steps: Tensor) -> Tensor:
        """The same for the rows of a lookup, shape `(*steps.shape, columns)` where `steps` are those of rows, one each,
        or `(columns,)`."""
        if self.kind == "row" and self.bits:
            return steps.unsqueeze(-1).expand(*steps.shape, len(self.bits))
        return self.each(steps)[0]

    def fitted(self, numbers: Tensor, weights: Tensor | None = None) -> Tensor:
        """Those whose levels are nearest to numbers of shape `(rows, columns)`, shape `(steps,)`.

        Args:
            weights: of the rows, shape `(rows,)`; all equal by default.
        """
        if self.kind != "block":
            return least_squares_steps(numbers, self.levels, self._over(), weights).flatten()
        found = []
        for at in range(0, len(self.bits), self.block):
            levels = Levels(self.bits[at : at + self.block])
            found.append(least_squares_steps(numbers[:, at : at + self.block], levels, (0, 1), weights).flatten())
        return torch.cat(found)

    def covering(self, numbers: Tensor) -> Tensor:
        """The steps by which the largest number of what has one in common is an outermost level: next to the best for 8
        bits, and found without a search. Of rows, shape `(rows,)`."""
        return (numbers.abs() / self.levels.outermost(numbers)).amax(1).clamp(min=LEAST)

    def fit(self, own: Tensor, part: Tensor, columns: Sequence[int], some: bool) -> bool:
        """Whether the present steps are good enough for numbers that are to be written.

        Args:
            own: the steps of the stored columns of the rows that are written, shape `(rows, columns)` or `(columns,)`.
            part: the numbers, of these of the stored columns.
            some: whether there are other rows, which are not written. These keep their steps, as long as what is
                written lies within the levels.
        """
        own, levels, part = own[..., columns].double(), Levels([self.bits[at] for at in columns]), part.double()
        if some and self.kind != "row":
            return bool((part.abs() <= (levels.outermost(part) + 0.5) * own).all())
        over = self._over()
        now = levels.values(levels.codes(part, own), own).sub(part).square()
        best = least_squares_steps(part, levels, over, None)
        least = levels.values(levels.codes(part, best), best).sub(part).square()
        rounding = _ROUNDING * part.square().sum(over)
        return bool((now.sum(over) <= _WORSE * least.sum(over) + rounding).all())

    def _over(self) -> tuple[int, ...]:
        """The dimensions of an array that have a step in common; all of those of a block."""
        return {"array": (0, 1), "block": (0, 1), "column": (0,), "row": (1,)}[self.kind]


def scales_of(steps: Tensor) -> Tensor:
    """What is stored and learned of steps: their logarithms."""
    return torch.log(steps) / RATE


def steps_of(scales: Tensor) -> Tensor:
    """The steps again."""
    return torch.exp(RATE * scales)


def usable(scales: Tensor) -> bool:
    """Whether all steps are positive and finite."""
    steps = steps_of(scales.detach().to(torch.promote_types(scales.dtype, torch.float32)))
    return bool((steps.isfinite() & (steps > 0)).all())
