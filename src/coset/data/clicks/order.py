"""The order in which the rows of a part are read: shuffled by blocks, and by rows within windows of many blocks.

A file larger than memory cannot be shuffled row by row without reading it row by row. So blocks of rows are put into a
random order, cut into windows, and the rows of a window are shuffled: what is read is contiguous, and the rows of a
batch come from all over the file. Data of one window are shuffled wholly.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from coset.settings import whole

BLOCK = 4096
"""Rows that are read together."""
WINDOW = 1 << 18
"""Rows that are shuffled together, rounded up to whole batches."""

_BLOCKS, _ROWS = 5, 6  # so that blocks and rows are drawn independently


@dataclass(frozen=True)
class BatchOrder:
    """The rows of each batch: a function of these four numbers alone.

    Args:
        rows: number of rows.
        batch_size: rows of a batch; the last one may have fewer.
        seed: None for the order of the file.
        epoch: number of the epoch; each has another order.
    """

    rows: int
    batch_size: int
    seed: int | None = None
    epoch: int = 0

    def __post_init__(self) -> None:
        for what, least in (("rows", 1), ("batch_size", 1), ("seed", 0), ("epoch", 0)):
            if (given := getattr(self, what)) is not None or what != "seed":
                object.__setattr__(self, what, whole(what, given, least))

    @property
    def batches(self) -> int:
        """How many batches an epoch has."""
        return -(-self.rows // self.batch_size)

    @property
    def per_window(self) -> int:
        """Batches of a window."""
        return -(-min(WINDOW, self.rows) // self.batch_size)

    @cached_property
    def _blocks(self) -> np.ndarray:
        count = -(-self.rows // BLOCK)
        return np.arange(count) if self.seed is None else self._permutation(count, _BLOCKS)

    @cached_property
    def _ends(self) -> np.ndarray:
        """Numbers of rows of the first 1, 2 … blocks of the order, where the last block of the file may be shorter."""
        sizes = np.minimum(BLOCK, self.rows - self._blocks * BLOCK)
        return np.cumsum(sizes)

    def ranges(self, window: int) -> list[tuple[int, int]]:
        """The ranges of rows of a window, each as first row and one past the last, in the order of reading."""
        size = self.per_window * self.batch_size
        at, stop = window * size, min((window + 1) * size, self.rows)
        found: list[tuple[int, int]] = []
        place = int(np.searchsorted(self._ends, at, side="right"))
        while at < stop:
            end = int(self._ends[place])
            last = min(BLOCK * int(self._blocks[place]) + BLOCK, self.rows)
            taken = min(end, stop) - at
            start = last - (end - at)
            if found and found[-1][1] == start:
                found[-1] = (found[-1][0], start + taken)
            else:
                found.append((start, start + taken))
            at += taken
            place += 1
        return found

    def shuffled(self, window: int, rows: int) -> np.ndarray | None:
        """The order of the `rows` rows of a window, or None where it is that of reading."""
        return None if self.seed is None else self._permutation(rows, _ROWS, window)

    def _permutation(self, count: int, *purpose: int) -> np.ndarray:
        # Raw bits and a sort: numpy guarantees its bits for ever, but not its permutations.
        raw = np.random.PCG64(np.random.SeedSequence([self.seed or 0, self.epoch, *purpose])).random_raw(count)
        return np.argsort(raw, kind="stable")
