"""`feature_generation`: the rows of an id are not composed; each is a feature of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

from coset.errors import InputError
from coset.methods.base import make, register
from coset.methods.chinese_remainder import ChineseRemainder
from coset.methods.composition import RowComposition
from coset.methods.facts import Facts
from coset.methods.generalized_quotient_remainder import GeneralizedQuotientRemainder
from coset.methods.moduli import ModuliMethod, check_moduli
from coset.methods.rows import RowMethod
from coset.methods.sizing import rows_at
from coset.schema import Table

Scheme = Literal["mixed_radix", "chinese_remainder"]


@register("feature_generation")
@dataclass(frozen=True)
class FeatureGeneration(RowMethod):
    """Feature generation (Shi et al., 2019, arXiv 1909.02107): each of k complementary partitions gives a
    feature of its own, and the model behind combines them.

    A lookup gives k vectors an id, shape `(*ids.shape, k, dim)`; a collection hands them on as `feature@0` …
    `feature@<k-1>`, and the dot model takes all of them into one sum of pairwise products.

    Bytes: `Σ m_j · dim · itemsize`. Operations: k row reads; the model's interactions grow with k. No two ids have the
    same k rows. The fit to trained features takes a weight of shape `(n, k, dim)` and is the weighted mean. Prefer it
    where layers behind the tables can learn the composition, as in DLRM and DCN.

    Args:
        moduli: rows of each partition; see `GeneralizedQuotientRemainder` and `ChineseRemainder`.
        scheme: `"mixed_radix"`, the digits of the id, or `"chinese_remainder"`, remainders by coprime moduli.

    Example:
        >>> from coset.schema import Table
        >>> method = FeatureGeneration((78, 78))
        >>> method.table_outputs, method.bytes(Table("user", 6040, 64)) == (78 + 78) * 64 * 4
        (2, True)
    """

    moduli: tuple[int, ...]
    scheme: Scheme = "mixed_radix"

    facts: ClassVar[Facts] = Facts(
        paper="Shi et al., 2019, arXiv 1909.02107",
        formula="k features E_j[p_j(i)], p_j complementary",
        elements="Σ m_j · D, O(k · n^(1/k) · D)",
        operations="k rows; more interactions in the model",
        uniqueness="guaranteed",
        prefer="models with layers behind the tables (DLRM, DCN)",
        combines="thresholds of a collection",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_least(1, "moduli")
        if not self.moduli:
            raise InputError(f"{self._what}: moduli must hold at least one number")

    @property
    def table_outputs(self) -> int:
        """One vector for each partition."""
        return len(self.moduli)

    def check(self, table: Table) -> None:
        """The partitions tell all ids apart."""
        check_moduli(table, self.name, self.moduli, self._composed.fewest, self._composed.family)

    def composition(self, table: Table) -> RowComposition:
        """The concatenation of k vectors, which the module cuts into k outputs."""
        joined = self._composed.composition(self._joined(table))
        return replace(joined, outputs=self.table_outputs)

    @property
    def _composed(self) -> GeneralizedQuotientRemainder | ChineseRemainder:
        return _SCHEMES[self.scheme](self.moduli, "concat")

    def _joined(self, table: Table) -> Table:
        return replace(table, embedding_dim=self.table_outputs * table.embedding_dim)

    @classmethod
    def sizes(cls, table: Table, *, parts: int = 2, **fixed: Any) -> Sequence[Self]:
        """`parts` partitions, from the fewest rows to those of the full table."""
        if "moduli" in fixed:
            return [make(cls, fixed)]
        smallest = make(cls, {"moduli": (1,) * parts} | fixed)
        composed: Sequence[ModuliMethod] = _SCHEMES[smallest.scheme].sizes(table, parts=parts, operation="add")
        return [replace(smallest, moduli=method.moduli) for method in composed]

    @classmethod
    def for_collisions(cls, table: Table, collisions: int, **fixed: Any) -> Self:
        """Two partitions, the larger one of ⌈n / collisions⌉ rows."""
        first = rows_at(table, collisions)
        return make(cls, {"moduli": (first, -(-table.num_embeddings // first))} | fixed)

    @classmethod
    def examples(cls, table: Table) -> list[Self]:
        """Both schemes, two partitions and three."""
        n = table.num_embeddings
        return [
            cls(GeneralizedQuotientRemainder.fewest(n, 2)),
            cls(GeneralizedQuotientRemainder.fewest(n, 3)),
            cls(ChineseRemainder.fewest(n, 2), "chinese_remainder"),
        ]


_SCHEMES: dict[str, type[GeneralizedQuotientRemainder] | type[ChineseRemainder]] = {
    "mixed_radix": GeneralizedQuotientRemainder,
    "chinese_remainder": ChineseRemainder,
}
