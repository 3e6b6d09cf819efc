"""Which keys have been met before: a hash table of keys, numbered in the order in which they first came.

A slot is three numbers of 32 bits, the two halves of a key and its number, or -1 where there is none; together they are
in one line of the cache, and the slots of keys that come next are fetched ahead.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from coset.kernels.compile import inlined, kernel
from coset.kernels.hashing import hashed_row
from coset.kernels.memory import fetch

_AHEAD = 16
_LOW = np.int64(0xFFFFFFFF)


@inlined
def _slot(key: int, mask: int) -> int:
    """Where the search for a key begins: the finaliser of MurmurHash3 for 64 bits (Appleby, public domain)."""
    word = np.uint64(key)
    word = (word ^ (word >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    word = (word ^ (word >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return np.int64((word ^ (word >> np.uint64(33))) & np.uint64(mask))


@kernel
def number(
    keys: Any, missing: Any, slots: Any, address: int, known: int, begin: int, numbers: Any, fresh: Any
) -> tuple[int, int]:
    """Number keys until the table is three quarters full.

    Args:
        keys: int64.
        missing: those that are 1 get the number -1.
        slots: int32, a power of two of rows of three.
        address: of the slots.
        known: how many keys the table holds.
        begin: the first key to number.
        numbers: for the number of each key, int32.
        fresh: for the place among `keys` where each new key first came, from 0 on.

    Returns:
        The first key that was not numbered, and how many keys the table holds now.
    """
    mask = len(slots) - 1
    most = len(slots) // 4 * 3
    before = known
    for at in range(begin, len(keys)):
        if at + _AHEAD < len(keys):
            fetch(address, 3 * _slot(keys[at + _AHEAD], mask), 3, slots)
        if missing[at] == 1:
            numbers[at] = -1
            continue
        low, high = np.int32(keys[at] & _LOW), np.int32(keys[at] >> 32)
        slot = _slot(keys[at], mask)
        while slots[slot, 2] >= 0 and (slots[slot, 0] != low or slots[slot, 1] != high):
            slot = (slot + 1) & mask
        if slots[slot, 2] < 0:
            if known == most:
                return at, known
            slots[slot, 0], slots[slot, 1], slots[slot, 2] = low, high, known
            fresh[known - before] = at
            known += 1
        numbers[at] = slots[slot, 2]
    return len(keys), known


@kernel
def move(old: Any, new: Any) -> None:
    """Put what a table holds into an empty, larger one."""
    mask = len(new) - 1
    for at in range(len(old)):
        if old[at, 2] >= 0:
            slot = _slot((np.int64(old[at, 1]) << 32) | (np.int64(old[at, 0]) & _LOW), mask)
            while new[slot, 2] >= 0:
                slot = (slot + 1) & mask
            new[slot] = old[at]


@kernel
def find(keys: Any, missing: Any, slots: Any, address: int, numbers: Any) -> None:
    """The numbers of keys; -1 of those missing, and -2 of those that the table does not hold."""
    mask = len(slots) - 1
    for at in range(len(keys)):
        if at + _AHEAD < len(keys):
            fetch(address, 3 * _slot(keys[at + _AHEAD], mask), 3, slots)
        if missing[at] == 1:
            numbers[at] = -1
            continue
        low, high = np.int32(keys[at] & _LOW), np.int32(keys[at] >> 32)
        slot = _slot(keys[at], mask)
        while slots[slot, 2] >= 0 and (slots[slot, 0] != low or slots[slot, 1] != high):
            slot = (slot + 1) & mask
        numbers[at] = slots[slot, 2] if slots[slot, 2] >= 0 else -2


@kernel
def hashed(keys: Any, missing: Any, lower: Any, upper: Any, modulus: int, numbers: Any) -> None:
    """The rows of keys by `coset.partitions.MultiplyShift`, whose `keys` are `lower` and `upper`; -1 where missing."""
    for at in range(len(keys)):
        row = hashed_row(np.uint64(keys[at]), lower, upper, modulus)
        numbers[at] = -1 if missing[at] == 1 else row


@kernel
def count(numbers: Any, validates: Any, counts: Any) -> None:
    """Add to the counts of all numbers, -1 being the last one, those that do not validate."""
    for at in range(len(numbers)):
        if not validates[at]:
            counts[numbers[at] if numbers[at] >= 0 else len(counts) - 1] += 1


@kernel
def gather(text: Any, begins: Any, places: Any, offsets: Any, found: Any) -> None:
    """Copy the texts at some places one after the other: the text at place `p` begins at `begins[p]`, and the result
    of the `i`-th place at `offsets[i]`."""
    for at in range(len(places)):
        start, size = begins[places[at]], offsets[at + 1] - offsets[at]
        for step in range(size):
            found[offsets[at] + step] = text[start + step]


@kernel
def part(values: Any, validates: Any, training: Any, validation: Any) -> tuple[int, int]:
    """Write values to one of two arrays; how many each has got."""
    first, second = 0, 0
    for at in range(len(values)):
        if validates[at]:
            validation[second] = values[at]
            second += 1
        else:
            training[first] = values[at]
            first += 1
    return first, second
