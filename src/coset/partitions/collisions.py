"""Collisions: two ids that share every row, and how much traffic falls on shared rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import lcm, prod

import numpy as np

from coset.errors import InputError
from coset.partitions.codes import grouped
from coset.partitions.families import mixed_radix
from coset.partitions.maps import Partition, RowMap

_MOST_COUNTED = 100_000_000


def colliding_ids(partitions: Sequence[RowMap], num_embeddings: int) -> tuple[int, int] | None:
    """Two ids that share every row; None if there are none, that is, if the partitions are complementary.

    Proven by arithmetic for the identity, remainders of any moduli and mixed radix; in other families, such as columns
    of codes, the distinct tuples of rows are counted.

    Raises:
        InputError: a family that would have to be counted, on more than 100 million ids.

    Example:
        >>> from coset.partitions import remainder
        >>> colliding_ids(mixed_radix([3, 4]), 12), colliding_ids([remainder(4), remainder(6)], 24)
        (None, (0, 12))
    """
    if not partitions:
        return None if num_embeddings == 1 else (0, 1)
    known = [partition for partition in partitions if isinstance(partition, Partition)]
    if any(partition.is_identity(num_embeddings) for partition in known):
        return None
    if len(known) == len(partitions) and (period := _period(known)):
        return None if period >= num_embeddings else (0, period)
    if num_embeddings > _MOST_COUNTED:
        raise InputError(
            f"whether {list(partitions)} are complementary is not known by arithmetic, and {num_embeddings} ids are "
            f"too many to count; take mixed_radix or chinese_remainder"
        )
    ids = np.arange(num_embeddings)
    return _first_pair(grouped([np.asarray(partition(ids)) for partition in partitions]))


def _period(partitions: Sequence[Partition]) -> int:
    """After how many ids the rows of a remainder or mixed-radix family repeat; 0 for other families."""
    ordered = sorted(partitions, key=lambda partition: (partition.divisor, partition.modulus))
    if all(partition.divisor == 1 for partition in ordered):
        return lcm(*(partition.modulus for partition in ordered))
    if [p.divisor for p in ordered] == [p.divisor for p in mixed_radix([p.modulus for p in ordered])]:
        return prod(partition.modulus for partition in ordered)
    return 0


def is_complementary(partitions: Sequence[RowMap], num_embeddings: int) -> bool:
    """Whether no two ids below `num_embeddings` share every row; see `colliding_ids`.

    Example:
        >>> from coset.partitions import quotient, remainder
        >>> is_complementary([quotient(120, 6040), remainder(120)], 6040)
        True
    """
    return colliding_ids(partitions, num_embeddings) is None


def check_complementary(partitions: Sequence[RowMap], num_embeddings: int) -> None:
    """Refuse partitions that are not complementary.

    Raises:
        InputError: names two ids that share every row.

    Example:
        >>> from coset.partitions import remainder
        >>> check_complementary([remainder(4), remainder(7)], 24)
    """
    if pair := colliding_ids(partitions, num_embeddings):
        raise InputError(
            f"ids {pair[0]} and {pair[1]} of {num_embeddings} share every row, so the {len(partitions)} partitions are "
            f"not complementary; add one that tells them apart"
        )


@dataclass(frozen=True)
class Collisions:
    """How many ids share a row with another, and the share of traffic, in 0 … 1, that falls on a shared row."""

    ids: int
    traffic: float


def collisions(partition: RowMap, frequencies: Sequence[float] | np.ndarray) -> Collisions:
    """What one partition merges, given how often each id occurs.

    Example:
        >>> from coset.partitions import remainder
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


def _first_pair(place: np.ndarray) -> tuple[int, int] | None:
    """The first id whose group another one is in too, and the next of that group."""
    order = np.argsort(place, kind="stable")
    again = np.flatnonzero(np.diff(place[order]) == 0)
    if not len(again):
        return None
    at = again[order[again].argmin()]
    return int(order[at]), int(order[at + 1])
