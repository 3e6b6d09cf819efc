"""Hashes, as in `coset.partitions.hashes`: words of 32 bits, in 64 bits as numba computes them."""

from __future__ import annotations

from typing import Any

import numpy as np

from coset.kernels.compile import inlined

LOW = np.uint64(0xFFFFFFFF)
"""The lower half of a word."""


@inlined
def mix(word: Any) -> Any:
    """The finaliser of MurmurHash3."""
    word = (word ^ (word >> np.uint64(16))) * np.uint64(0x85EBCA6B) & LOW
    word = (word ^ (word >> np.uint64(13))) * np.uint64(0xC2B2AE35) & LOW
    return word ^ (word >> np.uint64(16))


@inlined
def hashed_row(word: Any, lower: Any, upper: Any, modulus: Any) -> Any:
    """The row of an id by `coset.partitions.MultiplyShift`, whose `keys` are `lower` and `upper`."""
    found = mix(mix((word & LOW) ^ np.uint64(lower)) ^ (word >> np.uint64(32)) ^ np.uint64(upper))
    return np.int64((found >> np.uint64(1)) % np.uint64(modulus))
