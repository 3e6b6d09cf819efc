"""Partitions on tensors of 32 bits: the same rows as `coset.partitions`, where products and divisors may not fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras import ops

from coset.partitions import MultiplyShift, Partition, RowMap

Ids = Any
"""An integer tensor of the backend, of 32 bits or more."""

_ROUNDS = ((16, 0x85EBCA6B), (13, 0xC2B2AE35))
"""Pairs of a shift and a factor, applied in turn."""


def rows_of(partition: RowMap, num_embeddings: int) -> Callable[[Ids], Ids]:
    """The row of every id in 0 … num_embeddings - 1 < 2^31.

    Example:
        >>> rows_of(Partition(divisor=3, modulus=2), 12)(7)
        0
    """
    if isinstance(partition, MultiplyShift):
        return lambda ids: _hashed(partition, ids)
    if not isinstance(partition, Partition):
        raise TypeError(f"layers have no arithmetic for {partition!r}")
    if partition.is_identity(num_embeddings):
        return lambda ids: ids
    # A divisor or modulus that no id reaches changes nothing, but may not fit 32 bits.
    reached = -(-num_embeddings // partition.divisor)
    divisor, modulus = min(partition.divisor, num_embeddings), min(partition.modulus, reached)
    if divisor == 1:
        return lambda ids: ids % modulus
    if modulus == reached:
        return lambda ids: ids // divisor
    return Partition(divisor, modulus)


def _hashed(hash: MultiplyShift, ids: Ids) -> Ids:
    """`MultiplyShift` in the signed 32-bit arithmetic that every backend has: products wrap, and the sign bits that a
    right shift brings in are masked away. Ids have no upper half."""
    mixed = _mix(ops.bitwise_xor(ops.cast(ids, "int32"), _key(hash.seed ^ 0x9E3779B9)))
    rows = _shifted(_mix(ops.bitwise_xor(mixed, _key(hash.seed ^ 0x7F4A7C15))), 1)
    return rows if hash.modulus == 2**31 else rows % hash.modulus


def _mix(word: Ids) -> Ids:
    for shift, factor in _ROUNDS:
        word = ops.bitwise_xor(word, _shifted(word, shift)) * _signed(factor)
    return ops.bitwise_xor(word, _shifted(word, 16))


def _key(word: int) -> int:
    """The result of `_mix` for a word of the seed, in Python integers."""
    for shift, factor in _ROUNDS:
        word = (word ^ (word >> shift)) * factor & 0xFFFFFFFF
    return _signed(word ^ (word >> 16))


def _shifted(word: Ids, places: int) -> Ids:
    """A logical right shift."""
    return ops.bitwise_and(ops.right_shift(word, places), (1 << (32 - places)) - 1)


def _signed(word: int) -> int:
    """The int32 with the bits of this 32-bit word."""
    return word - 2**32 if word >= 2**31 else word
