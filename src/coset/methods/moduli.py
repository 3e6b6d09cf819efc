"""Shared code of the methods whose partitions are given by a list of moduli."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Self

from coset.errors import InputError
from coset.methods.base import make
from coset.methods.composition import Operation, RowComposition, compose, concat_widths
from coset.methods.rows import RowMethod
from coset.partitions import Partition
from coset.schema import Table


def check_moduli(
    table: Table,
    method: str,
    moduli: Sequence[int],
    fewest: Callable[[int, int], tuple[int, ...]],
    family: Callable[[Sequence[int]], Sequence[Partition]],
) -> None:
    """Raise an `InputError` unless `family` takes these moduli and their product reaches the number of ids; `fewest`
    gives some that do."""
    n = table.num_embeddings
    try:
        family(moduli)
    except InputError as error:
        enough = list(fewest(n, len(moduli)))
        raise InputError(
            f"table {table.name!r}: {method} with moduli {list(moduli)}: {error}; {enough} would do"
        ) from None
    if (reach := prod(moduli)) < n:
        enough = list(fewest(n, len(moduli)))
        raise InputError(
            f"table {table.name!r}: {method} with moduli {list(moduli)} tells {reach} ids apart, and there are {n}: "
            f"ids 0 and {reach} would share every row; the product must be at least {n}, as of {enough}"
        )


@dataclass(frozen=True)
class ModuliMethod(RowMethod):
    """One component for each of a family of partitions, composed by an operation."""

    moduli: tuple[int, ...]
    operation: Operation = "mult"
    widths: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_least(1, "moduli")
        if not self.moduli:
            raise InputError(f"{self._what}: moduli must hold at least one number")
        self._check_widths(self.operation, self.widths)

    @staticmethod
    @abstractmethod
    def family(moduli: Sequence[int]) -> Sequence[Partition]:
        """The partition of each modulus."""

    def check(self, table: Table) -> None:
        """The partitions tell all ids apart, and the widths make the dim."""
        check_moduli(table, self.name, self.moduli, self.fewest, self.family)
        if self.operation == "concat":
            concat_widths(table, len(self.moduli), self.widths)

    def composition(self, table: Table) -> RowComposition:
        """A part for every partition."""
        named = [(f"part{number}", partition) for number, partition in enumerate(self.family(self.moduli))]
        return compose(table, self.operation, named, self.widths)

    @classmethod
    def examples(cls, table: Table) -> list[Self]:
        """Products of two partitions and of three, a sum of three, and what the dim allows of a concatenation of four
        and of one with widths."""
        n, dim = table.num_embeddings, table.embedding_dim
        three = cls.fewest(n, 3)
        found = [cls(cls.fewest(n, 2)), cls(three), cls(three, "add")]
        if dim > 1:
            found.append(cls(cls.fewest(n, min(4, dim)), "concat"))
        if dim > 2:
            found.append(cls(cls.fewest(n, 2), "concat", (1, dim - 1)))
        return found

    @classmethod
    @abstractmethod
    def fewest(cls, num_embeddings: int, parts: int) -> tuple[int, ...]:
        """The moduli of the fewest rows in total."""

    @classmethod
    def _of(cls, moduli: Sequence[int], fixed: dict[str, Any]) -> Self:
        return make(cls, {"moduli": tuple(moduli)} | fixed)
