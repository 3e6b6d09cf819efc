"""`chinese_remainder`: a row for the remainder of an id by each of several coprime moduli."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar, Self

from coset.methods.base import make, register
from coset.methods.facts import COMPOSED, Facts
from coset.methods.moduli import ModuliMethod
from coset.methods.sizing import rising, spread
from coset.partitions import Partition, chinese_remainder, coprime_below, coprime_moduli
from coset.schema import Table


@register("chinese_remainder")
@dataclass(frozen=True)
class ChineseRemainder(ModuliMethod):
    """Chinese remainder partitions (Shi et al., 2019, arXiv 1909.02107).

    With pairwise coprime moduli m_1 … m_k of product n or more, the row of id i in component j is `i % m_j`. By the
    Chinese remainder theorem no two ids share all remainders, so the partitions are complementary.

    Bytes: `Σ m_j · dim · itemsize` (1/k of that for `concat`), least at m_j ≈ n^(1/k). Operations: k remainders, k row
    reads, `(k - 1) · dim` multiplications or additions. Vectors are unique for `concat` where stored rows differ, and
    almost surely for `mult` and `add`. The fit to a trained table is alternating least squares. Unlike quotients, every
    component may have as many rows as the budget allows, and none of them merges runs of neighbouring ids: prefer it
    where components of equal size matter, as in `concat`, or where neighbours have nothing in common.

    Args:
        moduli: m_1 … m_k, the rows of each component, pairwise coprime. `coset.partitions.coprime_moduli(n, k)` are the
            fewest.
        operation: `"mult"`, `"add"` or `"concat"`; see `QuotientRemainder`.
        widths: of the parts, for `concat`; see `GeneralizedQuotientRemainder`.

    Example:
        >>> from coset.schema import Table
        >>> ChineseRemainder((20, 19, 17)).bytes(Table("user", 6040, 64)) == (20 + 19 + 17) * 64 * 4
        True
    """

    facts: ClassVar[Facts] = Facts(
        paper="Shi et al., 2019, arXiv 1909.02107",
        formula="∘_j E_j[i % m_j], m_j pairwise coprime, Π m_j ≥ n",
        elements="Σ m_j · D, O(k · n^(1/k) · D); 1/k of it by concat",
        operations="k remainders, k rows, (k - 1) · D multiplications",
        uniqueness=COMPOSED,
        prefer="components of equal size at any budget; ids whose neighbours have nothing in common",
    )

    @staticmethod
    def family(moduli: Sequence[int]) -> Sequence[Partition]:
        """The remainders."""
        return chinese_remainder(moduli)

    @classmethod
    def sizes(cls, table: Table, *, parts: int = 2, **fixed: Any) -> Sequence[Self]:
        """`parts` moduli of nearly equal size, from the fewest rows to those of the full table."""
        if "moduli" in fixed:
            return [make(cls, fixed)]
        if fixed.get("operation") == "concat":
            parts = min(parts, table.embedding_dim)
        least = coprime_moduli(table.num_embeddings, parts)
        n = table.num_embeddings
        families = (coprime_below(first, parts) for first in spread(least[0] + 1, n * parts))
        enough = (moduli for moduli in families if prod(moduli) >= n)  # the greatest below a number may be too few
        return rising((cls._of(moduli, fixed) for moduli in (least, *enough)), table)

    @classmethod
    def fewest(cls, num_embeddings: int, parts: int) -> tuple[int, ...]:
        """`coset.partitions.coprime_moduli`."""
        return coprime_moduli(num_embeddings, parts)
