"""`quotient_remainder`: the vector of an id is composed of the rows of its quotient and of its remainder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import isqrt
from typing import Any, ClassVar, Literal, Self, get_args

from coset.errors import InputError
from coset.methods.base import Method, make, register
from coset.methods.composition import Operation, RowComposition, compose
from coset.methods.facts import COMPOSED, Facts
from coset.methods.rows import RowMethod
from coset.methods.sizing import Sizes, rows_at, thinned
from coset.methods.traffic import Traffic
from coset.partitions import quotient, remainder
from coset.schema import Table

KERAS_UNIFORM_STD = 0.05 / 3**0.5
"""Deviation of Keras' default initial values of an embedding, uniform in ±0.05."""


@register("quotient_remainder")
@dataclass(frozen=True)
class QuotientRemainder(RowMethod):
    """The quotient-remainder trick (Shi et al., 2019, arXiv 1909.02107, algorithm 2).

    With m = num_buckets, id i takes row `i // m` of a quotient array and row `i % m` of a remainder array; the
    two partitions are complementary, so no two ids share both rows.

    Bytes: `(⌈n / m⌉ + m) · dim · itemsize` (half of it for `concat`), least at m = ⌈√n⌉: about 2√n rows.
    Operations: one division, two row reads, `dim` multiplications or additions. Vectors are unique for `concat` where
    stored rows differ, and almost surely for `mult` and `add`. The fit to a trained table is alternating least squares.

    Args:
        num_buckets: m, the number of remainder rows, 1 … n. At c collisions, m = ⌈n / c⌉.
        operation: `"mult"` (the paper's default, best there on DCN), `"add"`, or `"concat"` (best on DLRM;
            halves the width of both arrays, so the dim must be even).
        layout: `"compact"` stores the ⌈n / m⌉ quotient rows that ids can reach. `"keras"` is the layout of
            the Keras example "Memory-efficient embeddings for recommendation systems": m quotient rows,
            reached or not, and initial values uniform in ±0.05 in both arrays, whatever `table.std`.

    Example:
        >>> from coset.schema import Table
        >>> QuotientRemainder(120).bytes(Table("user", 6040, 64)) // 4, 64 * (51 + 120)
        (10944, 10944)
    """

    num_buckets: int
    operation: Operation = "mult"
    layout: Literal["compact", "keras"] = "compact"

    planned: ClassVar[bool] = True

    facts: ClassVar[Facts] = Facts(
        paper="Shi et al., 2019, arXiv 1909.02107",
        formula="Q[i // m] ∘ R[i % m]",
        elements="(⌈n / m⌉ + m) · D, at least about 2 √n · D; half of it by concat",
        operations="1 division, 2 rows, D multiplications",
        uniqueness=COMPOSED,
        prefer="one table of millions of ids and a ratio of up to √n / 2 (√n by concat)",
        combines="blocks (hot ids, threshold)",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_least(1, "num_buckets")

    def check(self, table: Table) -> None:
        """The buckets are no more than the ids; in the keras layout, the quotients no more than the buckets."""
        n, m = table.num_embeddings, self.num_buckets
        if self.operation == "concat" and table.embedding_dim % 2:
            raise InputError(
                f"table {table.name!r}: concat of 2 parts needs an even embedding_dim, not {table.embedding_dim}"
            )
        if m > n:
            raise InputError(f"table {table.name!r}: {m} buckets for {n} ids; quotient_remainder takes 1 … {n}")
        if self.layout == "keras" and n > m * m:
            raise InputError(
                f"table {table.name!r}: the keras layout has {m} quotient rows for {m} buckets, and {n} ids need "
                f"{-(-n // m)}; take num_buckets ≥ {isqrt(n - 1) + 1} or layout = 'compact'"
            )

    def composition(self, table: Table) -> RowComposition:
        """Two parts: quotient, remainder."""
        n, m = table.num_embeddings, self.num_buckets
        compact = compose(table, self.operation, [("quotient", quotient(m, n)), ("remainder", remainder(m))])
        if self.layout == "compact":
            return compact
        parts = [replace(part, rows=m, std=KERAS_UNIFORM_STD, distribution="uniform") for part in compact.parts]
        return replace(compact, parts=tuple(parts))

    @classmethod
    def sizes(cls, table: Table, **fixed: Any) -> Sequence[Self]:
        """Numbers of buckets from the fewest rows in total, at ⌈√n⌉, up to the size of the full table."""
        if "num_buckets" in fixed:
            return [make(cls, fixed)]
        fixed.setdefault("operation", "mult")
        n = table.num_embeddings
        least = isqrt(n - 1) + 1 if n > 1 else 1
        halves = 2 if fixed["operation"] == "concat" else 1
        most = n
        while most > least and most + -(-n // most) > n * halves:
            most -= 1
        if fixed.get("layout") == "keras":
            most = max(least, min(most, n * halves // 2))
        return Sizes(range(least, most + 1), lambda m: make(cls, {"num_buckets": m} | fixed))

    @classmethod
    def candidates(cls, table: Table, traffic: Traffic, count: int = 24, **fixed: Any) -> Iterable[Method]:
        """Numbers of buckets for every operation that the dim allows."""
        operations = ["mult", "concat"] if table.embedding_dim % 2 == 0 else ["mult"]
        for operation in [fixed["operation"]] if "operation" in fixed else operations:
            yield from thinned(cls.sizes(table, **{**fixed, "operation": operation}), count)

    @classmethod
    def for_collisions(cls, table: Table, collisions: int, **fixed: Any) -> Self:
        """⌈n / collisions⌉ buckets."""
        return make(cls, {"num_buckets": rows_at(table, collisions)} | fixed)

    @classmethod
    def examples(cls, table: Table) -> list[Self]:
        """Every operation that the dim allows, in both layouts."""
        n = table.num_embeddings
        operations = [o for o in get_args(Operation) if o != "concat" or table.embedding_dim % 2 == 0]
        compact = [cls(max(1, -(-n // 4)), operation) for operation in operations]
        return [*compact, *(cls(isqrt(n - 1) + 1 if n > 1 else 1, o, layout="keras") for o in operations)]
