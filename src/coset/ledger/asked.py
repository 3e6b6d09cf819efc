"""What the ledger reads from methods, and what a training step looks up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar, Protocol

from coset.schema import Component, LookupBytes, Table


class Stored(Protocol):
    """A way to store a table: every `Method` is one."""

    row_per_id: ClassVar[bool]

    def components(self, table: Table) -> list[Component]:
        """The stored arrays, in closed form."""
        ...

    def training_components(self, table: Table) -> list[Component]:
        """The arrays that are trained, in closed form."""
        ...

    def description(self, table: Table, ordered: bool) -> str:
        """The text about the table that its state holds."""
        ...

    def descriptor(self, table: Table) -> Any:
        """How vectors are composed of rows, for kernels; None where they are not."""
        ...

    def vector_shape(self, table: Table) -> tuple[int, ...]:
        """Shape of what one id gives."""
        ...

    def lookup_bytes(self, table: Table) -> LookupBytes:
        """Bytes that a lookup in plain torch takes for each id."""
        ...


@dataclass(frozen=True)
class Asked:
    """What one training step looks up for one feature.

    Args:
        table, method: the table that the feature reads, and its method.
        ids: number of ids.
        bags: number of vectors that they are pooled to.
        pieces: the compositions of its blocks, for kernels; none where plain torch looks it up.
    """

    table: Table
    method: Stored
    ids: int
    bags: int
    pieces: tuple[Any, ...]

    @property
    def vectors(self) -> int:
        """Bytes of the vectors."""
        return self.bags * self.width

    @property
    def gradients(self) -> int:
        """Bytes of their gradients; where an id gives several vectors, also of those of each alone."""
        return self.vectors * (2 if len(self.method.vector_shape(self.table)) > 1 else 1)

    @property
    def width(self) -> int:
        """Bytes of what one id gives."""
        return prod(self.method.vector_shape(self.table)) * self.table.dtype.itemsize


def stored_in(piece: Any) -> list[Any]:
    """What a composition stores, each with its storage: its parts, and a projection."""
    return [*piece.parts, *([] if piece.projection is None else [piece.projection])]


def pieces_of(composition: Any) -> Iterator[Any]:
    """The compositions of all blocks, in order, of a composition that may have blocks within blocks."""
    if composition is None:
        return
    blocks = getattr(composition, "blocks", None)
    if blocks is None:
        yield composition
        return
    for block in blocks:
        yield from pieces_of(block)
