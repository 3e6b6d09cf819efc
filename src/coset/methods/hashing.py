"""`hashing`: fewer rows than ids, and ids that meet share a vector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

from coset.errors import InputError
from coset.methods.base import make, register
from coset.methods.composition import RowComposition, compose
from coset.methods.facts import Facts
from coset.methods.rows import RowMethod
from coset.methods.sizing import Sizes, rows_at
from coset.partitions import MAX_MODULUS, MAX_SEED, MultiplyShift, RowMap, remainder
from coset.schema import Table


@register("hashing")
@dataclass(frozen=True)
class Hashing(RowMethod):
    """The hashing trick (Weinberger et al., 2009, arXiv 0902.2206): `row = hash(id)`, one row a vector.

    Ids that share a row have the same vector, so this is the baseline that every other method must beat.

    Bytes: `num_buckets · dim · itemsize`. Operations: one hash, one row read. Vectors are not unique.

    Args:
        num_buckets: number of rows, 1 … n.
        hash: `"remainder"`, id modulo num_buckets, which with ids in order of popularity lets each of the
            most frequent ids meet only rarer ones; or `"multiply_shift"`, rows as if drawn at random, for ids
            whose low digits carry meaning: the finaliser of MurmurHash3, rounds of multiplication and xor-shift,
            keyed by `seed` (`coset.partitions.MultiplyShift`; not the multiply-shift scheme of Dietzfelbinger).
        seed: which hash function, 0 … 2^32 - 1; `multiply_shift` only.

    Example:
        >>> from coset.schema import Table
        >>> Hashing(num_buckets=1510).bytes(Table("user", 6040, 64))
        386560
    """

    num_buckets: int
    hash: Literal["remainder", "multiply_shift"] = "remainder"
    seed: int = 0

    planned: ClassVar[bool] = True

    facts: ClassVar[Facts] = Facts(
        paper="Weinberger et al., 2009, arXiv 0902.2206",
        formula="E[h(i)]",
        elements="m · D",
        operations="1 hash, 1 row",
        uniqueness="none",
        prefer="rare ids, with private rows for the hot ones; the baseline that others must beat",
        combines="blocks (hot ids)",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_least(1, "num_buckets")
        self._at_least(0, "seed")
        self._at_most(MAX_SEED, "seed")
        if self.hash == "multiply_shift":
            self._at_most(MAX_MODULUS, "num_buckets")

    def check(self, table: Table) -> None:
        """There are no more buckets than ids."""
        if self.num_buckets > table.num_embeddings:
            raise InputError(
                f"table {table.name!r}: {self.num_buckets} buckets for {table.num_embeddings} ids; "
                f"hashing takes 1 … {table.num_embeddings}, or use full"
            )

    def composition(self, table: Table) -> RowComposition:
        """One part, picked by the hash."""
        hashed: RowMap = remainder(self.num_buckets)
        if self.hash == "multiply_shift":
            hashed = MultiplyShift(self.num_buckets, self.seed)
        return compose(table, "concat", [("buckets", hashed)])

    @classmethod
    def sizes(cls, table: Table, **fixed: Any) -> Sequence[Self]:
        """Any number of buckets, from 1 to n."""
        most = table.num_embeddings
        if fixed.get("hash") == "multiply_shift":
            most = min(most, MAX_MODULUS)
        return Sizes(range(1, most + 1), lambda m: make(cls, {"num_buckets": m} | fixed))

    @classmethod
    def for_collisions(cls, table: Table, collisions: int, **fixed: Any) -> Self:
        """⌈n / collisions⌉ buckets."""
        return make(cls, {"num_buckets": rows_at(table, collisions)} | fixed)

    @classmethod
    def examples(cls, table: Table) -> list[Self]:
        """Both hashes at 4 collisions."""
        m = -(-table.num_embeddings // 4)
        return [cls(m), cls(m, hash="multiply_shift"), cls(m, hash="multiply_shift", seed=7)]
