"""How vectors are composed of rows, as data: which arrays there are, which partition picks the row of an id in each,
and the operation that makes one vector of the rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch

from coset import formulas
from coset.errors import InputError
from coset.formulas import Formula
from coset.partitions import Codes, Partition, RowMap, naive
from coset.schema import Component, LookupBytes, Table
from coset.storage import DEFAULT, Storage

Operation = Literal["mult", "add", "concat"]
Distribution = Literal["normal", "uniform", "nested"]
"""Law of initial values. `nested`, for projections, draws nothing: the first cosine waves of the discrete cosine
transform, which are orthogonal and the same in every table and under every seed, so that narrow blocks begin in one
common subspace and can meet each other. Few waves do not reach all elements equally; only their root mean square is
`std`."""

CHUNK = 32
"""Vectors that a projection widens in one product of matrices."""
_FACTOR_STD = 0.7
"""Deviation of the factors of `mult` other than the largest; see `compose`."""


@dataclass(frozen=True)
class RowPart:
    """One stored array, the partition that picks its rows, and the law of its initial values.

    Args:
        name: of the submodule that holds it; `key` is its key in the module's state. Parts with the same name share one
            array, which several partitions read.
        rows: number of rows; more than the partition reaches only where a published layout has more.
        width: elements of a row.
        partition: id → row.
        std: standard deviation of the initial values, mean 0.
        distribution: their law.
        storage: how its numbers are stored.
    """

    name: str
    rows: int
    width: int
    partition: RowMap
    std: float
    distribution: Distribution = "normal"
    storage: Storage = DEFAULT

    def under(self, prefix: str) -> RowPart:
        """The same part, stored below `prefix`."""
        # Not by `replace`, which takes long where a planner makes thousands of them.
        return RowPart(
            f"{prefix}.{self.name}", self.rows, self.width, self.partition, self.std, self.distribution, self.storage
        )

    def index(self) -> Iterator[Component]:
        """The column of codes, where there is one."""
        if isinstance(self.partition, Codes):
            codes = self.partition.stored
            yield Component(
                codes_of(self.name), len(codes), sum(codes.shape[1:]), torch.tensor(codes[:0]).dtype, "index"
            )


def codes_of(part: str) -> str:
    """The name of the column of codes that picks the rows of a part."""
    return f"{part}_codes"


@dataclass(frozen=True)
class Projection:
    """A matrix, shape `(width, dim)`, that widens composed rows; with `bias`, a row of zeros `(1, dim)` to add."""

    name: str
    std: float
    distribution: Distribution = "nested"
    bias: bool = False
    storage: Storage = DEFAULT

    @property
    def bias_name(self) -> str | None:
        """Name of the submodule with the bias, if there is one."""
        return f"{self.name}_bias" if self.bias else None


@dataclass(frozen=True)
class RowComposition:
    """The composition of a vector of `dim` elements: rows of `parts`, one `operation`, perhaps a projection; in the end
    it may be cut into `outputs` vectors of equal length."""

    parts: tuple[RowPart, ...]
    operation: Operation
    dim: int
    projection: Projection | None = None
    outputs: int = 1

    @property
    def width(self) -> int:
        """Elements of the composed rows, before the projection."""
        widths = [part.width for part in self.parts]
        return sum(widths) if self.operation == "concat" else widths[0]

    def components(self, dtype: torch.dtype) -> list[Component]:
        """The stored arrays."""
        distinct = {part.name: part for part in self.parts}.values()
        stored = [component for part in distinct for component in part.index()]
        for part in distinct:
            stored += part.storage.components(part.name, part.rows, part.width, dtype)
        if self.projection is not None:
            keep = self.projection.storage.components
            stored += keep(self.projection.name, self.width, self.dim, dtype)
            if self.projection.bias_name is not None:
                stored += keep(self.projection.bias_name, 1, self.dim, dtype)
        return stored

    def lookup_bytes(self, table: Table) -> LookupBytes:
        """What a lookup takes for each id."""
        size, count, projection = table.dtype.itemsize, len(self.parts), self.projection
        found = sum(
            not (isinstance(part.partition, Partition) and part.partition.is_identity(table.num_embeddings))
            for part in self.parts
        )
        narrow, vector = self.width * size, self.dim * size
        kept, forward, backward = 8 * found, 40 if found else 0, 0
        if count > 1 and self.operation == "mult":
            kept += (2 * count - 2) * narrow  # all rows, and all products but the last
            forward, backward = forward + narrow, 2 * narrow
        elif count > 1 and self.operation == "add":
            forward += (count + 1) * narrow
        elif count > 1:
            forward, backward = forward + narrow, narrow
        if projection is not None:  # in chunks, which are a copy, and each of which has a gradient of the matrix
            kept += narrow
            forward += narrow + (1 + projection.bias) * vector
            backward += vector + 2 * narrow + narrow * self.dim // CHUNK
        return LookupBytes(kept, forward + vector, backward + vector)

    def stored(self, storage: Storage) -> RowComposition:
        """The same composition, with this storage for arrays that name none."""
        if storage == DEFAULT:
            return self
        parts = tuple(replace(part, storage=storage) if part.storage == DEFAULT else part for part in self.parts)
        projection = self.projection and replace(self.projection, storage=storage)
        return replace(self, parts=parts, projection=projection)

    def formula(self) -> Formula:
        """As data, for readers that know no compositions."""
        of = [formulas.rows(part.name, formulas.row_map(part.partition, codes_of(part.name))) for part in self.parts]
        found = formulas.joined(self.operation, of)
        if self.projection is None:
            return found
        return formulas.projected(found, self.projection.name, self.projection.bias_name)

    def under(self, prefix: str) -> RowComposition:
        """The same composition, stored below `prefix`."""
        return RowComposition(
            tuple(part.under(prefix) for part in self.parts), self.operation, self.dim,
            self.projection and replace(self.projection, name=f"{prefix}.{self.projection.name}"), self.outputs,
        )  # fmt: skip


@dataclass(frozen=True)
class BlockedComposition:
    """A composition for each block of ids: block b has the ids from `bounds[b - 1]` up to `bounds[b]`,
    renumbered from 0."""

    bounds: tuple[int, ...]
    blocks: tuple[Composition, ...]

    def components(self, dtype: torch.dtype) -> list[Component]:
        """The stored arrays of all blocks."""
        return [component for block in self.blocks for component in block.components(dtype)]

    def formula(self) -> Formula:
        """As data, likewise."""
        return formulas.blocks(self.bounds, [block.formula() for block in self.blocks])

    def under(self, prefix: str) -> BlockedComposition:
        """The same composition, stored below `prefix`."""
        return BlockedComposition(self.bounds, tuple(block.under(prefix) for block in self.blocks))


Composition = RowComposition | BlockedComposition


def compose(
    table: Table, operation: Operation, partitions: Sequence[tuple[str, RowMap]], widths: Sequence[int] | None = None
) -> RowComposition:
    """The composition with one part for each named partition, of as many rows as ids reach.

    Every element of a fresh composed vector has mean 0 and deviation `table.std` (a projection, see `projected`,
    keeps that on average over elements only). In `concat` every part has that deviation, in the sum of k parts
    std / √k. In a product the part with the most rows has a small deviation and the
    others one near 1: if all were small, every gradient would be too, and a little L2 would hold them at 0.
    """
    k, n, dim = len(partitions), table.num_embeddings, table.embedding_dim
    widths = concat_widths(table, k, widths) if operation == "concat" else [dim] * k
    rows = [partition.rows(n) for _, partition in partitions]
    stds = [table.std / k**0.5 if operation == "add" else table.std] * k
    if operation == "mult":
        largest = rows.index(max(rows))
        stds = [table.std / _FACTOR_STD ** (k - 1) if part == largest else _FACTOR_STD for part in range(k)]
    parts = [
        RowPart(name, size, width, partition, std)
        for (name, partition), size, width, std in zip(partitions, rows, widths, stds, strict=True)
    ]
    return RowComposition(tuple(parts), operation, dim)


def projected(table: Table, width: int) -> RowComposition:
    """Narrow rows of `width` elements, one an id, and a projection to `table.embedding_dim`; where the width equals the
    dim, the rows alone.

    The projection begins at fixed cosine waves, not at random values, so single elements of a fresh vector deviate
    by 0.7 to 1.4 times `table.std`; only the root mean square of these is `table.std`.
    """
    n, dim = table.num_embeddings, table.embedding_dim
    rows = RowPart("rows", n, width, naive(n), table.std)
    # Σ over `width` products: width · std² · (1 / width) = std².
    projection = None if width == dim else Projection("projection", std=width**-0.5)
    return RowComposition((rows,), "add", dim, projection)


def concat_widths(table: Table, parts: int, given: Sequence[int] | None = None) -> list[int]:
    """Widths of the parts of a concatenation: those `given`, or equal ones, of which the first are larger by 1 where
    the dim does not divide.

    Raises:
        InputError: there are more parts than elements, or the widths given do not sum to the dim.
    """
    dim = table.embedding_dim
    each, more = divmod(dim, parts)
    if not each:
        raise InputError(
            f"table {table.name!r}: concat of {parts} parts needs an embedding_dim of at least {parts}, not {dim}"
        )
    equal = [each + 1] * more + [each] * (parts - more)
    if given is not None and (len(given) != parts or sum(given) != dim):
        raise InputError(
            f"table {table.name!r}: concat of {parts} parts needs {parts} widths that sum to embedding_dim {dim}, not "
            f"{list(given)}; {equal} would do"
        )
    return equal if given is None else list(given)
