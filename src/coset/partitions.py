"""Partitions: maps from ids to rows, exact for every 64-bit id.

An arithmetic partition is data, `row = id // divisor % modulus`; the families of the literature differ only in
those two integers. Every expression here is made of integer operators on values that fit 64 bits, so the same
code runs on Python integers, numpy arrays and torch tensors, and nothing overflows or passes through a float.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import gcd, lcm, prod
from typing import Any, Protocol, runtime_checkable

import numpy as np

from coset.errors import InputError

Ids = Any
"""A Python int, or an integer array of any library."""

_LOW_32 = 0xFFFFFFFF
_MOST_COUNTED = 10_000_000
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


def mixed_radix(moduli: Sequence[int]) -> tuple[Partition, ...]:
    """The generalised quotient-remainder family: the digits of an id, the least significant first.

    Partition j is `id // (m_1 ⋯ m_(j-1)) % m_j` (Shi et al., 2019, arXiv 1909.02107). Complementary for ids below the
    product of all moduli.

    Example:
        >>> [partition(1234) for partition in mixed_radix([10, 10, 20])]
        [4, 3, 12]
    """
    return tuple(Partition(prod(moduli[:at]), modulus) for at, modulus in enumerate(moduli))


def chinese_remainder(moduli: Sequence[int]) -> tuple[Partition, ...]:
    """The remainders by pairwise coprime moduli (Shi et al., 2019); complementary for ids below their product.

    Raises:
        InputError: two moduli have a common factor.

    Example:
        >>> [partition(1234) for partition in chinese_remainder([9, 10, 11])]
        [1, 4, 2]
    """
    for one, other in combinations(moduli, 2):
        if gcd(one, other) > 1:
            raise InputError(
                f"Chinese remainder: the moduli {one} and {other} share the factor {gcd(one, other)}, but must be "
                f"pairwise coprime; coprime_moduli gives such"
            )
    return tuple(remainder(modulus) for modulus in moduli)


def balanced_moduli(num_embeddings: int, parts: int) -> tuple[int, ...]:
    """The fewest rows in total for `parts` partitions: moduli of the smallest sum whose product is at least
    `num_embeddings`, the largest first.

    Example:
        >>> balanced_moduli(6040, 2), balanced_moduli(6040, 3)
        ((78, 78), (19, 18, 18))
    """
    _check_family(num_embeddings, parts)
    root = _root(num_embeddings, parts)
    # Of all moduli of one sum the most equal have the largest product.
    larger = next(j for j in range(parts + 1) if (root + 1) ** j * root ** (parts - j) >= num_embeddings)
    return (root + 1,) * larger + (root,) * (parts - larger)


def coprime_moduli(num_embeddings: int, parts: int) -> tuple[int, ...]:
    """As `balanced_moduli`, with moduli that are pairwise coprime.

    Example:
        >>> coprime_moduli(6040, 2), coprime_moduli(6040, 3)
        ((79, 77), (20, 19, 17))
    """
    _check_family(num_embeddings, parts)
    total = sum(balanced_moduli(num_embeddings, parts))
    while (found := _coprime(num_embeddings, parts, total, total, ())) is None:
        total += 1
    return found


def colliding_ids(partitions: Sequence[Partition], num_embeddings: int) -> tuple[int, int] | None:
    """Two ids that share every row; None if there are none, that is, if the partitions are complementary.

    Proven by arithmetic for the identity, remainders of any moduli and mixed radix; other combinations are counted id
    by id.

    Raises:
        InputError: a combination that would have to be counted, on more than ten million ids.

    Example:
        >>> colliding_ids(mixed_radix([3, 4]), 12), colliding_ids([remainder(4), remainder(6)], 24)
        (None, (0, 12))
    """
    if any(partition.is_identity(num_embeddings) for partition in partitions):
        return None
    ordered = sorted(partitions, key=lambda partition: partition.divisor)
    period = 0
    if all(partition.divisor == 1 for partition in ordered):
        period = lcm(*(partition.modulus for partition in ordered))
    elif [p.divisor for p in ordered] == [p.divisor for p in mixed_radix([p.modulus for p in ordered])]:
        period = prod(partition.modulus for partition in ordered)
    if period:
        return None if period >= num_embeddings else (0, period)
    if num_embeddings > _MOST_COUNTED:
        raise InputError(
            f"whether {list(partitions)} are complementary is not known by arithmetic, and {num_embeddings} ids are "
            f"too many to count; take mixed_radix or chinese_remainder"
        )
    return _first_pair(np.stack([partition(np.arange(num_embeddings)) for partition in partitions], axis=1))


def is_complementary(partitions: Sequence[Partition], num_embeddings: int) -> bool:
    """Whether no two ids below `num_embeddings` share every row; see `colliding_ids`.

    Example:
        >>> is_complementary([quotient(120, 6040), remainder(120)], 6040)
        True
    """
    return colliding_ids(partitions, num_embeddings) is None


@dataclass(frozen=True)
class Collisions:
    """How many ids share a row with another, and the share of traffic, in 0 … 1, that meets a shared row."""

    ids: int
    traffic: float


def collisions(partition: RowMap, frequencies: Sequence[float] | np.ndarray) -> Collisions:
    """What one partition merges, given how often each id occurs.

    Example:
        >>> collisions(remainder(2), [60, 30, 10])
        Collisions(ids=2, traffic=0.7)
    """
    weights = np.asarray(frequencies, dtype=np.float64)
    if weights.ndim != 1 or not np.isfinite(weights).all() or (weights < 0).any() or not weights.sum() > 0:
        raise InputError("collisions: frequencies must be one finite number of 0 or more an id, not all zero")
    rows = partition(np.arange(len(weights), dtype=np.int64))
    _, place, sharing = np.unique(rows, return_inverse=True, return_counts=True)
    shared = sharing[place] > 1
    return Collisions(int(shared.sum()), float(weights[shared].sum() / weights.sum()))


def _first_pair(codes: np.ndarray) -> tuple[int, int] | None:
    """The first two equal rows of an integer array, by position."""
    order = np.lexsort(codes.T)
    equal = (codes[order][1:] == codes[order][:-1]).all(axis=1)
    if not equal.any():
        return None
    at = int(equal.argmax())
    low, high = sorted((int(order[at]), int(order[at + 1])))
    return low, high


def _coprime(least: int, parts: int, total: int, largest: int, taken: tuple[int, ...]) -> tuple[int, ...] | None:
    """The most equal falling moduli of this sum, coprime to each other and to those `taken`, of product `least`."""
    for first in range(-(-total // parts), min(largest, total - parts + 1) + 1):
        if first * _largest_product(total - first, parts - 1) < least:
            return None  # a larger one is less equal, and its product smaller still
        if any(gcd(first, other) > 1 for other in taken):
            continue
        if parts == 1:
            return (first,)
        rest = _coprime(-(-least // first), parts - 1, total - first, first, (*taken, first))
        if rest is not None:
            return (first, *rest)
    return None


def _largest_product(total: int, parts: int) -> int:
    if parts == 0:
        return 1
    each, more = divmod(total, parts)
    return int((each + 1) ** more * each ** (parts - more))


def _root(number: int, degree: int) -> int:
    """The largest whole number whose power `degree` does not exceed `number`; exact where floats are not."""
    low, high = 1, 2
    while high**degree <= number:
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if middle**degree <= number else (low, middle)
    return low


def _check_family(num_embeddings: int, parts: int) -> None:
    if num_embeddings < 1 or parts < 1:
        raise InputError(f"moduli need at least one id and one partition, not {num_embeddings} and {parts}")


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
