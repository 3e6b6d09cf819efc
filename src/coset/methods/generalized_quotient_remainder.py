"""`generalized_quotient_remainder`: a row for each digit of an id in a mixed-radix number system."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from coset.methods.base import make, register
from coset.methods.facts import COMPOSED, Facts
from coset.methods.moduli import ModuliMethod
from coset.methods.sizing import rising, spread
from coset.partitions import Partition, balanced_moduli, mixed_radix
from coset.schema import Table


@register("generalized_quotient_remainder")
@dataclass(frozen=True)
class GeneralizedQuotientRemainder(ModuliMethod):
    """The generalised quotient-remainder trick (Shi et al., 2019, arXiv 1909.02107).

    With moduli m_1 … m_k of product n or more, the row of id i in component j is `i // (m_1 ⋯ m_(j-1)) % m_j`, digit j
    of the id. Two ids that share every digit are the same id, so the partitions are complementary. With k = 2 it is the
    quotient-remainder trick.

    Bytes: `Σ m_j · dim · itemsize` (1/k of that for `concat`), least at m_j ≈ n^(1/k). Operations: k divisions, k row
    reads, `(k - 1) · dim` multiplications or additions. Vectors are unique for `concat` where stored rows differ, and
    almost surely for `mult` and `add`. The fit to a trained table is alternating least squares. Prefer it to two parts
    where the budget is below 2√n rows; above that a single large modulus carries the vectors and the others add little.

    Args:
        moduli: m_1 … m_k, the rows of each component, the least significant digit first.
            `coset.partitions.balanced_moduli(n, k)` are the fewest.
        operation: `"mult"`, `"add"` or `"concat"`; see `QuotientRemainder`.
        widths: of the parts, for `concat`; they sum to the dim. By default equal, or where the dim does not divide, the
            first ones larger by 1.

    Example:
        >>> from coset.schema import Table
        >>> GeneralizedQuotientRemainder((19, 18, 18)).bytes(Table("user", 6040, 64)) == (19 + 18 + 18) * 64 * 4
        True
    """

    facts: ClassVar[Facts] = Facts(
        paper="Shi et al., 2019, arXiv 1909.02107",
        formula="∘_j E_j[i // (m_1 ⋯ m_(j-1)) % m_j], Π m_j ≥ n",
        elements="Σ m_j · D, O(k · n^(1/k) · D); 1/k of it by concat",
        operations="k divisions, k rows, (k - 1) · D multiplications",
        uniqueness=COMPOSED,
        prefer="budgets below the 2√n rows of two-way QR",
    )

    @staticmethod
    def family(moduli: Sequence[int]) -> Sequence[Partition]:
        """The digits, the least significant first."""
        return mixed_radix(moduli)

    @classmethod
    def sizes(cls, table: Table, *, parts: int = 3, **fixed: Any) -> Sequence[Self]:
        """`parts` partitions (by concat no more than the dim), from the fewest rows: the first modulus grows up to n,
        the others shrink to the fewest that still tell all ids apart."""
        if "moduli" in fixed:
            return [make(cls, fixed)]
        if fixed.get("operation") == "concat":
            parts = min(parts, table.embedding_dim)
        n = table.num_embeddings
        families = (
            (first, *balanced_moduli(-(-n // first), parts - 1)) if parts > 1 else (first,)
            for first in spread(balanced_moduli(n, parts)[0], n)
        )
        return rising((cls._of(moduli, fixed) for moduli in families), table)

    @classmethod
    def fewest(cls, num_embeddings: int, parts: int) -> tuple[int, ...]:
        """`coset.partitions.balanced_moduli`."""
        return balanced_moduli(num_embeddings, parts)
