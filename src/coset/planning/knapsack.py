"""The multiple-choice knapsack: one candidate of each group, at most so many bytes, the least loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

GRID = 8192
"""Number of steps that the bytes beyond the floor are divided into; more find better plans, and take longer."""


class Group(NamedTuple):
    """The candidates of one table.

    Args:
        bytes: int64, shape `(candidates,)`.
        losses: shape `(candidates,)`.
    """

    bytes: np.ndarray
    losses: np.ndarray


def solve(groups: Sequence[Group], budget: int, grid: int = GRID) -> list[int] | None:
    """The candidate of each group.

    Dynamic programming over the bytes beyond the floor, in steps of a `grid`th of them and rounded up, so that a
    choice is never over the budget; exact where bytes are that coarse. Then single candidates are exchanged, as long as
    one exchange within the bytes left over lowers the loss.

    Args:
        groups: of candidates, at least one each.
        budget: in bytes.
        grid: number of steps.

    Returns:
        Indices in the groups; None where even the smallest candidates together are over the budget.

    Example:
        >>> one = Group(np.array([1, 5, 9]), np.array([1.0, 0.4, 0.1]))
        >>> two = Group(np.array([2, 6]), np.array([1.0, 0.0]))
        >>> solve([one, two], 12), solve([one, two], 2)
        ([1, 1], None)
    """
    spare = budget - sum(int(group.bytes.min()) for group in groups)
    if spare < 0:
        return None
    kept = [undominated(group) for group in groups]
    step = max(1, -(-spare // grid))
    slots = spare // step
    best = np.zeros(slots + 1)
    chosen: list[np.ndarray] = []
    for group, places in zip(groups, kept, strict=True):
        sizes, losses = group.bytes[places], group.losses[places]
        extra = -(-(sizes - group.bytes.min()) // step)
        found = np.full(slots + 1, np.inf)
        pick = np.zeros(slots + 1, dtype=np.int32)
        for number in np.flatnonzero(extra <= slots):
            shift = int(extra[number])
            through = best[: slots + 1 - shift] + losses[number]
            better = through < found[shift:]
            np.copyto(found[shift:], through, where=better)
            np.copyto(pick[shift:], number, where=better)
        best = found
        chosen.append(pick)
    at, picks = int(best.argmin()), []
    for group, places, pick in zip(reversed(groups), reversed(kept), reversed(chosen), strict=True):
        place = int(places[pick[at]])
        picks.append(place)
        at -= -(-int(group.bytes[place] - group.bytes.min()) // step)
    picks.reverse()
    return _improved(groups, picks, budget)


def undominated(group: Group) -> np.ndarray:
    """Indices of the candidates that no other beats in loss with as few bytes, in order of bytes."""
    order = np.lexsort((group.losses, group.bytes))
    falling = np.minimum.accumulate(group.losses[order])
    first = np.concatenate([[True], falling[1:] < falling[:-1]])
    return np.asarray(order[first])


def _improved(groups: Sequence[Group], picks: list[int], budget: int) -> list[int]:
    """The picks after exchanging single candidates for better ones that fit, the best exchange first."""
    picks = list(picks)
    spare = budget - sum(int(group.bytes[pick]) for group, pick in zip(groups, picks, strict=True))
    while True:
        best, where, to = 0.0, -1, -1
        for number, (group, pick) in enumerate(zip(groups, picks, strict=True)):
            gain = np.where(group.bytes - group.bytes[pick] <= spare, group.losses[pick] - group.losses, 0.0)
            if gain.max() > best:
                best, where, to = float(gain.max()), number, int(gain.argmax())
        if where < 0:
            return picks
        spare -= int(groups[where].bytes[to] - groups[where].bytes[picks[where]])
        picks[where] = to
