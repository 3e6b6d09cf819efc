"""Hashes: partitions as if drawn at random."""

from __future__ import annotations

from dataclasses import dataclass

from coset.partitions.maps import Ids, check_whole
from coset.settings import whole

_LOW_32 = 0xFFFFFFFF
MAX_MODULUS = 2**31
"""Most rows that `MultiplyShift` can reach."""
MAX_SEED = 2**32 - 1
"""Largest seed of a hash."""


@dataclass(frozen=True)
class MultiplyShift:
    """A hash: ids fall on rows as if at random; the same seed always gives the same rows.

    Both 32-bit halves of an id go through rounds of xor-shift and multiplication (the finaliser of MurmurHash3,
    Appleby, public domain), keyed by `seed`; the upper 31 bits of the result, modulo `modulus`, are the row.
    Only the low 32 bits of any product are used, so arithmetic that wraps at 32 bits can be made to give the same rows.

    Args:
        modulus: number of rows, at most 2^31.
        seed: which of the hash functions; 0 … 2^32 - 1.
    """

    modulus: int
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "modulus", whole("hash: modulus", self.modulus, 1, MAX_MODULUS))
        object.__setattr__(self, "seed", whole("hash: seed", self.seed, 0, MAX_SEED))

    def __call__(self, ids: Ids) -> Ids:
        """The row of every id."""
        return (hash_words(ids, self.seed) >> 1) % self.modulus

    @property
    def keys(self) -> tuple[int, int]:
        """The 32-bit words that key the two halves of an id."""
        return _keys(self.seed)

    def rows(self, num_embeddings: int) -> int:
        """All `modulus` rows: which of them are reached is not known without hashing every id."""
        return self.modulus


def hash_words(ids: Ids, seeds: Ids) -> Ids:
    """32-bit words as if drawn at random, 0 … 2^32 - 1, one for each id and seed; the two are broadcast.

    Args:
        ids: 64-bit integers of 0 or more.
        seeds: 0 … 2^32 - 1, which hash function.

    Example:
        >>> hash_words(7, 0), hash_words(7, 1)
        (1974401977, 1008390780)
    """
    check_whole(ids)
    low, high = ids & _LOW_32, (ids >> 32) & _LOW_32
    lower, upper = _keys(seeds)
    return _mix(_mix(low ^ lower) ^ high ^ upper)


def _keys(seeds: Ids) -> tuple[Ids, Ids]:
    return _mix(seeds ^ 0x9E3779B9), _mix(seeds ^ 0x7F4A7C15)


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
