"""The histories of users: which items each of them rated in the training part, packed.

They are what an implicit-feedback term reads: a user is described by the items that he or she chose to rate, whatever
the ratings (SVD++: Koren, 2008, "Factorization meets the neighborhood", section 4.1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor, nn

from coset.schema import Component

_STEPS: dict[str, tuple[torch.dtype, int]] = {
    "uint8": (torch.uint8, 2**8 - 1),
    "int16": (torch.int16, 2**15 - 1),
    "int32": (torch.int32, 2**31 - 1),
}
"""Types that steps may have, and the step that says that the next one belongs to the same item."""


@dataclass(frozen=True)
class HistorySizes:
    """The shapes of packed histories.

    Args:
        users: number of users.
        steps: number of steps, of all users.
        type: of a step: `"uint8"`, `"int16"` or `"int32"`.
    """

    users: int
    steps: int
    type: str

    def components(self) -> list[Component]:
        """What is stored, under the names of the state of `Histories`."""
        return [
            Component("ends", self.users, 0, _ends_type(self.steps), "index"),
            Component("steps", self.steps, 0, _STEPS[self.type][0], "index"),
        ]


class Read(NamedTuple):
    """The histories of some users.

    Args:
        items: of the first user, then of the second …, int64.
        begins: where those of each user begin, int64, shape `(users,)`.
        counts: the number of items of each user, int64, likewise.
    """

    items: Tensor
    begins: Tensor
    counts: Tensor


class Histories(nn.Module):
    """The distinct items of each user, in 1 to 4 bytes an item and 4 a user.

    The items of a user are sorted, and each is stored as its step from the one before, the first from -1. A step that
    the type cannot hold is several: each largest number of the type is added to what follows. The type is the one that
    takes the fewest bytes. Ids of items are in order of popularity, so most steps are short.

    Args:
        sizes: see `HistorySizes`; the histories themselves are empty until `of` or a saved state fills them.

    Example:
        >>> found = Histories.of(np.array([0, 0, 2, 0]), np.array([7, 3, 1, 7]), users_in_all=3, most=9)
        >>> found.read(torch.tensor([2, 0, 1])).items.tolist(), found.bytes
        ([1, 3, 7], 15)
    """

    steps: Tensor
    ends: Tensor

    def __init__(self, sizes: HistorySizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.register_buffer("steps", torch.zeros(sizes.steps, dtype=_STEPS[sizes.type][0]))
        self.register_buffer("ends", torch.zeros(sizes.users, dtype=_ends_type(sizes.steps)))

    @classmethod
    def of(cls, users: np.ndarray, items: np.ndarray, *, users_in_all: int, most: int) -> Self:
        """The histories of these pairs of ids.

        Args:
            users, items: ids, shape `(rows,)`; a pair that occurs twice counts once.
            users_in_all: number of users.
            most: items of a user at most; of more, so many spread evenly over the order of ids, which is that of
                popularity.
        """
        owners, chosen = _bounded(*_distinct(users, items), users_in_all, most)
        first = np.ones(len(owners), bool)
        first[1:] = owners[1:] != owners[:-1]
        gaps = chosen.copy()
        gaps[1:] -= np.where(first[1:], 0, chosen[:-1])
        gaps[first] += 1
        lengths = {name: gaps // most for name, (_, most) in _STEPS.items()}
        name = min(_STEPS, key=lambda name: (len(gaps) + int(lengths[name].sum())) * _STEPS[name][0].itemsize)
        more, (type_, largest) = lengths[name], _STEPS[name]
        steps = np.full(len(gaps) + int(more.sum()), largest, np.int64)
        steps[np.cumsum(more + 1) - 1] = gaps - more * largest
        ends = np.cumsum(np.bincount(owners, more + 1, users_in_all).astype(np.int64))
        found = cls(HistorySizes(users_in_all, len(steps), name))
        found.steps = torch.from_numpy(steps).to(type_)
        found.ends = torch.from_numpy(ends).to(found.ends.dtype)
        return found

    @property
    def bytes(self) -> int:
        """That they take."""
        return sum(component.bytes for component in self.sizes.components())

    def read(self, users: Tensor) -> Read:
        """The histories of these users, int64, shape `(users,)`; a user may occur twice."""
        ends = self.ends[users].long()
        begins = torch.where(users > 0, self.ends[(users - 1).clamp(min=0)].long(), 0)
        lengths = ends - begins
        owner = torch.repeat_interleave(torch.arange(len(users), device=users.device), lengths)
        before = lengths.cumsum(0) - lengths
        place = torch.arange(len(owner), device=users.device) - before[owner] + begins[owner]
        steps = self.steps[place].long()
        reached = steps.cumsum(0)
        start = torch.cat([reached.new_zeros(1), reached])[before]  # what all users before have walked
        last = steps != _STEPS[self.sizes.type][1]
        owner = owner[last]
        counts = torch.bincount(owner, minlength=len(users))
        return Read((reached[last] - start[owner] - 1), counts.cumsum(0) - counts, counts)


def _distinct(users: np.ndarray, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct pairs, in order of users, then of items."""
    order = np.lexsort((items, users))
    users, items = users[order].astype(np.int64), items[order].astype(np.int64)
    new = np.ones(len(users), bool)
    new[1:] = (users[1:] != users[:-1]) | (items[1:] != items[:-1])
    return users[new], items[new]


def _bounded(users: np.ndarray, items: np.ndarray, users_in_all: int, most: int) -> tuple[np.ndarray, np.ndarray]:
    """At most so many items of each user, spread evenly."""
    counts = np.bincount(users, minlength=users_in_all)[users]
    if not (counts > most).any():
        return users, items
    begins = np.searchsorted(users, users)
    place = np.arange(len(users)) - begins
    # Of n places, those where ⌊place · most / n⌋ grows: `most` of them.
    kept = (counts <= most) | (place * most // counts != (place - 1) * most // counts)
    return users[kept], items[kept]


def _ends_type(steps: int) -> torch.dtype:
    return torch.int32 if steps < 2**31 else torch.int64
