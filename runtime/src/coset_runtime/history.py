"""Histories: the items that each user rated, as steps of one to four bytes, and what they add to the user's vector."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from coset_runtime.errors import Damaged, entry
from coset_runtime.tables import Table
from coset_runtime.tensors import Tensors

_ITEMS_AT_ONCE = 1 << 14
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
        users: how many there are.
        table: of the vectors of items in histories.

    Raises:
        Damaged: they contradict each other.
    """

    def __init__(self, of: Any, tensors: Tensors, users: int, table: Table) -> None:
        ends, steps = (tensors[entry(of, key, str, "history")] for key in ("ends", "steps"))
        if ends.type not in _ENDS or ends.array.shape != (users,) or steps.type not in _STEPS or steps.array.ndim != 1:
            raise Damaged(f"history: its ends are of {ends.type} and shape {ends.array.shape}, for {users} users")
        self.ends, self.steps = ends.array, steps.array
        rising = bool((np.diff(self.ends, prepend=0) >= 0).all()) and int(self.ends[-1]) == len(self.steps)
        if not rising or (len(self.steps) and int(self.steps.min()) < 0):
            raise Damaged("history: its ends do not rise up to the number of its steps, or a step is below 0")
        self.more = np.iinfo(self.steps.dtype).max
        self.table = table
        every = self.read(np.arange(users))
        if len(every.items) and int(every.items.max()) >= table.ids:
            raise Damaged(f"history: it holds item {int(every.items.max())}, of {table.ids}")

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

    def of(self, users: np.ndarray) -> np.ndarray:
        """What histories add to the vectors of users: the sum over the root of the number of items, float64, shape
        `(users, dim)`."""
        rated, sums = self._sums(users)
        return np.asarray(sums / np.sqrt(np.maximum(rated.counts, 1))[:, None])

    def without(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """The same for pairs of a user and an item, which is left out of the history."""
        distinct, user = np.unique(users, return_inverse=True)
        rated, sums = self._sums(distinct)
        count = self.table.ids
        own = np.isin(user * count + items, rated.owners * count + rated.items)
        total = sums[user] - np.where(own[:, None], self._vectors(items), 0.0)
        others = rated.counts[user] - own
        roots = np.where(others > 0, 1 / np.sqrt(np.maximum(others, 1)), 0.0)
        return np.asarray(total * roots[:, None])

    def _sums(self, users: np.ndarray) -> tuple[Rated, np.ndarray]:
        """The histories of users, and the sum of the vectors of each."""
        rated = self.read(users)
        sums = np.zeros((len(users), self.table.dim))
        for at in range(0, len(rated.items), _ITEMS_AT_ONCE):
            part = slice(at, at + _ITEMS_AT_ONCE)
            np.add.at(sums, rated.owners[part], self._vectors(rated.items[part]))
        return rated, sums

    def _vectors(self, items: np.ndarray) -> np.ndarray:
        return np.asarray(self.table.vectors(items).sum(1, dtype=np.float64))
