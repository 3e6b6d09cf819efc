"""Partitions: maps from ids to rows, exact for every 64-bit id.

An arithmetic partition is data, `row = id // divisor % modulus`; the families of the literature differ only in
those two integers. Every expression here is made of integer operators on values that fit 64 bits, so the same
code runs on Python integers, numpy arrays and torch tensors, and nothing overflows or passes through a float.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from coset.errors import InputError

Ids = Any
"""A Python int, or an integer array of any library."""

_LOW_32 = 0xFFFFFFFF
MAX_MODULUS = 2**31
"""Most rows that `MultiplyShift` can reach."""


@runtime_checkable
class RowMap(Protocol):
    """A map from ids to rows `0 … rows(n) - 1`."""

    def __call__(self, ids: Ids) -> Ids:
        """The row of every id; same shape and integer type as `ids`."""
        ...

    def rows(self, num_embeddings: int) -> int:
        """How many rows a component needs so that every id below `num_embeddings` finds its row."""
        ...


@dataclass(frozen=True)
class Partition:
    """`row = id // divisor % modulus`.

    Example:
        >>> Partition(divisor=3, modulus=2)(7)
        0
    """

    divisor: int
    modulus: int

    def __post_init__(self) -> None:
        for what in ("divisor", "modulus"):
            value = getattr(self, what)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InputError(f"partition: {what} must be a positive integer, not {value!r}")

    def __call__(self, ids: Ids) -> Ids:
        """The row of every id."""
        return ids // self.divisor % self.modulus

    def rows(self, num_embeddings: int) -> int:
        """Rows that an id below `num_embeddings` can reach: `min(modulus, ⌈n / divisor⌉)`."""
        return min(self.modulus, -(-num_embeddings // self.divisor))

    def is_identity(self, num_embeddings: int) -> bool:
        """Whether every id below `num_embeddings` is its own row, so that the arithmetic can be left out."""
        return self.divisor == 1 and self.modulus >= num_embeddings


def naive(num_embeddings: int) -> Partition:
    """Every id has a row of its own."""
    return Partition(1, num_embeddings)


def remainder(modulus: int) -> Partition:
    """Ids with the same remainder share a row; each row is a coset."""
    return Partition(1, modulus)


def quotient(divisor: int, num_embeddings: int) -> Partition:
    """Runs of `divisor` neighbouring ids share a row."""
    return Partition(divisor, max(1, -(-num_embeddings // divisor)))


@dataclass(frozen=True)
class MultiplyShift:
    """A hash: ids share rows as if thrown at random, and the same seed always throws alike.

    Both 32-bit halves of an id go through rounds of xor-shift and multiplication (the finaliser of MurmurHash3,
    Appleby, public domain), keyed by `seed`; the upper 31 bits of the result, modulo `modulus`, are the row.
    Only the low 32 bits of any product are used, so 32-bit arithmetic gives the same rows.

    Args:
        modulus: number of rows, at most 2^31.
        seed: which of the hash functions; 0 … 2^32 - 1.
    """

    modulus: int
    seed: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.modulus, bool) or not isinstance(self.modulus, int) or self.modulus < 1:
            raise InputError(f"hash: modulus must be a positive integer, not {self.modulus!r}")
        if self.modulus > MAX_MODULUS:
            raise InputError(f"hash: modulus must be at most 2^31 = {MAX_MODULUS}, not {self.modulus}")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or not 0 <= self.seed <= _LOW_32:
            raise InputError(f"hash: seed must be an integer in 0 … 2^32 - 1, not {self.seed!r}")

    def __call__(self, ids: Ids) -> Ids:
        """The row of every id."""
        low, high = ids & _LOW_32, (ids >> 32) & _LOW_32
        mixed = _mix(low ^ _mix(self.seed ^ 0x9E3779B9))
        mixed = _mix(mixed ^ high ^ _mix(self.seed ^ 0x7F4A7C15))
        return (mixed >> 1) % self.modulus

    def rows(self, num_embeddings: int) -> int:
        """All `modulus` rows: which of them are reached is not known without hashing every id."""
        return self.modulus


def _mix(word: Ids) -> Ids:
    word = word ^ (word >> 16)
    word = _times(word, 0x85EBCA6B)
    word = word ^ (word >> 13)
    word = _times(word, 0xC2B2AE35)
    return word ^ (word >> 16)


def _times(word: Ids, factor: int) -> Ids:
    """The low 32 bits of a product of 32-bit words, by halves of `factor` so that no step exceeds 2^50."""
    upper = (word * (factor >> 16) & 0xFFFF) << 16
    return (word * (factor & 0xFFFF) + upper) & _LOW_32
