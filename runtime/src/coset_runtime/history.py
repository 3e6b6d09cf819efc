"""Histories: the items that each user rated, as steps of one to four bytes (docs/artifact.md)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from coset_runtime.errors import Damaged, entry
from coset_runtime.tensors import Tensors

_ENDS, _STEPS = ("I32", "I64"), ("U8", "I16", "I32")


class Rated(NamedTuple):
    """The items of some users.

    Args:
        items: of the first, then of the second …, int64.
        owners: which of the users each is of, int64.
        counts: how many each user has, int64, shape `(users,)`.
    """

    items: np.ndarray
    owners: np.ndarray
    counts: np.ndarray


class Histories:
    """Those of all users.

    Args:
        of: the entry of the manifest.
        tensors: those of the model.
        users, items: how many there are.

    Raises:
        Damaged: they contradict each other.
    """

    def __init__(self, of: Any, tensors: Tensors, users: int, items: int) -> None:
        ends, steps = (tensors[entry(of, key, str, "history")] for key in ("ends", "steps"))
        if ends.type not in _ENDS or ends.array.shape != (users,) or steps.type not in _STEPS or steps.array.ndim != 1:
            raise Damaged(f"history: its ends are of {ends.type} and shape {ends.array.shape}, for {users} users")
        self.ends, self.steps = ends.array, steps.array
        rising = bool((np.diff(self.ends, prepend=0) >= 0).all()) and int(self.ends[-1]) == len(self.steps)
        if not rising or (len(self.steps) and int(self.steps.min()) < 0):
            raise Damaged("history: its ends do not rise up to the number of its steps, or a step is below 0")
        self.more = np.iinfo(self.steps.dtype).max
        self.items = items
        every = self.read(np.arange(users))
        if len(every.items) and int(every.items.max()) >= items:
            raise Damaged(f"history: it holds item {int(every.items.max())}, of {items}")

    def read(self, users: np.ndarray) -> Rated:
        """The items of these users."""
        ends = self.ends[users].astype(np.int64)
        begins = np.where(users > 0, self.ends[np.maximum(users - 1, 0)], 0).astype(np.int64)
        lengths = ends - begins
        owners = np.repeat(np.arange(len(users)), lengths)
        before = np.cumsum(lengths) - lengths
        steps = self.steps[np.arange(len(owners)) - before[owners] + begins[owners]].astype(np.int64)
        reached = np.cumsum(steps)
        start = np.concatenate([np.zeros(1, np.int64), reached])[before]
        last = steps != self.more
        owners = owners[last]
        return Rated(reached[last] - start[owners] - 1, owners, np.bincount(owners, minlength=len(users)))
