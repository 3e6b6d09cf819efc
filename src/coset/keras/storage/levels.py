"""The levels of `coset.storage.levels`, rounding to them that gradients pass through, and the steps that lose least."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

Tensor = Any

_RATIO, _TRIES = 0.8, 20
"""Steps to try: the one whose outermost level is the largest number, and each by this ratio smaller than the last."""
_NEAR_ZERO, _LEAST = 1e-6, 1e-30
"""The step of numbers that are all 0, as a share of the largest step; and the least."""
UNKNOWN = 1e-2
"""The step where there are no numbers but 0."""
_BETWEEN = 9
"""Further tries, between the neighbours of the best one."""
_MOST_ROWS = 1 << 16
"""Of more rows, so many are looked at, at equal distances."""


def tops(bits: Sequence[int]) -> np.ndarray:
    """The largest code of columns of so many bits, 1 to 8, in float32: codes begin at 0, and half of this is the level
    of code 0, below 0.

    Example:
        >>> tops([1, 2, 3]).tolist()
        [1.0, 3.0, 6.0]
    """
    return np.array([2**each - 1 if each <= 2 else 2**each - 2 for each in bits], dtype=np.float32)


def codes(numbers: Tensor, steps: Tensor, top: np.ndarray) -> Tensor:
    """The codes of the nearest levels, as floats; of numbers of shape `(…, columns)`, and steps that fit them."""
    ratio = ops.cast(numbers, steps.dtype) / steps
    return _nearest(ratio, ops.cast(top, ratio.dtype))


def values(codes: Tensor, steps: Tensor, top: np.ndarray) -> Tensor:
    """The levels of codes, in the type of the steps."""
    return (ops.cast(codes, steps.dtype) - ops.cast(top / 2, steps.dtype)) * steps


def rounded(numbers: Tensor, steps: Tensor, top: np.ndarray) -> Tensor:
    """The levels nearest to numbers, differentiable in both, as `coset.storage.rounding.rounded` (learned step size
    quantization, Esser et al., 2019, arXiv 1902.08153, section 2.1).

    The gradient of a number is that of its level, and 0 where it lies more than half a step beyond the outermost. That
    of a step follows how far its levels lie from the numbers.

    Args:
        numbers: shape `(…, columns)`.
        steps: positive, of a shape that broadcasts to that of `numbers`.
        top: of the columns.

    Example:
        >>> [float(level) for level in rounded(ops.array([0.3, 9.0]), ops.array(1.0), tops([3, 3]))]
        [0.0, 3.0]
    """
    ratio = ops.cast(numbers, steps.dtype) / steps
    most = ops.cast(top, ratio.dtype)
    bound = most / 2 + 0.5
    # Selected, not clipped: what a gradient is where a number is clipped just so differs between backends.
    kept = ops.where(ops.abs(ratio) <= bound, ratio, ops.stop_gradient(ops.clip(ratio, -bound, bound)))
    level = ops.stop_gradient(_nearest(ratio, most) - most / 2)
    return (level + (kept - ops.stop_gradient(kept))) * steps  # by adding 0, so that the level is exact


def _nearest(ratio: Tensor, most: Tensor) -> Tensor:
    return ops.minimum(ops.maximum(ops.round(ratio + most / 2), 0), most)


def least_squares_steps(numbers: np.ndarray, top: np.ndarray, over: tuple[int, ...]) -> np.ndarray:
    """The steps whose levels are nearest to the numbers in squares, found by the search of `coset.storage.levels`.

    Args:
        numbers: shape `(rows, columns)`.
        top: of the columns.
        over: the dimensions that have a step in common.

    Returns:
        Positive numbers, float64, of the shape of `numbers`, with 1 for the dimensions of `over`.
    """
    if 0 in over and len(numbers) > _MOST_ROWS:
        numbers = numbers[np.linspace(0, len(numbers) - 1, _MOST_ROWS).astype(np.int64)]
    wide, half = np.asarray(numbers, dtype=np.float64), np.asarray(top, dtype=np.float64) / 2
    sizes = np.abs(wide) / half
    largest = sizes.max(axis=over, keepdims=True)
    largest = np.maximum(np.where(largest > 0, largest, _NEAR_ZERO * largest.max()), _LEAST)
    if not sizes.any():
        largest = np.full_like(largest, UNKNOWN)

    def error(steps: np.ndarray) -> np.ndarray:
        found = (np.clip(np.round(wide / steps + half), 0, 2 * half) - half) * steps
        return np.asarray(np.square(found - wide).sum(axis=over, keepdims=True))

    best, least = largest, error(largest)

    def attempt(steps: np.ndarray) -> None:
        nonlocal best, least
        found = error(steps)
        best, least = np.where(found < least, steps, best), np.minimum(found, least)

    for number in range(1, _TRIES):
        attempt(largest * _RATIO**number)
    around = best
    for number in range(1, _BETWEEN + 1):
        attempt(around * _RATIO ** (2 * number / (_BETWEEN + 1) - 1))
    return np.asarray(best)
