"""Families of partitions that are complementary: together they tell all ids apart."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from math import gcd, prod

from coset.errors import InputError
from coset.partitions.maps import Partition, remainder


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
                f"the moduli {one} and {other} share the factor {gcd(one, other)}, but must be pairwise coprime, as "
                f"those of coprime_moduli are"
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


def coprime_below(largest: int, parts: int) -> tuple[int, ...]:
    """The greatest pairwise coprime moduli from `largest` down, chosen one after the other.

    Example:
        >>> coprime_below(12, 3), coprime_below(13, 3)
        ((12, 11, 7), (13, 12, 11))
    """
    _check_family(largest, parts)
    chosen = [largest]
    while len(chosen) < parts:
        following = max(1, chosen[-1] - 1)
        while any(gcd(following, other) > 1 for other in chosen):
            following -= 1
        chosen.append(following)
    return tuple(chosen)


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
