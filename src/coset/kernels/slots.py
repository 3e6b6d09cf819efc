"""The distinct rows of a task, numbered as they come, by a hash table of places."""

from __future__ import annotations

import numpy as np

from coset.kernels.compile import compiled
from coset.kernels.layout import (
    CHUNKS,
    ROWS,
    TASK_ARRAY,
)


@compiled
def no_slots(task, arrays, capacity):
    """A table of places for the distinct rows of a task, of so many lookups at most; sparse where that stays in the
    fastest caches."""
    capacity = min(capacity, arrays[task[TASK_ARRAY], ROWS] // task[CHUNKS] + 1)
    size = 16
    while size < (4 if capacity <= 4096 else 2) * capacity:
        size *= 2
    slots = np.empty(size, np.int64)
    for s in range(size):
        slots[s] = -1
    return slots


_TAG = np.int64(0x7FFFFFFF)


@compiled
def slot_of(row, slots, distinct, room, found):
    """Which of the distinct rows `row` is, by a table of places with open addressing; `found`, the number of rows
    until now, for a new one, which is noted. A place holds the low bits of its row beside its number, so that few
    comparisons read anything else."""
    mask, tag = len(slots) - 1, row & _TAG
    at = np.int64((np.uint64(row) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)) & mask
    while True:
        slot = slots[at]
        if slot < 0:
            slots[at] = tag << 32 | found
            distinct[room + found] = row
            return found
        s = slot & 0xFFFFFFFF
        if slot >> 32 == tag and distinct[room + s] == row:
            return s
        at = (at + 1) & mask
