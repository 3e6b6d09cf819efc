"""`low_rank`: a narrow table and a projection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from coset.errors import InputError
from coset.methods.base import make, register
from coset.methods.composition import RowComposition, projected
from coset.methods.facts import Facts
from coset.methods.rows import RowMethod
from coset.methods.sizing import Sizes
from coset.schema import Table


@register("low_rank")
@dataclass(frozen=True)
class LowRank(RowMethod):
    """A row of `rank` elements an id, times one `(rank, embedding_dim)` matrix that all ids share.

    The table becomes a product of two thin matrices, as in the factorised embeddings of ALBERT (Lan et al.,
    2019, arXiv 1909.11942). In a model that only takes dot products it can express no more than a narrow table; the
    matrix pays where layers after it need the full dim.

    Bytes: `(n · rank + [rank < dim] · rank · dim) · itemsize`. Operations: one row read and `rank · dim`
    multiplications. Every vector is unique. The fit to a trained table is the frequency-weighted truncated SVD.

    Rows begin at random, the projection does not: it begins at the first `rank` cosine waves of the discrete cosine
    transform, the same in every table and under every seed. So the vectors of two low-rank tables, say users and
    items, begin in one common subspace; two narrow subspaces drawn at random are almost orthogonal, and dot products
    across them begin weak. Fresh vectors deviate by `table.std` on average over their elements, not in each one.

    Args:
        rank: elements of a row, 1 … embedding_dim; no published value suits all tables. At embedding_dim there is no
            projection, and the table is the full one.

    Example:
        >>> from coset.schema import Table
        >>> LowRank(rank=8).bytes(Table("user", 6040, 64))
        195328
    """

    rank: int

    planned: ClassVar[bool] = True

    facts: ClassVar[Facts] = Facts(
        paper="Lan et al., 2019, arXiv 1909.11942",
        formula="E[i] · P",
        elements="n · r + r · D",
        operations="1 row, r · D multiplications",
        uniqueness="guaranteed",
        prefer="small ratios, where layers after the tables need the full dim",
        combines="blocks (mixed dimension)",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_least(1, "rank")

    def check(self, table: Table) -> None:
        """The rank does not exceed the dim."""
        if self.rank > table.embedding_dim:
            raise InputError(
                f"table {table.name!r}: rank {self.rank} exceeds embedding_dim {table.embedding_dim}; "
                f"low_rank takes 1 … {table.embedding_dim}"
            )

    def composition(self, table: Table) -> RowComposition:
        """Narrow rows and the projection; at rank = dim no projection is needed."""
        return projected(table, self.rank)

    @classmethod
    def sizes(cls, table: Table, **fixed: Any) -> Sequence[Self]:
        """Ranks from 1 to the last that is no larger than the full table, and the full rank."""
        if fixed:
            return [make(cls, fixed)]
        n, dim = table.num_embeddings, table.embedding_dim
        smaller = range(1, min(dim - 1, n * dim // (n + dim)) + 1)
        ranks = [*smaller, dim]
        return Sizes(range(len(ranks)), lambda at: cls(ranks[at]))
