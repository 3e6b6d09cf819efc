"""`attribute_partitions`: a row for each value of attributes that the ids have, such as year, make and type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self, get_args

import numpy as np

from coset.errors import InputError, MissingAttributes, unknown
from coset.methods.base import make, register
from coset.methods.composition import Operation, RowComposition, compose, concat_widths
from coset.methods.facts import COMPOSED, Facts
from coset.methods.rows import RowMethod
from coset.partitions import Codes, colliding_ids, tie_breaker
from coset.schema import Table

_NUMBER = "number"


@register("attribute_partitions")
@dataclass(frozen=True)
class AttributePartitions(RowMethod):
    """Partitions given by the user (Shi et al., 2019, arXiv 1909.02107): columns of `Table.attributes`,
    the row of id i in each component being its code there.

    Ids that share a value, such as cars of one make, share a row of that component. The columns must be complementary,
    so that no two ids have the same codes; with `number`, any columns are.

    Bytes: `Σ_j c_j · dim · itemsize` (1/k of that for `concat`), where column j has c_j codes, and 1 to 8 bytes an id
    for each column, which is stored as index state. Operations: k codes and k rows read, `(k - 1) · dim`
    multiplications or additions. Vectors are unique for `concat` where stored rows differ, and almost surely for `mult`
    and `add`. The fit to a trained table is alternating least squares. Prefer it where attributes say much about the
    ids, above all about rare ones.

    Args:
        columns: names of the attributes; all that the table has by default.
        number: one more column, which numbers the ids that share all others; it makes any columns complementary.
        operation: `"mult"`, `"add"` or `"concat"`; see `QuotientRemainder`.
        widths: of the parts, for `concat`, the number's last; see `GeneralizedQuotientRemainder`.

    Example:
        >>> from coset.schema import Table
        >>> cars = Table("car", 4, 8, attributes={"year": [0, 0, 1, 1], "make": [0, 1, 0, 1]})
        >>> [(c.key, c.shape, c.kind) for c in AttributePartitions(("year", "make")).components(cars)][::2]
        [('by_year_codes', (4,), 'index'), ('by_year.weight', (2, 8), 'parameter')]
    """

    columns: tuple[str, ...] = ()
    number: bool = False
    operation: Operation = "mult"
    widths: tuple[int, ...] | None = None

    needs_attributes: ClassVar[bool] = True
    facts: ClassVar[Facts] = Facts(
        paper="Shi et al., 2019, arXiv 1909.02107",
        formula="∘_j E_j[code_j(i)]",
        elements="Σ c_j · D (1/k of it by concat), and k codes an id",
        operations="k codes, k rows, (k - 1) · D multiplications",
        uniqueness=COMPOSED,
        prefer="attributes that say much about rare ids",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_widths(self.operation, self.widths)
        if len(set(self.columns)) < len(self.columns):
            raise InputError(f"{self._what}: columns must be distinct, not {list(self.columns)}")

    def check(self, table: Table) -> None:
        """The table has the columns, and they tell all ids apart."""
        chosen = self._chosen(table)
        names = [codes.name for codes in chosen]
        if len({_stored_as(name) for name in names}) < len(names):
            raise InputError(
                f"table {table.name!r}: of the attributes {', '.join(names)} two have the same name once a dot becomes "
                "an underscore; rename one"
            )
        if self.operation == "concat":
            concat_widths(table, len(chosen), self.widths)
        if not self.number and (pair := colliding_ids(chosen, table.num_embeddings)):
            raise InputError(
                f"table {table.name!r}: the attributes {', '.join(names)} do not tell ids {pair[0]} and {pair[1]} "
                f"apart; add a column that does, or set number = True"
            )

    def composition(self, table: Table) -> RowComposition:
        """A part for every column."""
        named = [(_stored_as(codes.name), codes) for codes in self._chosen(table)]
        return compose(table, self.operation, named, self.widths)

    def _chosen(self, table: Table) -> list[Codes]:
        attributes = _attributes(table)
        for name in self.columns:
            if name not in attributes:
                raise unknown(f"attribute (of table {table.name!r})", name, attributes)
        # Renumbered, so that codes that no id has, such as most years, or those of other blocks, take no rows.
        columns = {
            name: np.unique(attributes[name], return_inverse=True)[1].reshape(-1) for name in self.columns or attributes
        }
        if self.number:
            columns[_NUMBER] = tie_breaker(list(columns.values()))
        return [Codes(name, codes) for name, codes in columns.items()]

    @classmethod
    def sizes(cls, table: Table, **fixed: Any) -> Sequence[Self]:
        """The only size: that of the columns, with `number` where they need it."""
        if table.num_embeddings and "number" not in fixed:
            alone = make(cls, fixed)
            fixed["number"] = colliding_ids(alone._chosen(table), table.num_embeddings) is not None
        return [make(cls, fixed)]

    @classmethod
    def examples(cls, table: Table) -> list[Self]:
        """All columns and a single one with the number, by every operation that the dim allows; none for a table
        without attributes."""
        if not table.attributes:
            return []
        columns, dim = tuple(table.attributes), table.embedding_dim
        numbered = [cls(columns[:1], True, o) for o in get_args(Operation) if o != "concat" or dim >= 2]
        together = [
            cls(columns, len(columns) < 2, o) for o in get_args(Operation) if o != "concat" or dim >= len(columns)
        ]
        return [*numbered, *together]


def _stored_as(column: str) -> str:
    """The name of the submodule for a column: without dots, which torch forbids, and unlike the attributes of a module,
    such as `type`."""
    return f"by_{column.replace('.', '_')}"


def _attributes(table: Table) -> Mapping[str, np.ndarray]:
    if not table.attributes:
        raise MissingAttributes(
            f"table {table.name!r}: attribute_partitions needs attributes, columns of codes for its ids, and has none"
        )
    if _NUMBER in table.attributes:
        raise InputError(f"table {table.name!r}: an attribute cannot be called {_NUMBER!r}; rename it")
    return table.attributes
