"""Memory for vectors and sums of gradients that is used again: fresh memory is filled with zeros by the system, page by
page, which takes longer than what a kernel then does with it."""

from __future__ import annotations

import os
import sys
import threading
from typing import Any

import numpy as np
import torch

from coset.storage.pages import in_large_pages

_KEPT, _IDLE = 4, 16
"""How many arrays a pool keeps at most, and how many calls long one that nobody asks for."""
_SLACK = 1 << 16
"""Numbers more than are asked for that an array may have; or as many again as are asked for."""


_lock = threading.Lock()
"""Held for an instant by whoever asks a pool for an array; a fork waits for it, so that a child finds it free."""
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)


class Pool:
    """Arrays of one dimension, each of which is used again when all who had it have let go of it.

    Args:
        dtype: of their numbers.
    """

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.dtype = dtype
        self._kept: list[np.ndarray] = []
        self._idle: list[int] = []

    def take(self, count: int, spare: int = 0) -> np.ndarray:
        """`count` numbers, whatever they are; a view of more, so a tensor made of it keeps it from being used again.

        Args:
            spare: how many more a fresh array gets, for the next who ask.
        """
        with _lock:  # two threads may find the same array free
            kept, idle = self._kept, self._idle
            found = None
            for at in range(len(kept)):
                idle[at] += 1
                fits = count <= len(kept[at]) <= count + max(count, _SLACK)
                if found is None and fits and _holders(kept, at) == _ALONE:
                    idle[at], found = 0, kept[at][:count]
            if found is None:
                fresh = in_large_pages(torch.empty(count + spare, dtype=_TORCH[self.dtype], device="cpu")).numpy()
                kept.append(fresh)
                idle.append(0)
                found = fresh[:count]
            if len(kept) > _KEPT or max(idle) > _IDLE:
                stay = [at for at in range(len(kept)) if idle[at] <= _IDLE][-_KEPT:]
                self._kept, self._idle = [kept[at] for at in stay], [idle[at] for at in stay]
            return found

    @property
    def bytes(self) -> int:
        """Of all arrays that are kept."""
        with _lock:
            return sum(array.nbytes for array in self._kept)

    def clear(self) -> None:
        """Keep none; those that somebody has are theirs alone."""
        with _lock:
            self._kept, self._idle = [], []


def _holders(arrays: list[np.ndarray], at: int) -> int:
    """How many hold an array of the list, by Python's own count, which a view adds to."""
    return sys.getrefcount(arrays[at])


_ALONE = _holders([np.empty(0)], 0)
"""What `_holders` says when there is nobody but the list."""
_TORCH = {np.dtype(np.float32): torch.float32, np.dtype(np.float64): torch.float64}
