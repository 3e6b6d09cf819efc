"""Maps from ids to rows; the arithmetic ones are data, `row = id // divisor % modulus`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from coset.settings import LARGEST_SIZE, whole

Ids = Any
"""A Python int, or an integer array of any library."""


@runtime_checkable
class RowMap(Protocol):
    """A map from ids to rows `0 … rows(n) - 1`.

    Arrays of ids are of 64 bits: narrower ones are to be widened first, since divisors and moduli may not fit them.
    """

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
        object.__setattr__(self, "divisor", whole("partition: divisor", self.divisor, 1, LARGEST_SIZE))
        object.__setattr__(self, "modulus", whole("partition: modulus", self.modulus, 1, LARGEST_SIZE))

    def __call__(self, ids: Ids) -> Ids:
        """The row of every id."""
        check_whole(ids)
        return ids // self.divisor % self.modulus

    def rows(self, num_embeddings: int) -> int:
        """Rows that an id below `num_embeddings` can reach: `min(modulus, ⌈n / divisor⌉)`."""
        return min(self.modulus, -(-num_embeddings // self.divisor))

    def is_identity(self, num_embeddings: int) -> bool:
        """Whether every id below `num_embeddings` is its own row, so that the arithmetic can be left out."""
        return self.divisor == 1 and self.modulus >= num_embeddings


def check_whole(ids: Ids) -> None:
    """Refuse ids that are floating-point numbers, which cannot hold all large ids.

    Raises:
        TypeError: they are.
    """
    floating = getattr(ids, "is_floating_point", None)  # of torch's tensors
    kind = getattr(getattr(ids, "dtype", None), "kind", "")  # of numpy's
    if isinstance(ids, float) or kind == "f" or (floating is not None and floating()):
        raise TypeError(f"partition: ids must be whole numbers, not {getattr(ids, 'dtype', 'float')}")


def naive(num_embeddings: int) -> Partition:
    """Every id has a row of its own."""
    return Partition(1, num_embeddings)


def remainder(modulus: int) -> Partition:
    """Ids with the same remainder share a row; each row is a coset."""
    return Partition(1, modulus)


def quotient(divisor: int, num_embeddings: int) -> Partition:
    """Runs of `divisor` neighbouring ids share a row."""
    return Partition(divisor, max(1, -(-num_embeddings // max(1, divisor))))
