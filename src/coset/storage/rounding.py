"""Rounding to levels that gradients pass through, with learned steps (Esser et al., 2019, arXiv 1902.08153)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from coset.storage.graphs import unseen
from coset.storage.levels import Levels


def rounded(numbers: Tensor, steps: Tensor, levels: Levels) -> Tensor:
    """The levels nearest to numbers, differentiable in both.

    The gradient of a number is that of its level, and 0 where it lies half a step beyond the outermost or further. That
    of a step follows how far its levels lie from the numbers (section 2.1 of the paper, where it is 0 from the
    outermost level on).

    Args:
        numbers: shape `(…, columns)`.
        steps: positive, of a shape that broadcasts to that of `numbers`.
        levels: of the columns.

    Example:
        >>> numbers = torch.tensor([[0.3, 9.0]], requires_grad=True)
        >>> found = rounded(numbers, torch.tensor([1.0]), Levels([3, 3]))
        >>> found.sum().backward()
        >>> found.tolist(), numbers.grad.tolist()
        ([[0.0, 3.0]], [[1.0, 0.0]])
    """
    top = levels.top(numbers)
    if unseen(numbers):  # graphs hold plain operators alone
        place = levels.place(numbers, steps)
        nearest = place + (levels.nearest(place) - place).detach()
        return (nearest - top / 2) * steps
    found: Tensor = _Rounded.apply(numbers, steps, top)  # type: ignore[no-untyped-call]
    return found


def as_stored(scales: Tensor, dtype: torch.dtype) -> Tensor:
    """Logarithms of steps rounded to the type that they are stored in, whose gradient is not: a narrow type would lose
    small ones, and make large ones infinite."""
    if dtype == scales.dtype:
        return scales
    if unseen(scales):  # graphs hold plain operators alone
        return scales + (scales.to(dtype).to(scales.dtype) - scales).detach()
    found: Tensor = _AsStored.apply(scales, dtype)  # type: ignore[no-untyped-call]
    return found


class _AsStored(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(scales: Tensor, dtype: torch.dtype) -> Tensor:
        return scales.to(dtype).to(scales.dtype)

    @staticmethod
    def setup_context(context: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        return None

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


class _Rounded(torch.autograd.Function):
    """The same as one operator, whose few calls take half the time of what autograd would keep of many."""

    generate_vmap_rule = True

    @staticmethod
    def forward(numbers: Tensor, steps: Tensor, top: Tensor) -> Tensor:
        zero = torch.zeros_like(top)
        nearest = (numbers / steps + top / 2).clamp(zero - 0.5, top + 0.5).round_().clamp_(zero, top)
        return nearest.sub_(top / 2).mul_(steps)

    @staticmethod
    def setup_context(context: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        context.save_for_backward(*inputs, output)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None, None]:
        numbers, steps, top, output = context.saved_tensors
        place = numbers / steps
        inside = place.abs() <= top / 2 + 0.5
        own = gradient * inside
        of_steps = None
        if context.needs_input_grad[1]:
            of_steps = (gradient * (output / steps) - own * place).sum_to_size(steps.shape)
        return own, of_steps, None
