"""The search for one positive number by doubling and halving it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache


def climbed(
    error: Callable[[float], float], begin: float, *, gain: float = 0.0, up: float | None = None,
    least: float = 2.0**-10, most: float = 2.0**16,
) -> float:  # fmt: skip
    """The number from which neither its half nor its double is better, beginning at `begin`: downwards first, and
    upwards only where its half is no better.

    Args:
        error: of a number; asked once for each. Infinite for a number that cannot be used.
        begin: positive.
        gain: the share of the error by which a neighbour must be better.
        up: the same for a larger neighbour, by default `gain`. Negative where of errors that are as good the larger
            number is wanted.
        least, most: how far it goes at most.

    Example:
        >>> climbed(lambda of: 1 + abs(of - 20), 8.0)
        16.0
    """
    known, at = cache(error), begin
    for factor, share in ((0.5, gain), (2.0, gain if up is None else up)):
        while least <= at * factor <= most and known(at * factor) < known(at) * (1 - share):
            at *= factor
        if at != begin:
            break
    return at
