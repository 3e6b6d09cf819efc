"""`bloom`: every id adds up a few hashed rows of one array."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from coset.errors import InputError
from coset.methods.base import make, register
from coset.methods.composition import RowComposition, RowPart
from coset.methods.facts import Facts
from coset.methods.rows import RowMethod
from coset.methods.sizing import Sizes
from coset.partitions import MAX_MODULUS, MAX_SEED, MultiplyShift
from coset.schema import Table


@register("bloom")
@dataclass(frozen=True)
class Bloom(RowMethod):
    """Bloom embeddings (Serrà and Karatzoglou, 2017, arXiv 1706.03993): `Σ_j E[h_j(i)]` over k hash functions into one
    array, as a Bloom filter marks an item by k bits.

    Two ids rarely share all k rows, so it confuses far fewer ids than one hash of the same bytes; but every row serves
    k times as many ids.

    Bytes: `num_buckets · dim · itemsize`. Operations: k hashes, k row reads, `(k - 1) · dim` additions. Vectors are
    unique with high probability: m buckets have about m^k / k! sets of k rows. The fit to a trained table is least
    squares, exact. Prefer it to `hashing`, above all where the order of popularity is unknown.

    Args:
        num_buckets: rows of the array, 1 … n.
        num_hashes: k, rows an id; the paper finds 2 to 4 enough.
        seed: of the first hash function; the others take the next integers.

    Example:
        >>> from coset.schema import Table
        >>> Bloom(num_buckets=1000, num_hashes=3).bytes(Table("user", 6040, 64)) == 1000 * 64 * 4
        True
    """

    num_buckets: int
    num_hashes: int = 2
    seed: int = 0

    facts: ClassVar[Facts] = Facts(
        paper="Serrà and Karatzoglou, 2017, arXiv 1706.03993",
        formula="Σ_j E[h_j(i)], k hashes into one array",
        elements="m · D",
        operations="k hashes, k rows, (k - 1) · D additions",
        uniqueness="probable",
        prefer="as hashing, with far fewer confusions at the same bytes",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_least(1, "num_buckets", "num_hashes")
        self._at_least(0, "seed")
        self._at_most(MAX_MODULUS, "num_buckets")
        self._at_most(MAX_SEED - self.num_hashes + 1, "seed")

    def check(self, table: Table) -> None:
        """There are no more buckets than ids."""
        if self.num_buckets > table.num_embeddings:
            raise InputError(
                f"table {table.name!r}: {self.num_buckets} buckets for {table.num_embeddings} ids; "
                f"bloom takes 1 … {table.num_embeddings}, or use full"
            )

    def composition(self, table: Table) -> RowComposition:
        """One array, read by every hash."""
        m, std = self.num_buckets, table.std / self.num_hashes**0.5
        hashes = [MultiplyShift(m, self.seed + number) for number in range(self.num_hashes)]
        parts = [RowPart("buckets", m, table.embedding_dim, hashed, std) for hashed in hashes]
        return RowComposition(tuple(parts), "add", table.embedding_dim)

    @classmethod
    def sizes(cls, table: Table, **fixed: Any) -> Sequence[Self]:
        """Any number of buckets, from 1 to n."""
        most = min(table.num_embeddings, MAX_MODULUS)
        return Sizes(range(1, most + 1), lambda m: make(cls, {"num_buckets": m} | fixed))

    @classmethod
    def examples(cls, table: Table) -> list[Self]:
        """One hash, two and three, at 4 collisions."""
        m = -(-table.num_embeddings // 4)
        return [cls(m), cls(m, 1, seed=5), cls(m, 3)]
