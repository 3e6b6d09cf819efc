"""The levels that numbers are rounded to, a few steps around 0, and the steps that lose least."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

import torch
from torch import Tensor

_RATIO, _TRIES = 0.8, 20
"""Steps to try: the one whose outermost level is the largest number, and each by this ratio smaller than the last."""
_NEAR_ZERO, _UNKNOWN, LEAST = 1e-6, 1e-2, 1e-30
"""The step of numbers that are all 0, as a share of the largest step; that where there are no others; and the least."""
_BETWEEN = 9
"""Further tries, between the neighbours of the best one."""
_FIRST = [_RATIO**number for number in range(_TRIES)]
_THEN = [_RATIO ** (2 * number / (_BETWEEN + 1) - 1) for number in range(1, _BETWEEN + 1)]
_AT_ONCE = 1 << 17
"""So many numbers are rounded at once: what fits a processor's cache."""
_MOST_ROWS = 1 << 16
"""Of more rows, so many are looked at: those of most weight, or at equal distances."""
_QUANTILES = 1 << 14
"""Of the normal distribution, that stand for all its numbers."""


class Levels:
    """The levels of columns of so many bits.

    Two bits are the four levels ±½ and ±1½ steps, and one bit is ±½; more bits are 2^bits - 1 levels, of which the
    middle one is 0.

    Args:
        bits: of each column, 1 to 8.

    Example:
        >>> levels = Levels([3, 2])
        >>> levels.values(torch.tensor([[6, 3]]), torch.tensor([0.5])).tolist()
        [[1.5, 0.75]]
        >>> levels.codes(torch.tensor([[9.0, -0.1]]), torch.tensor([0.5])).tolist()
        [[6, 1]]
    """

    def __init__(self, bits: Sequence[int]) -> None:
        top = [2**each - 1 if each <= 2 else 2**each - 2 for each in bits]
        self._top = top[:1] if len({*top}) == 1 else top

    def top(self, like: Tensor) -> Tensor:
        """The largest code of each column, shape `(columns,)`, or `(1,)` where it is the same; codes begin at 0."""
        # Not kept as a tensor: a compiled graph would take its length for one of its sizes.
        return torch.tensor(self._top, dtype=like.dtype, device=like.device)

    def outermost(self, like: Tensor) -> Tensor:
        """The largest level of each column, in steps, of the same shape."""
        return self.top(like) / 2

    def place(self, numbers: Tensor, steps: Tensor) -> Tensor:
        """Where numbers lie among the codes, not rounded, but never further than half a code beyond the outermost:
        shape `(…, columns)`."""
        top = self.top(numbers)
        return (numbers / steps + top / 2).clamp(torch.full_like(top, -0.5), top + 0.5)

    def nearest(self, place: Tensor) -> Tensor:
        """The codes nearest to places, in the same type."""
        top = self.top(place)
        return place.round().clamp(torch.zeros_like(top), top)

    def codes(self, numbers: Tensor, steps: Tensor) -> Tensor:
        """The codes of the nearest levels, uint8; of numbers of shape `(…, columns)`, and steps that fit them."""
        return self.nearest(self.place(numbers, steps)).to(torch.uint8)

    def values(self, codes: Tensor, steps: Tensor) -> Tensor:
        """The levels of codes, in the type of the steps."""
        return (codes.to(steps.dtype) - self.outermost(steps)) * steps


def least_squares_steps(numbers: Tensor, levels: Levels, over: tuple[int, ...], weights: Tensor | None) -> Tensor:
    """The steps whose levels are nearest to the numbers in squares: searched, since the sum of squares has many
    minima. A step of the largest number, which has no number beyond the outermost level, is seldom the best.

    Args:
        numbers: shape `(rows, columns)`.
        over: the dimensions that have a step in common.
        weights: of the rows, shape `(rows,)`; all equal by default.

    Returns:
        Positive numbers of the shape of `numbers`, with 1 for the dimensions of `over`.
    """
    if 0 in over and (chosen := rows_looked_at(len(numbers), weights, numbers.device)) is not None:
        numbers, weights = numbers[chosen], None if weights is None else weights[chosen]
    wide = numbers.double()
    sizes = wide.abs() / levels.outermost(wide)
    largest = (sizes if weights is None else sizes * (weights > 0).unsqueeze(1)).amax(over, keepdim=True)
    largest = torch.where(largest > 0, largest, _NEAR_ZERO * largest.amax()).clamp(min=LEAST)
    if not bool(sizes.any()):
        largest = torch.full_like(largest, _UNKNOWN)

    shares = None if weights is None else weights.double().unsqueeze(1)
    best, least = largest, torch.full_like(largest, torch.inf)
    for ratios in (_FIRST, _THEN):
        tries = torch.stack([best * ratio for ratio in ratios])
        for steps, error in zip(tries, _errors(wide, tries, levels, over, shares), strict=True):
            best, least = torch.where(error < least, steps, best), error.minimum(least)
    return best


def rows_looked_at(rows: int, weights: Tensor | None, device: torch.device | None = None) -> Tensor | None:
    """The rows whose numbers tell the steps of all; None where all do."""
    if rows <= _MOST_ROWS:
        return None
    if weights is not None:
        return weights.topk(_MOST_ROWS).indices
    return torch.linspace(0, rows - 1, _MOST_ROWS, device=device).long()


def _errors(
    wide: Tensor, tries: Tensor, levels: Levels, over: tuple[int, ...], shares: Tensor | None
) -> Iterator[Tensor]:
    """The weighted sums of squares that each of these steps leaves of numbers in double precision. All of a few numbers
    are rounded by many steps at once, since an operator of torch takes longer than its work on them."""
    top, outermost = levels.top(wide), levels.outermost(wide)
    least, at_once = torch.zeros_like(top), max(1, _AT_ONCE // max(1, wide.numel()))
    for some in tries.split(at_once):
        gaps = (wide / some).add_(outermost).round_().clamp_(least, top)  # codes, by the arithmetic of `Levels`
        gaps.sub_(outermost).mul_(some).sub_(wide).square_()
        if shares is not None:
            gaps.mul_(shares)
        for each in gaps:
            yield each.sum(over, keepdim=True)


@cache
def normal_loss(bits: int) -> float:
    """The share of their squares that normally distributed numbers lose by rounding to so many bits, with the step that
    loses least (Max, 1960, "Quantizing for minimum distortion"); all of them where there are none.

    Example:
        >>> [round(normal_loss(bits), 4) for bits in (0, 1, 2, 3, 4, 8)]
        [1.0, 0.3634, 0.1188, 0.0468, 0.0129, 0.0001]
    """
    if not bits:
        return 1.0
    levels, quantiles = Levels([bits]), (torch.arange(_QUANTILES, dtype=torch.float64) + 0.5) / _QUANTILES
    numbers = torch.special.ndtri(quantiles).unsqueeze(1)
    steps = least_squares_steps(numbers, levels, (0,), None)
    gaps = levels.values(levels.codes(numbers, steps), steps) - numbers
    return float(gaps.square().sum() / numbers.square().sum())
