"""`full`: the table as it is, one row an id."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from coset.methods.base import make, register
from coset.methods.composition import RowComposition, projected
from coset.methods.facts import Facts
from coset.methods.rows import RowMethod
from coset.schema import Table


@register("full")
@dataclass(frozen=True)
class Full(RowMethod):
    """One row an id, of all `embedding_dim` elements: `torch.nn.Embedding`, and the baseline of every comparison.

    Bytes: `n · dim · itemsize`. Operations: one row read. Every vector is unique.

    Example:
        >>> from coset.schema import Table
        >>> Full().bytes(Table("user", 6040, 64))
        1546240
    """

    row_per_id: ClassVar[bool] = True
    planned: ClassVar[bool] = True

    facts: ClassVar[Facts] = Facts(
        paper="none: `torch.nn.Embedding`",
        formula="E[i]",
        elements="n · D",
        operations="1 row",
        uniqueness="guaranteed",
        prefer="tables too small to matter; the baseline",
        combines="blocks; everything is compared with it",
    )

    def composition(self, table: Table) -> RowComposition:
        """One part, the identity partition."""
        return projected(table, table.embedding_dim)

    @classmethod
    def sizes(cls, table: Table, **fixed: Any) -> Sequence[Self]:
        """The one size there is."""
        return [make(cls, fixed)]
